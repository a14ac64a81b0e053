"""A client's weights from the files of other tools, and a round's test set: made on their owners' hosts.

Miners read nothing but safetensors. Of a chain of Keras' layers, weights are read in their order: NumPy's .npz, Keras'
.keras, .weights.h5 and older .h5. Of a graph they are read by name (`named_tensors`). No pickle is opened and no model
is made from what a file says: weights are read into the round's own model, whose shapes they must have.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.exchange.named_tensors import read_named
from fedcoin_cli.learning.model.arrays import as_test_set
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.interface import Model
from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.model.reading import read_model
from fedcoin_cli.learning.model.weights import (
    Weights,
    read_test,
    read_update,
    write_test,
    write_update,
)
from ledger_store.base.errors import RoundFilesInvalid

_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})")


def convert(source: Path, model: Path, target: Path, without: Collection[str] = ()) -> int:
    """Write the weights in `source` for the model that `model` (model.json) describes; returns how many numbers.

    `without` are patterns of names that a graph does not have and that are left out of the file.

    Raises:
        RoundFilesInvalid: a file of another kind, damaged, or whose arrays are not finite floats of the model's shapes.
        MissingPart: what reads this kind of file is not installed.
    """
    described = _described(model)
    if isinstance(described, ModelSpec):
        weights = _of_chain(source, described)
    else:
        assert isinstance(described, GraphModel)
        weights = read_named(source, described, without)
    write_update(target, weights, described.weight_names)
    return sum(weight.size for weight in read_update(target, described))


def convert_test(source: Path, labels: Path | None, model: Path, target: Path) -> int:
    """Write a test set for a model: the inputs by their names, or x, and y; returns how many images.

    Args:
        source: a .npz or .safetensors file of them all (`x_test`, `y_test` are taken, too), or .npy of the one input.
        labels: a .npy file of the labels, where `source` does not hold them.
        model: the model.json that the images must fit.
        target: the .safetensors file to write.

    Raises:
        RoundFilesInvalid: another kind of file, arrays that do not fit the model, labels that it does not know.
    """
    described = _described(model)
    arrays = dict(_arrays(source))
    if labels is not None:
        arrays["y"] = _arrays(labels)["x"]
    named = {
        name.removesuffix("_test"): array for name, array in arrays.items() if not name.endswith("_train")
    }
    if "y" not in named:
        hint = "name the labels y, or give them with --labels FILE.npy"
        raise RoundFilesInvalid("it holds no labels", where=str(source), hint=hint)
    truth = named.pop("y")
    if len(described.inputs) == len(named) == 1:
        named = {described.inputs[0].name: next(iter(named.values()))}
    test = as_test_set(named, truth, described)
    write_test(target, test, [one.name for one in described.inputs])
    return len(read_test(target, described))


def _described(model: Path) -> Model:
    try:
        return read_model(model.read_bytes(), where=str(model))
    except OSError as error:
        hint = "--model FILE names the model.json of the round"
        raise RoundFilesInvalid("no model description", where=str(model), hint=hint) from error


def _arrays(source: Path) -> Mapping[str, npt.NDArray[Any]]:
    """Arrays by name; the one of a .npy file is called x."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        match source.suffix:
            case ".npz":
                with np.load(source, allow_pickle=False) as file:
                    return {name: file[name] for name in file.files}
            case ".npy":
                return {"x": np.load(source, allow_pickle=False)}
            case ".safetensors":
                return load_file(source)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, SafetensorError) as error:
        message = f"no file of plain arrays: {str(error)[:120]}"
        raise RoundFilesInvalid(
            message, where=str(source), hint="write it with numpy.savez(FILE, x=…, y=…)"
        ) from error
    message = f"{source.suffix or 'a file without a suffix'} holds no test set that can be converted"
    raise RoundFilesInvalid(message, where=str(source), hint="a .npz, .npy or .safetensors file")


