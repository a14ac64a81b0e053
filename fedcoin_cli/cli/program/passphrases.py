"""Where a passphrase comes from: a file, a pipe or a prompt; never an argument, never the environment.

What it opens is `ledger_store.identity.keyfile`'s business.
"""

import getpass
import os
import stat
import sys
from pathlib import Path
from typing import Annotated

import typer

from ledger_store.base.errors import KeyFailure
from ledger_store.identity.passphrase import MOST_BYTES, Passphrase

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE|-",
        help="Where the passphrase of sealed keys is; -: standard input. Default: a prompt.",
    ),
]
"""The option of every command that uses a key."""

_PIPE = Path("-")


class Asker:
    """Gets the passphrase when a sealed key is to be used: once, from `file` or by asking whoever is there."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._answer: Passphrase | None = None

    def __call__(self) -> Passphrase:
        """The passphrase; raises `KeyFailure` where there is none to be had."""
        if self._answer is None:
            self._answer = _prompted("passphrase: ") if self._file is None else read_passphrase(self._file)
        return self._answer


def new_passphrase(file: Path | None) -> Passphrase:
    """A passphrase to seal keys with: from a file, else asked for twice; raises `KeyFailure`."""
    if file is not None:
        return read_passphrase(file)
    first = _prompted("new passphrase: ")
    if _prompted("the same again: ").words != first.words:
        raise KeyFailure("these were two different passphrases", hint="nothing was changed: try again")
    return first


def read_passphrase(file: Path) -> Passphrase:
    """The first line of a file that others cannot read, of a pipe, or of standard input (`-`)."""
    if file == _PIPE:
        return Passphrase.of(sys.stdin.buffer.readline(MOST_BYTES + 2), "standard input")
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o077:
                raise KeyFailure(
                    "other users can read this passphrase", where=str(file), hint=f"chmod 600 {file}"
                )
            return Passphrase.of(stream.readline(MOST_BYTES + 2), str(file))
    except OSError as error:
        hint = "--passphrase-file names a file whose first line is the passphrase"
        message = f"cannot read the passphrase: {error.strerror}"
        raise KeyFailure(message, where=str(file), hint=hint) from error


def _prompted(text: str) -> Passphrase:
    if not sys.stdin.isatty():
        hint = "--passphrase-file FILE, or - to pipe it in; at a terminal fedcoin asks for it"
        raise KeyFailure("a passphrase is needed, and nobody is here to ask", hint=hint)
    try:
        return Passphrase.of(os.fsencode(getpass.getpass(text)), "the prompt")
    except EOFError as error:
        raise KeyFailure("no passphrase was given", hint="try again") from error
