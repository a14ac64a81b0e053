"""The keeper of one miner: a small process that runs `fedcoin node` and starts it again when it falls.

A fall is an end by a signal that nobody meant as a request, or by a fault of the program, of a miner that was up. One
that refuses to start, or ends with an error that a person must mend, stays down. Who ends the keeper ends the miner.
(docs/adr/0032)
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from fedcoin_cli.runtime.falls import Falls, falls_file
from fedcoin_cli.runtime.pipes import opened
from fedcoin_cli.runtime.process import keeper_of, naming_itself
from ledger_store.base.errors import ExitCode
from ledger_store.identity.keyfile import keep_out_of_core_files

PAUSE_S, PAUSE_MOST_S = 1.0, 60.0
# Who lived so long may begin anew with short pauses; who lived so long was up, whatever its files say.
STEADY_S, UP_S = 60.0, 10.0
_REQUESTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.1


class Keeper:
    """Runs `program`, telling it `secret`; its words go to this process's own output, the miner's log."""

    def __init__(self, process: Path, log: Path, program: Sequence[str], secret: bytes) -> None:
        self._process, self._log, self._program, self._secret = process, log, program, secret
        self._stopping = False
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Until the miner has ended for good; its exit code, or 128 and the signal that ended it."""
        falls_file(self._process).unlink(missing_ok=True)
        restarts = in_a_row = 0
        while True:
            began_s = time.monotonic()
            pid, code = self._live()
            lived_s = time.monotonic() - began_s
            up = restarts > 0 or lived_s >= UP_S or self._named(pid, code)
            if self._stopping or not (up and _fell(code)):
                return 128 - code if code < 0 else code
            restarts, in_a_row = restarts + 1, 1 if lived_s >= STEADY_S else in_a_row + 1
            pause_s = min(PAUSE_MOST_S, PAUSE_S * 2 ** (in_a_row - 1))
            self._tell(Falls(restarts, round(time.time(), 3), _how(code)), pause_s)
            if not self._rest(pause_s):
                return 0

    def end(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Ask the miner to end, for good; safe in a signal handler."""
        self._stopping = True
        if self._child is not None and self._child.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._child.pid, signal.SIGTERM)

    def _live(self) -> tuple[int, int]:
        own = os.getpid()
        self._child = child = subprocess.Popen(
            self._program,
            stdin=subprocess.PIPE,
            preexec_fn=lambda: _end_with(own),  # noqa: PLW1509 - there are no threads here
        )
        if self._stopping:  # it was asked for before there was somebody to ask
            self.end()
        with suppress(BrokenPipeError), opened(child.stdin) as pipe:
            pipe.write(self._secret)
        return child.pid, child.wait()

    def _named(self, pid: int, code: int) -> bool:
        """Whether the miner that fell had named itself, which it does when it is up."""
        with suppress(OSError):
            return code < 0 and self._process.read_text("ascii").split()[:1] == [str(pid)]
        return False

    def _tell(self, falls: Falls, pause_s: float) -> None:
        staged = falls_file(self._process).with_suffix(".new")
        details = {"how": falls.how, "restarts": falls.restarts, "pause_s": pause_s}
        line = json.dumps({"time": falls.last_s, "event": "restarted", **details})
        with suppress(OSError):  # a full disk must not keep a miner down
            staged.write_text(json.dumps(asdict(falls)), "ascii")
            staged.replace(falls_file(self._process))
            with self._log.open("a", encoding="ascii") as log:
                log.write(line + "\n")

    def _rest(self, seconds: float) -> bool:
        """Wait; whether to go on."""
        until_s = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < until_s:
            time.sleep(_LOOK_S)
        return not self._stopping


def _fell(code: int) -> bool:
    return code == ExitCode.BUG or (code < 0 and -code not in _REQUESTS)


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _end_with(keeper: int) -> None:
    """In the new process: end when the keeper ends, by whatever means."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != keeper:
        os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """`python -m fedcoin_cli.runtime.keeper PROCESS-FILE LOG PROGRAM...`, the secret on standard input."""
    keep_out_of_core_files()
    process, log, *program = arguments
    keeper = Keeper(Path(process), Path(log), program, sys.stdin.buffer.read())
    for number in _REQUESTS:
        signal.signal(number, keeper.end)
    with naming_itself(keeper_of(Path(process))):
        return keeper.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
