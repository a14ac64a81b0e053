"""A bell that ends a poll: whoever waits for sockets in one thread is woken from another."""

import os
from contextlib import suppress


class Bell:
    """A pipe that makes a poll return: rung from one thread, heard in another."""

    def __init__(self) -> None:
        self._heard, self._rung = os.pipe()
        os.set_blocking(self._heard, False)
        os.set_blocking(self._rung, False)

    def fileno(self) -> int:
        """Readable once it has rung."""
        return self._heard

    def ring(self) -> None:
        """From any thread, or from a signal handler."""
        # A full pipe rings already.
        with suppress(BlockingIOError):
            os.write(self._rung, b"\0")

    def silence(self) -> None:
        """It has been heard."""
        with suppress(BlockingIOError):
            while os.read(self._heard, 4096):
                pass

    def close(self) -> None:
        """Both ends of the pipe."""
        os.close(self._heard)
        os.close(self._rung)
