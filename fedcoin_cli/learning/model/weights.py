"""A round's arrays on disk: client updates and the test set.

Reading checks names, shapes and kinds of numbers from the header alone, then the numbers themselves (finite, within
bounds). Nothing here needs Keras, so nodes and auditors may import it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.graph.graph import Input, Kind, Weight
from fedcoin_cli.learning.model.interface import Model
from fedcoin_cli.learning.model.tensorfile import TensorFile, tensor_bytes, write_tensors
from fedcoin_cli.learning.model.truth import (
    IGNORED,
    MAX_TARGET,
    Said,
    Unfit,
    check_shape,
    check_values,
    classes_of,
    strata,
)
from ledger_store.base.errors import RoundFilesInvalid
from ledger_store.base.names import Digest
from ledger_store.genesis import WEIGHT_MAX

# Every genesis promises these two.
MAX_WEIGHT: Final = WEIGHT_MAX
MAX_PIXEL: Final = 1e6
MAX_IMAGES: Final = 1_000_000

FROZEN_NAME: Final = "frozen.safetensors"
"""What no client trains, beside a description that freezes any."""

_TEST_HINT: Final = (
    "a test set is a safetensors file of x (float32 or uint8, images of the model's input) "
    "and y (int32, their labels, or float32, real-valued targets)"
)

Weights = tuple[npt.NDArray[np.float32], ...]
Parts = Sequence[bytes | memoryview]
"""A file's bytes in parts, to be hashed or written one after the other."""


