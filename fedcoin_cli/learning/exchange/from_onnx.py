"""A graph from an ONNX model: on the host of whoever owns the file, never on a miner's.

Every node is translated in its order (`onnx_operations`); what depends on neither weights nor examples is computed and
becomes a constant. Weights keep their names, since clients' updates are averaged by them: a tensor that the exporter
renamed, folded into another or left out is refused, with the way to export it.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.exchange.folding import Folded, fold
from fedcoin_cli.learning.exchange.graph_maker import GraphMaker, Imported
from fedcoin_cli.learning.exchange.onnx_node import OnnxNode, Value
from fedcoin_cli.learning.exchange.onnx_operations import TRANSLATIONS
from fedcoin_cli.learning.graph.graph import Kind
from ledger_store.base.errors import MissingPart, RoundFilesInvalid

EXPORT_HINT: Final = (
    "torch.onnx.export(model.eval(), (x,), FILE, dynamo=True, optimize=False, external_data=False, "
    'dynamic_shapes=({0: "n"},)) keeps names and the number of examples open'
)
_OLDEST: Final = 13
_MOST_NODES: Final = 1 << 16
# What exporters call tensors that they made themselves.
_MADE_UP: Final = re.compile(r"onnx::\w+|val_\d+|\d+|_\w+|lifted_tensor_\d+|c?_?lifted_\w+|Constant_\d+\w*")
# Of such a tensor with more values, weights have been folded into it or have lost their name.
_MOST_UNNAMED: Final = 64
# Where PyTorch writes down what the module called its tensors, and how.
_SIGNATURE: Final = "pkg.torch.export.ExportedProgram.graph_signature"
_TARGET: Final = re.compile(r"(PARAMETER|BUFFER) target='([^']+)'(?: persistent=(True|False))?")
_COUNTER: Final = "num_batches_tracked"
_FLOATS: Final = ("float16", "float64", "bfloat16")
_RANDOM: Final = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli"}
)
# ONNX's codes of float32, float16, float64 and bfloat16.
_FLOAT_CODES: Final = frozenset({1, 10, 11, 16})
_LOOPS: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})


@dataclass(frozen=True, slots=True)
class Named:
    """What the original calls its tensors, in its order: those that clients train, and those that are frozen."""

    trained: tuple[str, ...]
    frozen: tuple[str, ...]


def load(source: Path) -> Any:
    """The ONNX model in a file.

    Raises:
        RoundFilesInvalid: no such file, no ONNX model, or one whose weights are in another file that is not there.
        MissingPart: onnx is not installed.
    """
    onnx = _onnx()
    try:
        return onnx.load(str(source))
    except FileNotFoundError as error:
        message = f"no such file: {Path(str(error.filename or source)).name}"
        raise RoundFilesInvalid(message, where=str(source), hint="export with external_data=False") from error
    # Protobuf's own error has no common base with the others, and onnx has several of its own.
    except Exception as error:
        message = f"no ONNX model: {_first_line(error)}"
        raise RoundFilesInvalid(message, where=str(source), hint=EXPORT_HINT) from error


def import_onnx(
    model: Any, *, where: str, named: Named | None = None, frozen: Collection[str] = (), real: bool = False
) -> Imported:
    """The graph of an ONNX model.

    Args:
        model: an `onnx.ModelProto`.
        where: its name for errors.
        named: what the original calls its tensors; None where that is not known, so all that have a name are weights.
        frozen: patterns, as `encoder.*`, of the names of weights that no client trains.
        real: outputs are meant for real-valued targets: a closing sigmoid or softmax stays.

    Raises:
        RoundFilesInvalid: what of it is not understood, or lost its name; the place is the node.
    """
    maker = GraphMaker(where, EXPORT_HINT, real)
    return _Importer(_inlined(model), maker, named or _told_by(model), tuple(frozen)).imported()


def _told_by(model: Any) -> Named | None:
    """What PyTorch's exporter says of the names; None where another one made the model."""
    texts = [one.value for one in model.graph.metadata_props if one.key == _SIGNATURE]
    integers = {one.name for one in model.graph.initializer if one.data_type not in _FLOAT_CODES}
    targets = [
        name
        for text in texts
        for _, name, kept in _TARGET.findall(text)
        if kept != "False" and name not in integers and not name.endswith(_COUNTER)
    ]
    return Named(tuple(targets), ()) if targets else None


