"""What a client's update comes to over a run of several rounds: where it began, and all that it did since.

A framework carries weights as named tensors. `Layout` says how they lie in an update's file; `begun` and `moved` add up
what a client did. Client and server add in the same order in float32, so that both come to the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.model.arrays import check_bound, update_of, weight_of
from fedcoin_cli.learning.model.interface import Model
from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.model.weights import MAX_WEIGHT, Weights
from ledger_store.base.errors import RoundFilesInvalid

Tensors = Mapping[str, npt.NDArray[Any]]
"""A model's weights by a framework's names: a `state_dict`, or "0", "1", … for a list of arrays."""

_NPY_1_0: Final = b"\x93NUMPY\x01\x00"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a framework's tensors become the weights of a model: which are taken, and which lie transposed.

    A graph names its weights as its framework does, and holds them as they are; a list goes by its order, of the
    weights or, where that is known, of all tensors that the original holds. Where the model is a chain, PyTorch's names
    end in `weight` and `bias`, and its Linear is (units, inputs) where a kernel is (inputs, units): names decide that,
    for shapes do not tell in a square layer. Integers, as `num_batches_tracked`, are no weights, and neither is what
    the model freezes, whether it is sent or not.
    """

    model: Model
    keys: tuple[str, ...]
    transposed: frozenset[str]
    frozen_keys: Mapping[str, str]

    @classmethod
    def of(cls, model: Model, tensors: Tensors, names: Sequence[str] = ()) -> "Layout":
        """The layout of tensors that a model begins with; raises `RoundFilesInvalid` where they are not its own.

        `names` are those of all that the original holds, in its own order.
        """
        keys = tuple(name for name, tensor in tensors.items() if _is_weight(name, tensor))
        turned: frozenset[str] = frozenset()
        frozen = {one.name: one.name for one in model.frozen}
        if isinstance(model, ModelSpec):
            turned = frozenset(name for name in keys if _end(name) == "weight" and tensors[name].ndim == 2)
        elif any(name in tensors for name in model.weight_names) or not all(map(str.isdecimal, tensors)):
            keys = model.weight_names
        elif len(tensors) == len(names):
            listed = dict(zip(names, tensors, strict=True))
            keys = tuple(listed[name] for name in model.weight_names)
            frozen = {name: listed[name] for name in frozen if name in listed}
        layout = cls(model, keys, turned, frozen)
        layout.weights(tensors, "the initial arrays")
        return layout

    def weights(self, tensors: Tensors, where: str) -> Weights:
        """These tensors as an update has them, float32; raises `RoundFilesInvalid`, which says `where` they stand."""
        lacking = [key for key in self.keys if key not in tensors]
        if lacking:
            hint = "send the tensors of the model that the run began with"
            raise RoundFilesInvalid(f"no tensor {lacking[0]!r}", where=where, hint=hint)
        return update_of([self._laid(key, tensors[key]) for key in self.keys], self.model, where)

    def frozen(self, tensors: Tensors) -> Tensors:
        """Those of the tensors that the model freezes, by its own names."""
        return {name: tensors[key] for name, key in self.frozen_keys.items() if key in tensors}

    def stirred(self, got: Tensors, returned: Tensors) -> list[str]:
        """What the model freezes and is returned as something else, bit by bit, by its own names."""
        before, after = self.frozen(got), self.frozen(returned)
        return [
            name for name in before.keys() & after.keys() if not np.array_equal(before[name], after[name])
        ]

    def all_frozen(self, tensors: Tensors, otherwise: Weights | None = None) -> Weights | None:
        """What the model freezes, in its order, from these tensors; what they lack is as `otherwise` has it.

        None where that is nowhere. Raises `RoundFilesInvalid` for another shape, or what is not finite.
        """
        held = dict(
            zip((one.name for one in self.model.frozen), otherwise or (), strict=otherwise is not None)
        )
        held |= self.frozen(tensors)
        if len(held) < len(self.model.frozen):
            return None
        return tuple(weight_of(held[one.name], one.shape, one.name) for one in self.model.frozen)

    def _laid(self, name: str, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return tensor.T if name in self.transposed else tensor


def _is_weight(name: str, tensor: npt.NDArray[Any]) -> bool:
    # PyTorch counts batches in an integer, of which averaging makes a float.
    return tensor.dtype.kind == "f" and _end(name) != "num_batches_tracked"


def _end(name: str) -> str:
    return name.rpartition(".")[2]


def moved(update: Weights, got: Weights, returned: Sequence[npt.NDArray[np.float32]]) -> Weights:
    """An update after one more round: what the client returned less what it got is added, in float32.

    Raises `RoundFilesInvalid` where many steps come to more than a weight may be: the round would be nobody's.
    """
    parts = zip(update, got, returned, strict=True)
    added = tuple(before + (after - start) for before, start, after in parts)
    for one in added:
        check_bound(one, MAX_WEIGHT, "what the client did in all")
    return added


def npy_array(data: bytes) -> npt.NDArray[Any]:
    """What `numpy.load` makes of the bytes of a .npy file, without a copy; raises `ValueError` as that does.

    Frameworks send tensors so. Headers are alike from client to client, and parsing one takes longer than the rest.
    """
    if not data.startswith(_NPY_1_0):
        array: npt.NDArray[Any] = np.load(BytesIO(data), allow_pickle=False)
        return array
    start = 10 + int.from_bytes(data[8:10], "little")
    shape, by_columns, dtype = _header(data[8:start])
    if dtype.hasobject:
        raise ValueError("it holds objects, not numbers")
    return np.frombuffer(data, dtype, prod(shape), start).reshape(shape, order="F" if by_columns else "C")


@lru_cache(maxsize=1024)
def _header(text: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    return np.lib.format.read_array_header_1_0(BytesIO(text))
