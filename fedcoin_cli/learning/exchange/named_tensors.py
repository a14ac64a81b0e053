"""A client's weights by their names, from files of PyTorch, ONNX, NumPy and Keras: for models that are graphs.

A file must hold every weight of the model and no other. Counters, as BatchNorm's number of batches, are left out; so
is what is frozen, as long as it is what all clients share. No pickle's code runs: PyTorch reads tensors alone.
"""

import re
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.weights import MAX_WEIGHT, Weights
from ledger_store.base.errors import MissingPart, RoundFilesInvalid

Tensors = Mapping[str, npt.NDArray[Any]]
Reader = Callable[[Path, GraphModel], Tensors]

STATE_HINT: Final = (
    "PyTorch: torch.save(model.state_dict(), FILE), or safetensors.torch.save_model(model, FILE)"
)
# What training scripts call the weights within a checkpoint, and what wrappers put before every name.
_WITHIN: Final = ("state_dict", "model_state_dict", "model")
_WRAPPED: Final = ("module.", "_orig_mod.")
_NUMBERED: Final = re.compile(r"arr_([0-9]{1,9})")
_VARIANCES: Final = 4
"""Which input of BatchNormalization they are."""


def read_named(source: Path, model: GraphModel, without: Collection[str] = ()) -> Weights:
    """The weights in a file, in the model's order.

    Args:
        source: a .pt, .pth, .safetensors, .onnx, .npz, .keras, .weights.h5 or .h5 file.
        model: what they must fit.
        without: patterns of names of tensors that the model does not have and that are left out.

    Raises:
        RoundFilesInvalid: a file of another kind, damaged, or whose tensors are not the model's.
        MissingPart: what reads this kind is not installed.
    """
    reader = READERS.get(source.suffix)
    if reader is None:
        kind = source.suffix or "a file without a suffix"
        raise _refused(
            source, f"{kind} is not a kind that can be converted", f"kinds are {', '.join(READERS)}"
        )
    if not source.is_file():
        raise _refused(source, "no such file")
    tensors = {
        name: array
        for name, array in reader(source, model).items()
        if not any(fnmatchcase(name, pattern) for pattern in without)
    }
    return _matched(_unwrapped(tensors), model, source)


def _matched(tensors: Tensors, model: GraphModel, source: Path) -> Weights:
    wanted = dict(zip(model.weight_names, model.weight_shapes, strict=True))
    frozen = {one.name for one in model.frozen}
    if missing := [name for name in wanted if name not in tensors]:
        held = f"it holds {', '.join(tensors)}"[:300]
        raise _refused(source, f"there is no tensor {missing[0]!r}, which the model has", held)
    for name, array in tensors.items():
        if name not in wanted and name not in frozen and array.dtype.kind not in "iub":
            hint = f"leave it out if it is not meant to be averaged: --without {name}"
            raise _refused(source, f"it holds a tensor {name!r}, which the model does not have", hint)
    return tuple(
        _weight(name, tensors[name], shape, source)
        for name, shape in _checked(wanted, tensors, model, source)
    )


def _checked(
    wanted: Mapping[str, tuple[int, ...]], tensors: Tensors, model: GraphModel, source: Path
) -> Sequence[tuple[str, tuple[int, ...]]]:
    """The same names and shapes; refused where a variance is below 0, of which no root can be taken."""
    for node in model.graph.nodes:
        name = node.inputs[_VARIANCES] if node.operation == "BatchNormalization" else ""
        if name in wanted and (tensors[name] < 0).any():
            raise _refused(
                source, f"tensor {name!r} holds a variance below 0", "a training that diverged leaves such"
            )
    return list(wanted.items())


def _weight(
    name: str, array: npt.NDArray[Any], shape: tuple[int, ...], source: Path
) -> npt.NDArray[np.float32]:
    if array.dtype.kind != "f":
        raise _refused(source, f"tensor {name!r} holds {array.dtype}, not real numbers")
    if array.shape != shape:
        message = f"tensor {name!r} has shape {array.shape}, the model needs {shape}"
        turned = array.ndim == len(shape) and array.shape[::-1] == shape
        hint = "it is transposed: give weights as the model's own framework keeps them" if turned else ""
        raise _refused(source, message, hint)
    if not (array.min(initial=0) >= -MAX_WEIGHT and array.max(initial=0) <= MAX_WEIGHT):
        message = f"tensor {name!r} holds a value that is not finite or beyond ±{MAX_WEIGHT:g}"
        raise _refused(source, message, "a training that diverged leaves such values")
    return np.asarray(array, np.float32, order="C")


def _unwrapped(tensors: Tensors) -> Tensors:
    """Without what DataParallel and torch.compile put before every name."""
    for prefix in _WRAPPED:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): array for name, array in tensors.items()}
    return tensors


# Kinds of files --------------------------------------------------------------------------------------------------


