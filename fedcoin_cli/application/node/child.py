"""The mining child as its node sees it: a process with a pipe in and a pipe out.

Orders are written by a thread of their own, so that a child that is busy computing never makes the node wait. The child
ends when its pipe closes.
"""

import os
import subprocess
import sys
import threading
from importlib.util import find_spec
from queue import SimpleQueue

from fedcoin_cli.learning.engines.compiled import library
from fedcoin_cli.replica.jobs import Answer, Configure, Order, from_line, to_line
from fedcoin_cli.runtime.pipes import opened
from ledger_store.base.errors import MissingPart

_READ_BYTES = 2**16
_NICENESS = 5


class Child:
    """A running worker process; `answers` never blocks, `alive` says whether it still runs."""

    def __init__(self, configure: Configure) -> None:
        if find_spec("keras") is None and library() is None:
            raise MissingPart(
                "there is neither a C compiler nor Keras",
                where="a miner counts with one of them; auditing and paying need neither",
                hint="apt-get install gcc, or pip install 'fedcoin[mine]'",
            )
        self._process = subprocess.Popen(
            # -P: a random.py in the folder where the miner was started is not the library's
            [sys.executable, "-P", "-m", "fedcoin_cli.learning.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,  # what it has to complain about goes where its node's complaints go
            env={**os.environ, **_thread_limits(configure.threads)},
            start_new_session=True,  # Ctrl-C belongs to the node, which closes the pipe
        )
        # Now, since threads inherit it: on a busy machine votes and timers go before mining.
        os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)
        self._in, self._out = opened(self._process.stdin), opened(self._process.stdout)
        os.set_blocking(self._out.fileno(), False)
        self._rest = b""
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="orders", daemon=True)
        self._writer.start()
        self.order(configure)

    def fileno(self) -> int:
        """Readable when there are answers, or when the child has ended."""
        return self._out.fileno()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def order(self, order: Order) -> None:
        """Queue an order."""
        self._orders.put(order)

    def answers(self) -> list[Answer]:
        """What has been answered since the last call."""
        try:
            while data := os.read(self._out.fileno(), _READ_BYTES):
                self._rest += data
        except BlockingIOError:
            pass
        *lines, self._rest = self._rest.split(b"\n")
        return [answer for line in lines if isinstance(answer := from_line(line), Answer)]

    def close(self, patience_s: float = 0.5) -> None:
        """Close the pipe and wait for the end; a child in the middle of a long computation is killed."""
        self._orders.put(None)
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._writer.join()
        self._out.close()

    def _write(self) -> None:
        try:
            while (order := self._orders.get()) is not None:
                self._in.write(to_line(order))
                self._in.flush()
            self._in.close()
        except (BrokenPipeError, ValueError):
            pass  # the child has died; its node sees that on the other pipe


def _thread_limits(threads: int) -> dict[str, str]:
    """NumPy's libraries read these when they load; without a limit, miners of one host fight for its cores."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {name: str(threads) for name in names} if threads else {}
