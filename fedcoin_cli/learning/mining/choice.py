"""Which engine counts a game: the one place that decides.

A GPU that Keras sees comes first, then the C kernel, then Keras on the CPU. Keras is imported only where it counts:
TensorFlow takes seconds to load and 400 MB to stay.
"""

import os
from pathlib import Path
from typing import Final, Literal

from fedcoin_cli.learning.mining import cube
from fedcoin_cli.learning.mining.compiled import library
from fedcoin_cli.learning.mining.forward import FirstLayer
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.kernel import KernelEngine, suits
from fedcoin_cli.learning.mining.sampling import Utility, Whole

Kind = Literal["auto", "keras", "kernel"]

_GPU_DEVICES: Final = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Without one of these (NVIDIA, AMD, Windows' subsystem) asking Keras for a GPU is not worth loading it."""

_WITH_GPU: Final = "it sees a GPU"
_WITHOUT_KERNEL: Final = "there is no C kernel, for which cc is needed"

_WHOLE_FROM: Final = 14
"""With fewer clients the coalitions are counted as quickly one by one."""


def engine_for(game: Game, first: FirstLayer | None = None, threads: int = 0, kind: Kind = "auto") -> Utility:
    """The quickest engine here for this game, on `threads` cores (0: all); `kind` names one for a comparison.

    Raises:
        MissingPart: Keras is needed and not installed.
        LookupError: the kernel is asked for and cannot count this game here.
    """
    if kind == "kernel" and not suits(game):
        raise LookupError("the C kernel cannot count this game here")
    if kind == "kernel" or (kind == "auto" and suits(game) and not _gpu()):
        return KernelEngine(game, first, threads or os.cpu_count() or 1)
    from fedcoin_cli.learning.mining.convnet import ConvEngine
    from fedcoin_cli.learning.mining.engine import UtilityEngine

    return (ConvEngine if game.spec.features else UtilityEngine)(game, first, threads)


def whole_for(game: Game, first: FirstLayer | None = None, threads: int = 0) -> Whole | None:
    """What counts all coalitions of this game together, where that is quicker than `engine_for` one by one."""
    if game.clients < _WHOLE_FROM or not cube.suits(game) or _gpu():
        return None
    return cube.Cube(game, first, threads or os.cpu_count() or 1)


def describe(threads: int) -> str:
    """What counts the usual game here, for people: "C kernel, 2 threads"."""
    if library() is not None and not _gpu():
        return _kernel(threads)
    return f"{_keras(threads)}: {_WITHOUT_KERNEL if library() is None else _WITH_GPU}"


def counts(game: Game, threads: int) -> str:
    """What counts this game here and, where that is not the C kernel, why."""
    if suits(game) and not _gpu():
        return _kernel(threads)
    if _gpu():
        why = _WITH_GPU
    elif library() is None:
        why = _WITHOUT_KERNEL
    else:
        layers = "convolutions" if game.spec.features else "activations other than ReLU"
        why = f"the C kernel takes no {layers}"
    return f"{_keras(threads)}: {why}"


def _kernel(threads: int) -> str:
    return f"C kernel, {_cores(threads)}"


def _keras(threads: int) -> str:
    from fedcoin_cli.learning.backend import devices, keras

    return f"Keras {keras.__version__} with {keras.backend.backend()} on {devices()}, {_cores(threads)}"


def _cores(threads: int) -> str:
    return f"{threads} thread" if threads == 1 else f"{threads} threads"


def gpu_devices() -> tuple[str, ...]:
    """The system's doors to a GPU."""
    return tuple(device for device in _GPU_DEVICES if Path(device).exists())


def _gpu() -> bool:
    """Whether Keras sees a GPU."""
    if not gpu_devices():
        return False
    from fedcoin_cli.learning.backend import devices

    return devices() == "gpu"