@dataclass(frozen=True, slots=True)
class TestSet:
    """Images (n, …) as float32, or uint8 that means x/255, and labels (n,) int32 in 0..classes−1.

    What a graph is given may be int32, too; where it is given several tensors an image, `more` holds the others.
    `labels` may also be those of tokens (n, T), or real-valued targets (n,) or (n, outputs) as float32.
    """

    __test__ = False

    images: npt.NDArray[np.float32] | npt.NDArray[np.uint8] | npt.NDArray[np.int32]
    labels: Said
    more: tuple[npt.NDArray[Any], ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def inputs(self) -> tuple[npt.NDArray[Any], ...]:
        """What a model is given, a tensor an input."""
        return (self.images, *self.more)

    @property
    def strata(self) -> Said:
        """A number an image by which it is dealt into a block."""
        return strata(self.labels)

    @property
    def classes(self) -> npt.NDArray[np.int32]:
        """A label an image, 0 where it has none or several: images of one label are computed together."""
        return classes_of(self.labels)

    def first(self, images: int) -> "TestSet":
        """So many of its images."""
        return TestSet(self.images[:images], self.labels[:images], tuple(each[:images] for each in self.more))

    def taken(self, places: npt.NDArray[np.integer]) -> "TestSet":
        """Some of its images."""
        return TestSet(self.images[places], self.labels[places], tuple(each[places] for each in self.more))


def write_update(
    path: Path, weights: Sequence[npt.NDArray[np.float32]], names: Sequence[str] | None = None
) -> None:
    """Write one client's weights by the model's names; None: those of a chain, in `get_weights()` order."""
    path.write_bytes(update_bytes(weights, names))


def update_bytes(weights: Sequence[npt.NDArray[np.float32]], names: Sequence[str] | None = None) -> bytes:
    """What the file of these weights holds; equal weights give equal bytes."""
    return b"".join(update_parts(weights, names))


def update_parts(weights: Sequence[npt.NDArray[np.float32]], names: Sequence[str] | None = None) -> Parts:
    """The same in parts: the arrays themselves are not copied."""
    called = tuple(names or [f"{index:03d}" for index in range(len(weights))])
    header, order = _frame(called, tuple(weight.shape for weight in weights))
    laid = (np.ascontiguousarray(weights[index], "<f4").reshape(-1).view(np.uint8).data for index in order)
    return [header, *laid]


def update_digest(parts: Parts) -> Digest:
    """SHA-256 of a file's parts, as hex."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part)
    return Digest(hasher.hexdigest())


@lru_cache(maxsize=16)
def _frame(names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]) -> tuple[bytes, tuple[int, ...]]:
    """The header that safetensors writes for float32 tensors, and in which order their bytes follow it."""
    data = tensor_bytes({name: np.zeros(shape, "<f4") for name, shape in zip(names, shapes, strict=True)})
    length = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:length])
    order = sorted(range(len(names)), key=lambda index: entries[names[index]]["data_offsets"])
    return data[:length], tuple(order)


def average(updates: Sequence[Weights], shares: Sequence[int]) -> Weights:
    """The mean of some clients' weights, each counted by its share; summed in float64."""
    return tuple(
        np.average(np.array(parts, np.float64), axis=0, weights=shares).astype(np.float32)
        for parts in zip(*updates, strict=True)
    )


def read_update(path: Path, model: Model, *, owner: str = "") -> Weights:
    """One client's weights, in the model's order [P-12.2].

    Args:
        path: a safetensors file with tensors of the model's names: "000", "001", … for a chain.
        model: what the weights must fit.
        owner: whose update this is, for messages ("client 3").

    Raises:
        RoundFilesInvalid: anything but float32 tensors of exactly the model's shapes, finite, |w| ≤ 10⁶.
    """
    return _weights(TensorFile(path, owner), dict(zip(model.weight_names, model.weight_shapes, strict=True)))


def _weights(file: TensorFile, expected: Mapping[str, tuple[int, ...]]) -> Weights:
    _require(file, {name: ("<f4", shape) for name, shape in expected.items()})
    return tuple(_bounded(file, name, MAX_WEIGHT) for name in expected)


def read_frozen(path: Path | None, frozen: Sequence[Weight], *, where: str) -> Weights:
    """The weights that no client trains, in the model's order [P-12.18].

    Args:
        path: a safetensors file of tensors by name; None where the round has none.
        frozen: what the model freezes.
        where: the model's file, for messages.

    Raises:
        RoundFilesInvalid: anything but float32 tensors of exactly these names and shapes, finite, |w| ≤ 10⁶; a file
            where the model freezes nothing, or none where it does.
    """
    if (path is not None) != bool(frozen):
        message = "the model freezes no weights, and the round has a file of them"
        if frozen:
            message = f"the model freezes {len(frozen)} tensors, and the round has no file of them"
        raise RoundFilesInvalid(message, where=where, hint="frozen.safetensors holds what no client trains")
    if path is None:
        return ()
    file = TensorFile(path, "the frozen weights")
    _require(file, {weight.name: ("<f4", weight.shape) for weight in frozen})
    return tuple(_bounded(file, weight.name, MAX_WEIGHT) for weight in frozen)


def write_test(path: Path, test: TestSet, names: Sequence[str] = ("x",)) -> None:
    """Write a test set as tensors named as the model's inputs, and `y`."""
    kind = "<f4" if test.labels.dtype.kind == "f" else "<i4"
    write_tensors(path, {**dict(zip(names, test.inputs, strict=True)), "y": test.labels.astype(kind)})


def read_test(path: Path, model: Model) -> TestSet:
    """The test set for a model [P-12.3].

    Raises:
        RoundFilesInvalid: no images, more than 10⁶, of another shape than the model's input, not finite or beyond
            ±10⁶, or labels or targets that the model is not judged by.
    """
    file = TensorFile(path, hint=_TEST_HINT)
    names = [each.name for each in model.inputs]
    _names(file, {*names, "y"})
    first = file.entries[names[0]]
    count = first.shape[0] if first.shape else 0
    if not 1 <= count <= MAX_IMAGES:
        file.refuse(f"a test set has 1 to {MAX_IMAGES} images")
    kinds = {each.name: _kind(file, each) for each in model.inputs}
    shapes = {each.name: (kinds[each.name], (count, *each.shape)) for each in model.inputs}
    said = file.entries["y"]
    real = said.dtype == np.dtype("<f4")
    _require(file, {**shapes, "y": ("<f4" if real else "<i4", said.shape)})
    try:
        check_shape(said.shape, model, count, real=real)
        labels = file.read("y")
        check_values(labels, model)
    except Unfit as error:
        raise RoundFilesInvalid(str(error), where=str(path), hint=error.hint) from error
    images, *more = (
        _bounded(file, name, MAX_PIXEL) if kind == "<f4" else file.read(name) for name, kind in kinds.items()
    )
    return TestSet(images, labels, tuple(more))


def _kind(file: TensorFile, wanted: Input) -> str:
    """What an input's tensor is held as: real numbers also as bytes."""
    if wanted.kind is not Kind.float32:
        return "<i4"
    return "u1" if file.entries[wanted.name].dtype == np.uint8 else "<f4"


def read_labels(path: Path) -> Said:
    """The labels or targets of a test set, whatever the model; raises `RoundFilesInvalid`."""
    file = TensorFile(path, hint=_TEST_HINT)
    if "y" not in file.entries:
        file.refuse("the file holds no labels y")
    entry = file.entries["y"]
    if len(entry.shape) not in {1, 2} or 0 in entry.shape or entry.shape[0] > MAX_IMAGES:
        file.refuse("it holds no labels of images")
    if entry.dtype == np.dtype("<f4"):
        return _bounded(file, "y", MAX_TARGET)
    if entry.dtype != np.dtype("<i4"):
        file.refuse("its labels are neither int32 nor float32")
    labels: npt.NDArray[np.int32] = file.read("y")
    if labels.min() < (0 if labels.ndim == 1 else IGNORED):
        file.refuse("a label is below 0")
    return labels


def _names(file: TensorFile, expected: set[str]) -> None:
    if set(file.entries) != expected:
        file.refuse(f"the file must hold exactly the tensors {', '.join(sorted(expected))}")


def _require(file: TensorFile, expected: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
    """Refuse, from the header alone, whatever is not exactly these tensors."""
    _names(file, set(expected))
    for name, (dtype, shape) in expected.items():
        entry = file.entries[name]
        if entry.dtype != np.dtype(dtype):
            file.refuse(f"tensor {name!r} holds {entry.dtype.name}, not {np.dtype(dtype).name}")
        if entry.shape != shape:
            file.refuse(f"tensor {name!r} has shape {entry.shape}, the round needs {shape}")


def _bounded(file: TensorFile, name: str, bound: float) -> npt.NDArray[Any]:
    values = file.read(name)
    # NaN fails every comparison, so one test refuses it together with infinities and large values.
    if not (values.min(initial=0) >= -bound and values.max(initial=0) <= bound):
        file.refuse(f"tensor {name!r} holds a value that is not finite or beyond ±{bound:g}")
    return values
