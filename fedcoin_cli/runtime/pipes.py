"""The pipes of a child that was started with them."""

from typing import IO


def opened(pipe: IO[bytes] | None) -> IO[bytes]:
    """A pipe that `Popen` was told to open: its type says that there may be none."""
    assert pipe is not None, "the child was started with this pipe"
    return pipe
