"""A client's weights from the files of other tools: NumPy's .npz, Keras' .keras, .weights.h5 and older .h5.

Only who owns a file converts it; miners read nothing but safetensors. No pickle is opened and no model is made from
what a file says: weights are read into the round's own model, whose shapes they must have.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.model.model import ModelSpec, parse_model
from fedcoin_cli.learning.model.weights import Weights, read_update, write_update
from ledger_store.base.errors import RoundFilesInvalid

_NUMBERED = re.compile(r"(.*?)([0-9]{1,9})")


def convert(source: Path, model: Path, target: Path) -> int:
    """Write the weights in `source` for the model that `model` (model.json) describes; returns how many numbers.

    Raises:
        RoundFilesInvalid: a file of another kind, damaged, or whose arrays are not finite floats of the model's shapes.
        MissingPart: Keras is needed for this kind and not installed.
    """
    try:
        spec = parse_model(model.read_bytes(), where=str(model))
    except OSError as error:
        hint = "--model FILE names the model.json of the round"
        raise RoundFilesInvalid("no model description", where=str(model), hint=hint) from error
    reader = _READERS.get(source.suffix)
    if reader is None:
        raise _refused(
            source, f"{source.suffix or 'a file without a suffix'} is not a kind that can be converted"
        )
    weights = _checked(reader(source, spec), spec, source)
    write_update(target, weights)
    return sum(weight.size for weight in read_update(target, spec))


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
    hint = f"weights of the round's model can be converted from {', '.join(_READERS)}"
    return RoundFilesInvalid(message, where=str(source), hint=hint)
