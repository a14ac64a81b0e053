"""Miners as processes of this machine: each a `fedcoin node` in a session of its own, so that Ctrl-C is not theirs.

A running miner names itself in a small file: its pid and what tells it from any other process that has, had or
will have this pid. That file is how a miner is found again by a program that did not start it. A kept miner has a
keeper (`keeper`) that starts it again when it falls, found in the same way: who ends the keeper ends both.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fedcoin_cli.runtime.base import MinerFiles
from fedcoin_cli.runtime.pipes import opened
from ledger_store.base.errors import Locked

# A keeper that says how its miner has ended adds the signal's number to this, as shells do.
_SIGNALLED = 128
_WORDS_BYTES_MOST = 2**20
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class ProcessRuntime:
    """The miners of one workspace; `arguments` are added to the command line of each that is started here.

    `secret` is what each is told on its standard input, a pipe that is closed behind it. `kept` ones are started
    again when they fall.
    """

    patience_s = 5.0

    def __init__(
        self,
        workspace: Path,
        posts: Iterable[MinerFiles],
        arguments: Sequence[str] = (),
        secret: bytes = b"",
        *,
        kept: bool = False,
    ) -> None:
        self._workspace = workspace
        self._posts = {post.number: post for post in posts}
        self._arguments = tuple(arguments)
        self._secret = secret
        self._kept = kept
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int) -> None:
        """Start it with what it prints appended to its words; see `Runtime`."""
        # -P: a random.py in the current folder is not the library's. -vv: tracebacks belong into a log.
        python, post = [sys.executable, "-P", "-m"], self._posts[number]
        program = [*python, "fedcoin_cli", "node", str(number), "-vv", "-C", str(self._workspace)]
        program += self._arguments
        if self._kept:
            program = [*python, "fedcoin_cli.runtime.keeper", str(post.process), str(post.log), *program]
        _make_room(post.words)
        with post.words.open("ab") as words:
            child = subprocess.Popen(
                program,
                cwd=self._workspace,
                stdin=subprocess.PIPE,
                stdout=words,
                stderr=words,
                start_new_session=True,
            )
        self._children[number] = child
        # It fits into the pipe: nothing here waits for the child. One that has ended already needs no secret.
        with contextlib.suppress(BrokenPipeError), opened(child.stdin) as pipe:
            pipe.write(self._secret)

    def retain(self, number: int) -> None:
        """See `Runtime`: its keeper does it from the start; what outlives the machine is `fedcoin service`'s."""

    def alive(self, number: int) -> bool:
        """Whether it runs, whoever started it."""
        return self.pid(number) is not None

    def pid(self, number: int) -> int | None:
        """Its process, or its keeper's between two lives of it; None when it does not run."""
        child, post = self._children.get(number), self._posts[number]
        if child is not None and child.poll() is None:
            return (named_process(post.process) if self._kept else None) or child.pid
        other = named_process(post.process) or named_process(keeper_of(post.process))
        if other is not None:
            self._children.pop(number, None)  # someone else has started it again
        return other

    def exit_code(self, number: int) -> int | None:
        """See `Runtime`."""
        child = self._children.get(number)
        code = None if child is None else child.poll()
        return _SIGNALLED - code if self._kept and code is not None and code > _SIGNALLED else code

    def last_words(self, number: int) -> str:
        """See `Runtime`."""
        return str(self._posts[number].words)

    def terminate(self, number: int) -> None:
        """See `Runtime`; raises `Locked` when the process belongs to another user."""
        self._signal(number, signal.SIGTERM)

    def kill(self, number: int) -> None:
        """See `Runtime`; raises `Locked` when the process belongs to another user."""
        self._signal(number, signal.SIGKILL)

    def _signal(self, number: int, what: signal.Signals) -> None:
        child = self._children.get(number)
        own = child.pid if child is not None and child.poll() is None else None
        pid = own or named_process(keeper_of(self._posts[number].process)) or self.pid(number)
        if pid is None:
            return
        try:
            os.kill(pid, what)
        except ProcessLookupError:
            pass  # it has just ended
        except PermissionError as error:
            hint = "stop it as the user who started it"
            raise Locked(f"miner {number} runs as another user", where=f"process {pid}", hint=hint) from error


@contextlib.contextmanager
def naming_itself(path: Path) -> Iterator[None]:
    """Name this process in the file `path` while the block runs."""
    pid = os.getpid()
    staged = path.with_name(f"{path.name}.{pid}")
    staged.write_text(f"{pid}\n{_identity(pid)}\n", "ascii")
    staged.replace(path)
    try:
        yield
    finally:
        if named_process(path) == pid:
            path.unlink()


def _make_room(words: Path) -> None:
    """What earlier lives printed is kept once more when it is much."""
    with contextlib.suppress(FileNotFoundError):
        if words.stat().st_size >= _WORDS_BYTES_MOST:
            words.replace(words.with_name(f"{words.name}.1"))


def keeper_of(process: Path) -> Path:
    """The file in which the keeper of the miner with this process file names itself."""
    return process.with_suffix(".keeper")


def named_process(path: Path) -> int | None:
    """The pid in the file `path`, if that very process still runs."""
    try:
        pid, identity = path.read_text("ascii").splitlines()
        return int(pid) if _identity(int(pid)) == identity else None
    except (FileNotFoundError, ValueError):
        return None


def _identity(pid: int) -> str | None:
    """The boot of this machine and the process's start within it; None when it has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name stands in parentheses and may hold anything; state is field 3, start time field 22.
    fields = text.rpartition(")")[2].split()
    ended = fields[0] in {"Z", "X"}
    return None if ended else f"{_BOOT_ID.read_text('ascii').strip()} {fields[19]}"
