"""A graph from a PyTorch module, exported so that every weight keeps its name in the module's state_dict.

What is trained is what asks for a gradient. Buffers of real numbers, as BatchNorm's running statistics, are averaged
with the weights of their module, or frozen with them; counters are left out. FedCoin needs no PyTorch: whoever has a
module has it.
"""

import logging
import sys
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.exchange.from_onnx import Named, import_onnx
from fedcoin_cli.learning.exchange.graph_maker import Imported
from ledger_store.base.errors import MissingPart, RoundFilesInvalid

# Exporters take an axis of 1 for one that is always 1.
_EXAMPLES = 3


def is_module(model: object) -> bool:
    """Whether it is a PyTorch module; loads nothing."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def unwrapped(module: Any) -> Any:
    """The module that a person wrote: without what torch.compile and DataParallel put around it."""
    torch = sys.modules["torch"]
    if hasattr(module, "_orig_mod"):
        return unwrapped(module._orig_mod)  # noqa: SLF001 (its only name)
    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    return unwrapped(module.module) if isinstance(module, parallel) else module


def import_torch(
    module: Any,
    examples: Sequence[npt.ArrayLike],
    *,
    where: str,
    frozen: Collection[str] = (),
    real: bool = False,
) -> Imported:
    """The graph of a module in eval mode.

    Args:
        module: a `torch.nn.Module`; it stays as it was.
        examples: what it is called with, an array an input, one example or more along the first axis of each.
        where: its name for errors.
        frozen: patterns of the names of weights that no client trains, beside those without a gradient.
        real: outputs are meant for real-valued targets: a closing sigmoid or softmax stays.

    Raises:
        RoundFilesInvalid: what of it cannot be exported or is not understood.
        MissingPart: onnx and onnxscript, which PyTorch exports by, are not installed.
    """
    trained, fixed = _named(module, where)
    with _evaluating(module):
        made = _exported(module, [_several(one, where) for one in examples], where)
    unused = _unused(made.exported_program)
    named = Named(*(tuple(name for name in names if name not in unused) for names in (trained, fixed)))
    imported = import_onnx(made.model_proto, where=where, named=named, frozen=frozen, real=real)
    idle = tuple(name for name in (*trained, *fixed) if name in unused)
    return replace(imported, unused=(*imported.unused, *idle))


def run_torch(module: Any, inputs: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """What the module itself gives in eval mode."""
    import torch

    with _evaluating(module), torch.no_grad():
        outputs = module(*(torch.from_numpy(np.ascontiguousarray(one)) for one in inputs))
    return np.asarray(outputs.detach().cpu().numpy())


def require() -> None:
    """Raise `MissingPart` where PyTorch is not installed."""
    try:
        import torch  # noqa: F401 -- asked for here
    except ImportError as error:
        raise MissingPart("PyTorch is not installed", hint="pip install torch") from error


def load_state(module: Any, weights: Path) -> None:
    """Give a module the weights of a state_dict's file, tensors alone."""
    import torch

    module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))


def _named(module: Any, where: str) -> tuple[list[str], list[str]]:
    """What the module calls its tensors of real numbers: those that are trained, and those that are not."""
    trained: list[str] = []
    frozen: list[str] = []
    owners = dict(module.named_modules())
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name, tensor in module.state_dict(keep_vars=True).items():
        if not tensor.is_floating_point():
            continue
        if str(tensor.dtype) != "torch.float32":
            hint = "export it in float32: model.float()"
            raise RoundFilesInvalid(f"tensor {name!r} holds {tensor.dtype}", where=where, hint=hint)
        fixed = not tensor.requires_grad
        if name not in parameters:  # a buffer goes with what is trained beside it
            beside = list(owners[name.rpartition(".")[0]].parameters(recurse=False))
            fixed = bool(beside) and not any(one.requires_grad for one in beside)
        (frozen if fixed else trained).append(name)
    return trained, frozen


def _unused(program: Any) -> set[str]:
    """The tensors that the module does not compute with."""
    signature = program.graph_signature
    targets = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    return {targets[node.name] for node in program.graph.nodes if node.name in targets and not node.users}


def _several(example: npt.ArrayLike, where: str) -> npt.NDArray[Any]:
    """A few examples, of the kinds that modules take."""
    array = np.asarray(example)
    if array.ndim == 0 or len(array) == 0:
        hint = "give at least one example, the examples first: x[:1]"
        raise RoundFilesInvalid("the example input has no axis of examples", where=where, hint=hint)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    return np.ascontiguousarray(np.concatenate([array[:_EXAMPLES]] * _EXAMPLES)[:_EXAMPLES])


def _exported(module: Any, examples: list[npt.NDArray[Any]], where: str) -> Any:
    try:
        import onnx  # noqa: F401 -- PyTorch exports by it
        import onnxscript  # noqa: F401 -- as onnx
    except ImportError as error:
        message = "onnx and onnxscript, by which PyTorch exports models, are not installed"
        raise MissingPart(message, hint="pip install 'fedcoin[onnx]'") from error
    import torch

    tensors = tuple(torch.from_numpy(one) for one in examples)
    names = ({0: torch.export.Dim.DYNAMIC},) * len(tensors)
    try:
        with _quiet():
            made = torch.onnx.export(
                module,
                tensors,
                dynamo=True,
                optimize=False,
                external_data=False,
                dynamic_shapes=names,
                verbose=False,
            )
    # PyTorch's exporter raises whatever the module's own code and its many parts raise.
    except Exception as error:
        message = f"PyTorch cannot export it: {_sense(error)}"
        hint = "it must run with the example input, without branches over values of tensors, for any number of examples"
        raise RoundFilesInvalid(message, where=where, hint=hint) from error
    return made


def _sense(error: BaseException) -> str:
    """The line of an exporter's long message that says why; it stands at the end of the chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """The module and its parts in eval mode for a while."""
    were = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for one, training in were:
            one.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings, logs and prints of the exporter's parts."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