class _Importer:
    """One import; `values` holds what every name of the ONNX graph is."""

    def __init__(self, model: Any, maker: GraphMaker, named: Named | None, patterns: tuple[str, ...]) -> None:
        self._graph, self._named, self._patterns = model.graph, named, patterns
        self._maker = maker
        self._opset = self._version(model)
        self._values: dict[str, Value] = {}
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def imported(self) -> Imported:
        if len(self._graph.node) > _MOST_NODES:
            self._refuse(f"more than {_MOST_NODES} operations")
        self._read_tensors()
        self._read_inputs()
        for node in self._graph.node:
            self._add(node)
        if len(self._graph.output) != 1:
            names = ", ".join(one.name for one in self._graph.output)
            self._refuse(f"it has {len(self._graph.output)} outputs: {names}", hint="return the logits alone")
        output = self._values.get(self._graph.output[0].name)
        if not isinstance(output, str):
            self._refuse("the output depends on neither weights nor examples")
        imported = self._maker.finish(output, f"output {self._graph.output[0].name!r}")
        self._refuse_unmatched()
        return imported

    def _version(self, model: Any) -> int:
        versions = {one.domain: one.version for one in model.opset_import}
        version = int(versions.get("", versions.get("ai.onnx", 0)))
        newest = _onnx().defs.onnx_opset_version()
        if not _OLDEST <= version <= newest:
            hint = f"export with opset_version=18; {_OLDEST} to {newest} are read"
            self._refuse(f"its operations are of set {version}", hint=hint)
        return version

    def _read_tensors(self) -> None:
        numpy_helper = _onnx().numpy_helper
        for one in self._graph.initializer:
            try:
                array = np.asarray(numpy_helper.to_array(one))
            except (ValueError, TypeError) as error:
                self._refuse(f"tensor {one.name[:80]!r} cannot be read: {_first_line(error)}")
            self._arrays[one.name] = array
        if self._named is not None:
            self._refuse_lost(self._named)
        first = self._named.trained if self._named else ()
        for name in dict.fromkeys((*first, *self._arrays)):
            self._values[name] = self._tensor(name, self._arrays[name])

    def _refuse_lost(self, named: Named) -> None:
        missing = [name for name in (*named.trained, *named.frozen) if name not in self._arrays]
        if missing:
            shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
            made_up = [name for name, array in self._arrays.items() if self._is_nameless(name, array)]
            why = (
                "renamed or folded into others"
                if made_up
                else "not there: folded, or nothing computes with them"
            )
            self._refuse(f"weights have lost their names ({why}): {shown}")

    def _tensor(self, name: str, array: npt.NDArray[Any]) -> Value:
        if array.dtype.name in _FLOATS and (array.ndim or array.dtype.name != "float64"):
            hint = "export it in float32: model.float()"
            self._refuse(f"tensor {name[:80]!r} holds {array.dtype.name}", hint=hint)
        weight = array.dtype == np.float32 and (
            self._looks_trained(name, array)
            if self._named is None
            else name in self._named.trained or name in self._named.frozen
        )
        if not weight:
            return Folded.same(array)
        if not np.isfinite(array).all():
            self._refuse(f"tensor {name[:80]!r} holds a value that is not finite", hint="train it again")
        frozen = self._named is not None and name in self._named.frozen
        return self._maker.weight(name, array, frozen=frozen or self._is_frozen(name))

    def _is_frozen(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._patterns)

    def _looks_trained(self, name: str, array: npt.NDArray[Any]) -> bool:
        """Of a file alone: whatever has a name is trained, and no large tensor may have none."""
        if self._is_nameless(name, array):
            message = (
                f"a tensor of {list(array.shape)} is called {name[:80]!r}: weights have lost their names"
            )
            self._refuse(f"{message}, or BatchNorm is folded into them")
        return not _MADE_UP.fullmatch(name)

    @staticmethod
    def _is_nameless(name: str, array: npt.NDArray[Any]) -> bool:
        return _MADE_UP.fullmatch(name) is not None and array.dtype.kind == "f" and array.size > _MOST_UNNAMED

    def _refuse_unmatched(self) -> None:
        for pattern in self._patterns:
            if not any(fnmatchcase(name, pattern) for name in self._maker.tensors):
                known = ", ".join(self._maker.tensors)[:300]
                self._refuse(f"no weight is called {pattern[:80]!r}", hint=f"weights are {known}")

    def _read_inputs(self) -> None:
        helper, kinds = _onnx().helper, {"float32": Kind.float32, "int32": Kind.int32, "int64": Kind.int32}
        for one in self._graph.input:
            if one.name in self._values:
                continue
            place, tensor = f"input {one.name[:80]!r}", one.type.tensor_type
            try:
                dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
            except (KeyError, TypeError):
                dtype = "no numbers"
            if dtype not in kinds:
                hint = "images are float32, token ids integers: cast within the model"
                self._maker.refuse(f"it holds {dtype}, not float32, int32 or int64", place, hint)
            first, *others = list(tensor.shape.dim) or [None]
            if first is None or first.HasField("dim_value"):
                self._maker.refuse("its first axis, the examples, has a fixed size", place)
            if not all(size.HasField("dim_value") and size.dim_value > 0 for size in others):
                hint = "only the first axis may be dynamic: export with fixed sizes, pad sequences"
                self._maker.refuse("an axis behind the first has no fixed size", place, hint)
            shape = [int(size.dim_value) for size in others]
            self._values[one.name] = self._maker.input(one.name, kinds[dtype], shape)

    def _add(self, node: Any) -> None:
        outputs = [name for name in node.output if name]
        place = f"node {node.name[:80] or outputs[0][:80]!r} ({node.op_type[:40]})"
        if node.domain not in {"", "ai.onnx"}:
            self._maker.refuse(f"an operation of {node.domain[:40]!r}, not of ONNX itself", place)
        if node.op_type in _LOOPS:
            hint = "write the model without loops and branches over tensors"
            self._maker.refuse("a graph with a loop or a branch is not understood", place, hint)
        if node.op_type in _RANDOM:
            self._maker.refuse("it draws numbers", place, "export the model in eval mode: model.eval()")
        inputs = [self._value(name, place) for name in node.input]
        known = [value for value in inputs if isinstance(value, Folded) or value is None]
        if len(known) == len(inputs) and node.op_type not in {"Shape", "Size"}:
            made: Sequence[Value] = self._folded(node, known, place)
        else:
            made = self._translated(node, inputs, place, len(outputs))
        self._values.update((name, value) for name, value in zip(node.output, made, strict=False) if name)

    def _value(self, name: str, place: str) -> Value | None:
        if name and name not in self._values:
            self._maker.refuse(f"{name[:80]!r} is used before it is defined", place)
        return self._values[name] if name else None

    def _folded(self, node: Any, known: Sequence[Folded | None], place: str) -> Sequence[Folded]:
        try:
            return fold(node, self._opset, known)
        # onnx's reference raises whatever its implementations raise.
        except Exception as error:
            message = f"it cannot be computed: {_first_line(error)}"
            raise RoundFilesInvalid(
                message, where=f"{self._maker.where}, {place}", hint=EXPORT_HINT
            ) from error

    def _translated(
        self, node: Any, inputs: Sequence[Value | None], place: str, outputs: int
    ) -> Sequence[Value]:
        translate = TRANSLATIONS.get(node.op_type)
        if translate is None:
            hint = f"these are: {', '.join(TRANSLATIONS)}"
            self._maker.refuse(f"the operation {node.op_type[:40]!r} is not understood", place, hint)
        attributes = {one.name: _plain(_onnx().helper.get_attribute_value(one)) for one in node.attribute}
        made = translate(OnnxNode(node.op_type, place, attributes, inputs, outputs, self._maker))
        if any(node.output[len(made) :]):
            self._maker.refuse(f"it gives {len(made)} outputs here, {outputs} are used", place)
        return made

    def _refuse(self, message: str, hint: str = "") -> NoReturn:
        self._maker.refuse(message, hint=hint)


def _plain(value: Any) -> Any:
    """An attribute as a Python value; texts are bytes in ONNX."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float):  # 1e-05, not what float32 makes of it
        return float(str(np.float32(value)))
    if isinstance(value, (list, tuple)) or hasattr(value, "__len__"):
        return [_plain(one) for one in value]
    return value


def _inlined(model: Any) -> Any:
    """The model without functions of its own."""
    if not model.functions:
        return model
    from onnx import inliner

    return inliner.inline_local_functions(model)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _onnx() -> ModuleType:
    try:
        import onnx
        from onnx import helper, numpy_helper  # noqa: F401 -- what is used of it
    except ImportError as error:
        message = "onnx, which reads models of PyTorch and others, is not installed"
        raise MissingPart(message, hint="pip install 'fedcoin[onnx]'") from error
    module: ModuleType = onnx
    return module
