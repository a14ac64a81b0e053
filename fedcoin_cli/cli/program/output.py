"""Where words go: the answer to stdout, everything else to stderr; JSON and colour when they are wanted.

Errors become three lines and an exit code here. Progress bars live in `progress`.
"""

import errno
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from io import TextIOWrapper
from typing import Any, Protocol, TextIO

import typer

from ledger_store.base.errors import ExitCode, FedCoinError, StorageFailure

SCHEMA = 1

_DISK = frozenset(
    {
        errno.EBADF,
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
        errno.EACCES,
        errno.EPERM,
        errno.EFBIG,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
    }
)
# Control characters but the tab, what turns the direction of text, and halves of surrogate pairs.
_UNSEEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_NUMBER = re.compile(r'"\\u0000([-0-9.]+)"')


class Sender(Protocol):
    """Whoever sends transactions."""

    @property
    def on_its_way(self) -> str | None:
        """The id of one that was sent and is not known to be final."""
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """How one invocation speaks. `verbosity` is -1 for -q, 0, 1 for -v, 2 for -vv."""

    as_json: bool = False
    verbosity: int = 0
    color: bool = True

    @property
    def lively(self) -> bool:
        """Whether a person watches stderr, so that bars and redrawn lines make sense."""
        return self.verbosity >= 0 and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def answer(self, data: Mapping[str, object], lines: Iterable[str], done: str = "") -> None:
        """The command's one answer: `data` with --json, `lines` otherwise.

        `done`: what has happened by now, in words. An answer that nobody can read does not undo it, so the error says
        it, and nothing suggests to do it again. Raises `StorageFailure`, and `BrokenPipeError` for a reader that left.
        """
        text = [dumps({"schema": SCHEMA, **data})] if self.as_json else [*map(visible, lines)]
        try:
            _print(sys.stdout, *text)
        except BrokenPipeError:
            if done:
                _print(sys.stderr, visible(done))
            raise
        except OSError as error:
            abandon_stdout()
            reason = f"the answer could not be written: {error.strerror}"
            hint = "the command itself is done: run it again only where all that it does is to tell"
            if done:
                reason, hint = f"{done}; only {reason}", "do not run it again for that: fedcoin log tells it"
            raise StorageFailure(reason, where="stdout", hint=hint) from error

    @contextmanager
    def tells_what_is_on_its_way(self, sender: Sender) -> Iterator[None]:
        """Say after Ctrl-C that what was sent may still become final."""
        try:
            yield
        except KeyboardInterrupt:
            if (sent := sender.on_its_way) is not None:
                self.warn(f"{sent} was sent and may still become final: fedcoin show {sent[:16]}")
            raise

    def event(self, data: Mapping[str, object], line: str) -> None:
        """One of a stream of answers, written at once: a JSON object a line, or a plain line."""
        self.answer(data, [line])

    def note(self, text: str) -> None:
        """Something good to know, on stderr unless -q."""
        if self.verbosity >= 0:
            self._say("note", text, visible(text))

    def detail(self, text: str) -> None:
        """Something for those who asked with -v, on stderr."""
        if self.verbosity > 0:
            self._say("detail", text, visible(text))

    def warn(self, text: str) -> None:
        """Something that should not be overlooked, on stderr even with -q."""
        self._say("warning", text, f"{self.paint('warning:', sys.stderr, fg='yellow')} {visible(text)}")

    def failure(self, error: Exception) -> ExitCode:
        """Print what went wrong, where, and what to do; the exit code that belongs to it."""
        known = as_known(error)
        if self.verbosity > 1:
            told = "".join(traceback.format_exception(error)).rstrip()
            _print(sys.stderr, *map(visible, told.split("\n")))
        if known is None:
            hint = "this is a bug in fedcoin: run the command again with -vv and report what it prints"
            self.complain(ExitCode.BUG, f"{type(error).__name__}: {error}", hint=hint)
            return ExitCode.BUG
        self.complain(known.exit_code, known.message, known.where, known.hint)
        return known.exit_code

    def complain(self, code: ExitCode, message: str, where: str = "", hint: str = "") -> None:
        """An error as people read it: what, where, an empty line, what to do; with --json one object on stderr."""
        if self.as_json:
            told = {"error": message, "where": where, "hint": hint, "exit_code": int(code)}
            _print(sys.stderr, dumps({"schema": SCHEMA, **told}))
            return
        said = visible(" ".join(message.split()))
        _print(sys.stderr, f"{self.paint('error:', sys.stderr, fg='red')} {said}")
        if where:
            _print(sys.stderr, f"  {visible(where)}")
        if hint:
            _print(sys.stderr, "", f"{self.paint('hint:', sys.stderr, fg='cyan')} {visible(hint)}")

    def _say(self, kind: str, text: str, line: str) -> None:
        """A line on stderr; with --json an object, so that every line there is one but tracebacks."""
        _print(sys.stderr, dumps({"schema": SCHEMA, kind: text}) if self.as_json else line)

    def paint(self, text: str, stream: TextIO, **style: Any) -> str:
        """`text` in colour when the stream is a terminal and neither --no-color nor NO_COLOR is set."""
        wanted = self.color and not os.environ.get("NO_COLOR") and stream.isatty()
        return typer.style(text, bold=True, **style) if wanted else text


def as_known(error: Exception) -> FedCoinError | None:
    """The error as one that a person may meet: a refusing disk counts, a bug does not."""
    if isinstance(error, FedCoinError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK:
        hint = "check free space and permissions, then run the command again"
        where = str(error.filename) if error.filename else ""
        return StorageFailure(f"the disk refused: {error.strerror}", where=where, hint=hint)
    return None


def dumps(data: Mapping[str, object]) -> str:
    """One line of JSON; a Decimal becomes a number with exactly its digits."""
    text = json.dumps(data, default=_marked)
    return _NUMBER.sub(r"\1", text)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of aligned columns: numbers to the right, words to the left."""
    cells = [[str(cell) for cell in row] for row in rows]
    columns = list(zip(header, *cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    numeric = [bool(cells) and all(_is_number(cell) for cell in column[1:]) for column in columns]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in [list(header), *cells]
    ]


def counted(number: int, noun: str) -> str:
    """So many of something, with the noun's plural where there is not one: "1 block", "3 blocks"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"[-+±]?[\d,.]+( ?[%a-zA-Z]{1,3})?|-|", cell) is not None


def _marked(value: object) -> str:
    if isinstance(value, Decimal):
        return f"\0{value:f}"
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def visible(text: str) -> str:
    """One line as it may meet a terminal: a file's name or a peer's words must not move the cursor or forge a line."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def let_print(stream: TextIO) -> None:
    """Letters that the stream's encoding lacks are printed escaped from now on, whoever prints."""
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def open_missing_streams() -> None:
    """Put something in the place of standard streams that were closed before the program began.

    Else the next file that is opened would take their number, and whatever is printed would go into it. An answer is
    refused as by a disk (its place can only be read); what goes to stderr is dropped.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest number, which is this one
    # The interpreter knows a closed stream as None, whatever the stubs say.
    streams: dict[str, Any] = {"stdout": 1, "stderr": 2}
    for name, number in streams.items():
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def abandon_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own flush at exit cannot fail again."""
    _abandon(sys.stdout)


def _abandon(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _print(stream: TextIO, *lines: str) -> None:
    """What stderr does not take is dropped: the exit code must still say how the command itself ended."""
    try:
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()
    except OSError:
        if stream is not sys.stderr:
            raise
        _abandon(stream)
