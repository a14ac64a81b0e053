"""Which engine counts a game: the one place that decides.

Of chains, for accuracy, a GPU that Keras sees comes first, then the C kernel, then Keras on the CPU; other metrics are
scored from outputs in NumPy. Graphs are scored from outputs, too: Keras computes them on a GPU, onnxruntime on a CPU,
Keras where that is not installed, NumPy where neither is or next to nothing is left to compute. Libraries are imported
only where they count: TensorFlow takes seconds to load and 400 MB to stay. (docs/adr/0040)
"""

import os
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Final, Literal

from fedcoin_cli.contract.metric import ACCURACY
from fedcoin_cli.learning.coalitions.exact import MAX_EXACT_CLIENTS
from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.engines import cube
from fedcoin_cli.learning.engines.compiled import library
from fedcoin_cli.learning.engines.enumeration import Enumerating
from fedcoin_cli.learning.engines.graph_outputs import GraphOutputs, NumpyRest
from fedcoin_cli.learning.engines.kernel import KernelEngine, suits
from fedcoin_cli.learning.engines.outputs import ChainOutputs, OutputEngine, OutputSource, OutputWalker
from fedcoin_cli.learning.engines.walker import KernelWalker
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.game.utility import Enumeration, Utility, Walker
from fedcoin_cli.learning.metrics.choice import scorer_of
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.graphics import gpu_devices
from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.reference.forward import FirstLayer
from fedcoin_cli.learning.reference.referee import Prepared
from fedcoin_cli.learning.reference.staged import Staged

Kind = Literal["auto", "keras", "kernel", "onnx", "numpy"]

_WITH_GPU: Final = "it sees a GPU"
_WITHOUT_KERNEL: Final = "there is no C kernel, for which cc is needed"

_SMALL_FLOP: Final = 1 << 12
"""The work of an image in a graph that NumPy does sooner than any other library is called."""
_WHOLE_FROM: Final = 14
"""With fewer clients the coalitions are counted as quickly one by one."""


def engine_for(game: Game, ready: Prepared | None = None, threads: int = 0, kind: Kind = "auto") -> Utility:
    """The quickest engine here for this game, on `threads` cores (0: all); `kind` names one for a comparison.

    Raises:
        MissingPart: Keras is needed and not installed.
        LookupError: what is asked for cannot count this game here.
    """
    if (source := _source(game, ready, threads, kind)) is not None:
        return OutputEngine(source)
    first = _first(ready)
    if kind == "kernel" and not suits(game):
        raise LookupError("the C kernel cannot count this game here")
    if kind == "kernel" or (kind == "auto" and suits(game) and not _gpu()):
        return KernelEngine(game, first, threads or os.cpu_count() or 1)
    from fedcoin_cli.learning.engines.engine import UtilityEngine

    return UtilityEngine(game, first, threads)


def walker_for(
    game: Game, partition: Partition, ready: Prepared | None = None, threads: int = 0, kind: Kind = "auto"
) -> Walker:
    """The quickest here along rankings of this game's blocks; arguments and errors as of `engine_for`."""
    if (source := _source(game, ready, threads, kind)) is not None:
        return OutputWalker(source, partition)
    first = _first(ready)
    if kind == "kernel" and not suits(game):
        raise LookupError("the C kernel cannot count this game here")
    if kind == "kernel" or (kind == "auto" and suits(game) and not _gpu()):
        return KernelWalker(game, partition, first, threads or os.cpu_count() or 1)
    from fedcoin_cli.learning.engines.keraswalker import KerasWalker

    return KerasWalker(game, partition, first, threads)


def walker_without_keras_for(game: Game, partition: Partition) -> Walker:
    """What counts along rankings without Keras, on one core: the C kernel or onnxruntime where they can, else NumPy."""
    if isinstance(game.model, GraphModel):
        kind = _of_graph(game, "auto")
    else:
        kind = "kernel" if by_kernels(game) and suits(game) else "numpy"
    return walker_for(game, partition, threads=1, kind="numpy" if kind == "keras" else kind)


def enumeration_for(
    game: Game, engine: Callable[[], Utility], ready: Prepared | None = None, threads: int = 0
) -> Enumeration | None:
    """What counts all coalitions of this game, together where that is quicker; None where there are too many."""
    if game.clients > MAX_EXACT_CLIENTS:
        return None
    if game.clients < _WHOLE_FROM or not by_kernels(game) or not cube.suits(game) or _gpu():
        return Enumerating(engine(), game.clients, scorer_of(game).whole)
    return cube.Cube(game, _first(ready), threads or os.cpu_count() or 1)


