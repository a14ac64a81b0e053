"""From a model of another tool to `model.json`: chosen by its kind, compared with the original, written.

A Keras chain that miners have kernels for stays one, with weights in the order of `get_weights()`; all else becomes a
graph with weights by name. What is frozen goes into a file of its own beside the description.
"""

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.contract.metric import Truth
from fedcoin_cli.learning.exchange import from_keras, from_onnx, from_torch
from fedcoin_cli.learning.exchange.agreement import check_agreement, samples
from fedcoin_cli.learning.exchange.from_onnx import Named
from fedcoin_cli.learning.exchange.graph_maker import Imported
from fedcoin_cli.learning.exchange.low_rank import with_products
from fedcoin_cli.learning.exchange.named_tensors import READERS
from fedcoin_cli.learning.graph.graph import Graph, Kind
from fedcoin_cli.learning.graph.writer import graph_text
from fedcoin_cli.learning.model.interface import Model
from fedcoin_cli.learning.model.model import parse_model
from fedcoin_cli.learning.model.reading import read_model
from fedcoin_cli.learning.model.weights import FROZEN_NAME, Weights, write_update
from ledger_store.base.errors import NotFound, RoundFilesInvalid

# What is drawn where nobody gives samples; any number does.
_SEED: Final = 1
_KERAS: Final = (".keras", ".h5", ".json")
_HINT: Final = (
    "FILE is .onnx, .keras, .h5, Keras' .json, or FILE.py:NAME with a PyTorch module or what makes one"
)

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Made:
    """A description; the graph behind it, None for a chain; how far its outputs are from the original's."""

    text: str
    model: Model
    imported: Imported | None
    apart: float

    def write(self, target: Path) -> Path | None:
        """Write the description, and beside it the frozen tensors; returns their file, where there are any."""
        target.write_text(self.text, "utf-8")
        if not self.model.frozen:
            return None
        path = target.with_name(FROZEN_NAME)
        write_update(path, self.frozen, [one.name for one in self.model.frozen])
        return path

    @property
    def frozen(self) -> Weights:
        """What no client trains, in the model's order."""
        held = {} if self.imported is None else self.imported.frozen
        return tuple(held[one.name] for one in self.model.frozen)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a requester wants of a description.

    `truth` is what models will be judged by, where that is known: of real-valued targets a closing sigmoid or softmax
    stays. With `products` low-rank factors are averaged as their products.
    """

    truth: Truth | None = None
    products: bool = False


def import_file(
    source: str,
    *,
    inputs: Sequence[Array] = (),
    weights: Path | None = None,
    frozen: Collection[str] = (),
    asked: Asked = Asked(),
) -> Made:
    """The model in a file.

    Args:
        source: an .onnx, .keras, .h5 or .json file, or FILE.py:NAME.
        inputs: sample inputs, an array each; drawn at random where there are none.
        weights: the original's state_dict: of ONNX, every tensor of it must have kept its name; a module loads it.
        frozen: patterns of the names of weights that no client trains.
        asked: what it will be judged by, and how low-rank factors are averaged.

    Raises:
        RoundFilesInvalid: what of it is not understood, and where; or it computes something else than the original, or
            its outputs are none that this judges.
        NotFound: no such file.
        MissingPart: what reads this kind is not installed.
    """
    path, colon, name = source.rpartition(":")
    if colon and path.endswith(".py"):
        module = _from_code(Path(path), name, weights)
        return import_model(module, inputs, where=source, frozen=frozen, asked=asked)
    file = Path(source)
    if not file.is_file():
        raise NotFound("there is no such file", where=source, hint=_HINT)
    if file.suffix == ".onnx":
        return _import_onnx(file, inputs, weights, frozen, asked)
    if file.suffix not in _KERAS:
        raise RoundFilesInvalid(_kind(file), where=source, hint=_HINT)
    return import_model(from_keras.load(file), inputs, where=source, frozen=frozen, asked=asked)


def read_sample(path: Path) -> Array:
    """One input of examples, from a .npy file; raises `RoundFilesInvalid`."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        message = f"no .npy of a plain array: {str(error)[:120]}"
        raise RoundFilesInvalid(
            message, where=str(path), hint="write it with numpy.save(FILE, x[:4])"
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim == 0 or array.dtype.kind not in "fiu":
        raise RoundFilesInvalid("no array of numbers, the examples first", where=str(path))
    return array


def import_model(
    model: Any,
    inputs: Sequence[npt.ArrayLike] = (),
    *,
    where: str = "model",
    frozen: Collection[str] = (),
    asked: Asked = Asked(),
) -> Made:
    """The description of a PyTorch module, called with `inputs`, or of a Keras model; raises as `import_file`."""
    given, real = [np.asarray(one) for one in inputs], asked.truth is Truth.targets
    # On PyTorch's backend a Keras model is a module, too.
    if from_torch.is_module(model) and not from_keras.is_model(model):
        model = from_torch.unwrapped(model)
        if not given:
            hint = "--sample FILE.npy; in Python fedcoin.model_of(module, example)"
            raise RoundFilesInvalid("a PyTorch module needs an example of its input", where=where, hint=hint)
        imported = from_torch.import_torch(model, given, where=where, frozen=frozen, real=real)
        return _compared(imported, lambda x: from_torch.run_torch(model, x), given, where, asked)
    if not from_keras.is_model(model):
        message = f"{type(model).__name__} is neither a PyTorch module nor a Keras model"
        raise RoundFilesInvalid(message, where=where, hint=_HINT)
    text = str(model.to_json())
    if not frozen and not real and not asked.products:  # a chain's closing softmax is taken away
        try:
            return _fitting(Made(text, parse_model(text, where=where), None, 0.0), asked.truth, where)
        except RoundFilesInvalid:
            pass  # no chain of those that there are kernels for
    imported = from_keras.import_keras(model, where=where, frozen=frozen, real=real)
    return _compared(imported, lambda x: from_keras.run_keras(model, x), given, where, asked)


def _import_onnx(
    source: Path,
    inputs: Sequence[Array],
    weights: Path | None,
    frozen: Collection[str],
    asked: Asked,
) -> Made:
    model = from_onnx.load(source)
    named = None
    if weights is not None:
        reader = READERS.get(weights.suffix)
        if reader is None or weights.suffix == ".onnx" or not weights.is_file():
            raise NotFound(
                "there is no such state_dict", where=str(weights), hint="a .pt or .safetensors file"
            )
        tensors = reader(weights, None)  # type: ignore[arg-type]  # named kinds need no model
        named = Named(tuple(name for name, one in tensors.items() if one.dtype.kind == "f"), ())
    real = asked.truth is Truth.targets
    imported = from_onnx.import_onnx(model, where=str(source), named=named, frozen=frozen, real=real)

    def original(given: Sequence[Array]) -> Array:
        from onnx.reference import ReferenceEvaluator

        session = ReferenceEvaluator(model)
        kinds = dict(zip(session.input_names, session.input_types, strict=True))
        feeds = {
            one.name: array.astype(np.int64) if kinds[one.name].tensor_type.elem_type == 7 else array
            for one, array in zip(imported.graph.inputs, given, strict=True)
        }
        return np.asarray(session.run(None, feeds)[0])

    return _compared(imported, original, inputs, str(source), asked)


def _fitting(made: Made, truth: Truth | None, where: str) -> Made:
    """The same, where its outputs are a row an example, or one for each token, as what it is judged by needs."""
    row = made.model.row
    if truth is None or (truth is Truth.tokens) == (len(row) > 1):
        return made
    hint = "return (examples, tokens, classes) to be judged by tokens, else (examples, classes)"
    message = f"its outputs are (examples, {', '.join(map(str, row))}), and it is to be judged by {truth}"
    raise RoundFilesInvalid(message, where=where, hint=hint)


def _compared(imported: Imported, original: Any, inputs: Sequence[Array], where: str, asked: Asked) -> Made:
    if asked.products:
        imported = replace(imported, graph=with_products(imported.graph, where=where))
    text = graph_text(imported.graph)
    model = read_model(text, where=where)
    given = (
        _as_asked(inputs, imported.graph, where)
        if inputs
        else samples(imported.graph, np.random.default_rng(_SEED))
    )
    apart = check_agreement(imported, original, given, where=where)
    return _fitting(Made(text, model, imported, apart), asked.truth, where)


def _as_asked(inputs: Sequence[Array], graph: Graph, where: str) -> list[Array]:
    """A few samples in the kinds of the inputs; uint8 means x / 255, as in a test set."""
    if [one.shape[1:] for one in inputs] != [one.shape for one in graph.inputs]:
        wanted = ", ".join(f"{one.name} (examples, {', '.join(map(str, one.shape))})" for one in graph.inputs)
        found = ", ".join(str(one.shape) for one in inputs)
        raise RoundFilesInvalid(f"samples are {found}, the model reads {wanted}", where=where)
    few = [one[:8] for one in inputs]
    return [
        as_float(array) if one.kind == Kind.float32 else array
        for one, array in zip(graph.inputs, few, strict=True)
    ]


def as_float(array: Array) -> Array:
    """What a model sees of pixels: uint8 means x / 255."""
    return (array / np.float32(255) if array.dtype == np.uint8 else array).astype(np.float32)


def _from_code(path: Path, name: str, weights: Path | None) -> Any:
    """The module that the owner's own Python file holds or makes, with its weights where they are given."""
    if not path.is_file():
        raise NotFound("there is no such file", where=str(path), hint=_HINT)
    from_torch.require()
    loader = SourceFileLoader(path.stem, str(path))
    spec = ModuleSpec(path.stem, loader, origin=str(path))
    spec.has_location = True
    code = module_from_spec(spec)
    sys.modules[path.stem] = code
    sys.path.insert(0, str(path.resolve().parent))
    try:
        loader.exec_module(code)
        made = getattr(code, name)
        model = made if from_torch.is_module(made) else made()
        if weights is not None:
            from_torch.load_state(model, weights)
    # Whatever the owner's own code raises.
    except Exception as error:
        message = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
        raise RoundFilesInvalid(message, where=f"{path}:{name}", hint=_HINT) from error
    finally:
        sys.path.pop(0)
    return model


def _kind(file: Path) -> str:
    if file.suffix in {".pt", ".pth", ".safetensors", ".npz"}:
        return "these are weights; the model that computes with them is not in such a file"
    if file.suffix == ".pt2":
        return "a .pt2 file may hold code, and is not read: export to ONNX"
    return f"{file.suffix or 'a file without a suffix'} holds no model that can be imported"