def _from_torch(source: Path, _: GraphModel) -> Tensors:
    try:
        import torch
    except ImportError as error:
        message = f"PyTorch, which reads {source.suffix} files, is not installed"
        hint = "install it where the model was trained, or write safetensors there"
        raise MissingPart(message, hint=hint) from error
    try:
        held = torch.load(source, map_location="cpu", weights_only=True)
    # PyTorch raises whatever its parts raise for damaged files, and for pickles of more than tensors.
    except Exception as error:
        message = "PyTorch reads no tensors in it: it is damaged, or holds code"
        raise _refused(source, message, f"a whole module is not read; {STATE_HINT}") from error
    for name in _WITHIN:
        if isinstance(held, Mapping) and isinstance(held.get(name), Mapping):
            held = held[name]
    if not isinstance(held, Mapping):
        raise _refused(source, f"it holds a {type(held).__name__}, no state_dict", STATE_HINT)
    return {str(name): _of_torch(one) for name, one in held.items() if isinstance(one, torch.Tensor)}


def _of_torch(tensor: Any) -> npt.NDArray[Any]:
    """Of any kind of real numbers; NumPy has no bfloat16."""
    whole = tensor.detach().cpu()
    return np.asarray((whole.float() if whole.is_floating_point() else whole).numpy())


def _from_safetensors(source: Path, _: GraphModel) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(source)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        message = f"no safetensors file of plain numbers: {str(error)[:120]}"
        raise _refused(source, message, STATE_HINT) from error


def _from_onnx(source: Path, _: GraphModel) -> Tensors:
    from onnx import numpy_helper

    from fedcoin_cli.learning.exchange.from_onnx import load

    graph = load(source).graph
    return {one.name: np.asarray(numpy_helper.to_array(one)) for one in graph.initializer}


def _from_npz(source: Path, model: GraphModel) -> Tensors:
    """By name; arrays that are only numbered stand in the model's order."""
    try:
        with np.load(source, allow_pickle=False) as file:
            tensors = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise _refused(source, f"no .npz of plain arrays: {error}") from error
    if not all(map(_NUMBERED.fullmatch, tensors)):
        return tensors
    ordered = sorted(tensors, key=lambda name: int(name.removeprefix("arr_")))
    return _in_order([tensors[name] for name in ordered], model, source)


def _in_order(arrays: Sequence[npt.NDArray[Any]], model: GraphModel, source: Path) -> Tensors:
    if len(arrays) != len(model.weight_names):
        message = (
            f"it holds {len(arrays)} arrays without names, the model has {len(model.weight_names)} weights"
        )
        raise _refused(source, message)
    return dict(zip(model.weight_names, arrays, strict=True))


def _from_keras(source: Path, model: GraphModel) -> Tensors:
    """By the places of layers in Keras' own files, which weights are called by."""
    try:
        import h5py
    except ImportError as error:
        message = "h5py, which reads Keras' files, is not installed"
        raise MissingPart(message, hint="pip install 'fedcoin[mine]'") from error
    try:
        with ExitStack() as stack:
            file: Any = source
            if zipfile.is_zipfile(source):
                archive = stack.enter_context(zipfile.ZipFile(source))
                file = BytesIO(archive.read("model.weights.h5"))
            opened = stack.enter_context(h5py.File(file, "r"))
            whole = opened.get("model_weights", opened)
            if "layer_names" in whole.attrs:
                return _in_order(_in_layers(whole), model, source)
            return _by_place(_places(opened), model)
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        message = f"Keras' weights cannot be read in it: {str(error).splitlines()[0][:120]}"
        raise _refused(
            source, message, "save it again with Keras 3: model.save_weights('FILE.weights.h5')"
        ) from error


def _in_layers(file: Any) -> list[npt.NDArray[Any]]:
    """All arrays of an older .h5 file, in the order of its layers."""
    groups = [file[_text(name)] for name in file.attrs["layer_names"]]
    return [np.asarray(group[_text(name)]) for group in groups for name in group.attrs["weight_names"]]


def _text(name: Any) -> str:
    return name.decode("utf-8") if isinstance(name, bytes) else str(name)


def _places(file: Any) -> dict[str, dict[int, npt.NDArray[Any]]]:
    """Of every layer, by its place, the arrays by their numbers; what training keeps beside them apart."""
    import h5py

    found: dict[str, dict[int, npt.NDArray[Any]]] = {}

    def look(path: str, item: Any) -> None:
        *inside, number = path.split("/")
        beside = {"optimizer", "metrics", "seed_generator"} & set(inside)
        if isinstance(item, h5py.Dataset) and inside[-1:] == ["vars"] and not beside:
            place = "/".join(part for part in inside if part not in {"layers", "vars"})
            found.setdefault(place, {})[int(number)] = np.asarray(item)

    file.visititems(look)
    return found


def _by_place(places: Mapping[str, Mapping[int, npt.NDArray[Any]]], model: GraphModel) -> Tensors:
    names: dict[str, list[str]] = {}
    for name in (*model.weight_names, *(one.name for one in model.frozen)):
        names.setdefault(name.rpartition("/")[0], []).append(name)
    tensors = {}
    for place, arrays in places.items():
        known = names.get(place, [])
        for number, array in sorted(arrays.items()):
            tensors[known[number] if number < len(known) else f"{place}/{number}"] = array
    return tensors


READERS: Final[Mapping[str, Reader]] = {
    ".pt": _from_torch,
    ".pth": _from_torch,
    ".safetensors": _from_safetensors,
    ".onnx": _from_onnx,
    ".npz": _from_npz,
    ".keras": _from_keras,
    ".h5": _from_keras,
}


def _refused(source: Path, message: str, hint: str = "") -> RoundFilesInvalid:
    return RoundFilesInvalid(message, where=str(source), hint=hint or STATE_HINT)