def describe(threads: int) -> str:
    """What counts the usual game here, for people: "C kernel, 2 threads"."""
    if library() is not None and not _gpu():
        return _kernel(threads)
    if find_spec("keras") is None:
        return f"NumPy in float64: {_WITHOUT_KERNEL}, and no Keras"
    return f"{_keras(threads)}: {_WITHOUT_KERNEL if library() is None else _WITH_GPU}"


def counts(game: Game, threads: int) -> str:
    """What counts this game here and, where that is not the C kernel, why."""
    if isinstance(game.model, GraphModel):
        match _of_graph(game, "auto"):
            case "numpy" if game.model.flop_above <= _SMALL_FLOP:
                return "NumPy in float32: little is left to compute of this graph"
            case "numpy":
                return "NumPy in float32: the C kernel takes no graphs, and there is neither onnxruntime nor Keras"
            case "onnx":
                return f"onnxruntime {_onnxruntime()} on cpu, {_cores(threads)}: the C kernel takes no graphs"
            case _:
                why = _WITH_GPU if _gpu() else "the C kernel takes no graphs, and there is no onnxruntime"
                return f"{_keras(threads)}: {why}"
    if not by_kernels(game):
        return f"NumPy in float64: kernels count accuracy, not {game.metric.name}"
    if suits(game) and not _gpu():
        return _kernel(threads)
    if _lonely(game):
        return "NumPy in float64: the C kernel does not take this model, and there is no Keras"
    if _gpu():
        why = _WITH_GPU
    elif library() is None:
        why = _WITHOUT_KERNEL
    else:
        why = "the C kernel takes no convolutions"
    return f"{_keras(threads)}: {why}"


def _source(game: Game, ready: Prepared | None, threads: int, kind: Kind) -> OutputSource | None:
    """Where outputs come from that are scored in NumPy; None where an engine counts by itself."""
    if not isinstance(game.model, GraphModel):
        if kind == "onnx":
            raise LookupError("onnxruntime counts graphs, not chains of layers")
        by_numpy = not by_kernels(game) or kind == "numpy" or (kind == "auto" and _lonely(game))
        return ChainOutputs(game, _first(ready)) if by_numpy else None
    staged = ready if isinstance(ready, Staged) else Staged(game)
    match _of_graph(game, kind):
        case "numpy":
            return GraphOutputs(staged, partial(NumpyRest, threads=threads))
        case "onnx":
            from fedcoin_cli.learning.engines.graph_onnx import OnnxRest

            return GraphOutputs(staged, partial(OnnxRest, threads=threads))
        case "keras":
            from fedcoin_cli.learning.engines.graph_keras import KerasRest

            return GraphOutputs(staged, partial(KerasRest, threads=threads))
        case _:
            raise LookupError("the C kernel counts no graphs")


def by_kernels(game: Game) -> bool:
    """Whether kernels count by this game's metric, and it is a chain."""
    return game.metric == ACCURACY and isinstance(game.model, ModelSpec)


def _of_graph(game: Game, kind: Kind) -> Kind:
    """Which library computes a graph."""
    if kind != "auto":
        return kind
    if _gpu():
        return "keras"
    if game.model.flop_above <= _SMALL_FLOP:
        return "numpy"
    if find_spec("onnxruntime") is not None and find_spec("onnx") is not None:
        return "onnx"
    return "keras" if find_spec("keras") is not None else "numpy"


def _lonely(game: Game) -> bool:
    """Whether a chain is left to NumPy: the kernel does not take it, and there is no Keras, which is quicker."""
    return not suits(game) and find_spec("keras") is None


def _first(ready: Prepared | None) -> FirstLayer | None:
    """What is prepared of a chain."""
    assert ready is None or isinstance(ready, FirstLayer)
    return ready


def _kernel(threads: int) -> str:
    return f"C kernel, {_cores(threads)}"


def _onnxruntime() -> str:
    return version("onnxruntime")


def _keras(threads: int) -> str:
    from fedcoin_cli.learning.model.backend import devices, keras

    return f"Keras {keras.__version__} with {keras.backend.backend()} on {devices()}, {_cores(threads)}"


def _cores(threads: int) -> str:
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


def _gpu() -> bool:
    """Whether Keras sees a GPU."""
    if not gpu_devices() or find_spec("keras") is None:
        return False
    from fedcoin_cli.learning.model.backend import devices

    return devices() == "gpu"