def _of_chain(source: Path, spec: ModelSpec) -> Weights:
    reader = _READERS.get(source.suffix)
    if reader is None:
        raise _refused(
            source, f"{source.suffix or 'a file without a suffix'} is not a kind that can be converted"
        )
    return _checked(reader(source, spec), spec, source)


def _from_npz(source: Path, _spec: ModelSpec) -> list[npt.NDArray[Any]]:
    """Arrays in the order of their numbers (arr_0, arr_1, …), or as they stand in the file."""
    try:
        with np.load(source, allow_pickle=False) as file:
            return [file[name] for name in _ordered(file.files)]
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise _refused(source, f"no .npz of plain arrays: {error}") from error


def _ordered(names: Sequence[str]) -> list[str]:
    """By their numbers, where all are one word with a number behind it; else as they stand."""
    numbered = [match for name in names if (match := _NUMBERED.fullmatch(name))]
    if len(numbered) < len(names) or len({match[1] for match in numbered}) > 1:
        return list(names)
    return [match[0] for match in sorted(numbered, key=lambda match: int(match[2]))]


def _from_keras(source: Path, spec: ModelSpec) -> list[npt.NDArray[Any]]:
    """Weights as Keras reads them into a model of ours; what the file says of layers and code is not looked at."""
    from fedcoin_cli.learning.model.build import build

    made = build(spec)
    if not source.is_file():
        raise _refused(source, "no such file")
    _refuse_more(source, spec)
    try:
        made.load_weights(source)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise _refused(source, f"its weights do not fit the model: {str(error).splitlines()[0]}") from error
    return list(made.get_weights())


def _refuse_more(source: Path, spec: ModelSpec) -> None:
    """Refuse a file with weights that the model lacks: Keras would leave them out without a word."""
    stored = _stored(source)
    wanted = Counter(spec.weight_shapes)
    for name, shape in stored:
        if not wanted[shape]:
            message = f"it holds weights {shape} of {name!r}, which the model does not have"
            raise _refused(source, message)
        wanted[shape] -= 1


def _stored(source: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Layer and shape of every weight in a file of Keras 3, what training keeps beside them apart; else nothing."""
    import h5py

    found: list[tuple[str, tuple[int, ...]]] = []

    def look(path: str, item: Any) -> None:
        inside = path.split("/")
        beside = {"optimizer", "metrics", "seed_generator"} & set(inside)
        if isinstance(item, h5py.Dataset) and "vars" in inside and not beside:
            found.append(("/".join(inside[: inside.index("vars")]), tuple(item.shape)))

    try:
        with ExitStack() as stack:
            file: Any = source
            if zipfile.is_zipfile(source):
                archive = stack.enter_context(zipfile.ZipFile(source))
                file = BytesIO(archive.read("model.weights.h5"))
            stack.enter_context(h5py.File(file, "r")).visititems(look)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return []  # loading says what is wrong with it
    return found


_READERS: Mapping[str, Callable[[Path, ModelSpec], list[npt.NDArray[Any]]]] = {
    ".npz": _from_npz,
    ".keras": _from_keras,
    ".h5": _from_keras,
}


def _checked(found: list[npt.NDArray[Any]], spec: ModelSpec, source: Path) -> Weights:
    """The arrays as float32; refused unless they are finite floats of exactly the model's shapes."""
    shapes = [array.shape for array in found]
    if shapes != list(spec.weight_shapes):
        raise _refused(source, f"its arrays have shapes {shapes}, the model needs {list(spec.weight_shapes)}")
    for number, array in enumerate(found):
        if not (np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all()):
            raise _refused(source, f"array {number} does not hold finite floats")
    return tuple(array.astype(np.float32) for array in found)


def _refused(source: Path, message: str) -> RoundFilesInvalid:
    hint = f"weights of a chain of Keras' layers can be converted from {', '.join(_READERS)}"
    return RoundFilesInvalid(message, where=str(source), hint=hint)
