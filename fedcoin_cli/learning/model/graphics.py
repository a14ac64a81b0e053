"""Whether the system shows a GPU, asked before anything heavy is loaded; what Keras makes of one is `backend`'s."""

from pathlib import Path
from typing import Final

_DEVICES: Final = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Without one of these (NVIDIA, AMD, Windows' subsystem) asking Keras for a GPU is not worth loading it."""


def gpu_devices() -> tuple[str, ...]:
    """The system's doors to a GPU."""
    return tuple(device for device in _DEVICES if Path(device).exists())
