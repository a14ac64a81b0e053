"""The one error tree and the exit codes.

Every error that a person may meet says what happened, where, and what to do about it. Our own faults and a
peer's faults are different classes: a `PeerFault` never stops a node, it only refuses what the peer sent.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What a command returns to the shell; man pages and README tables are generated from it."""

    OK = 0
    BUG = 1
    USAGE = 2
    SETTINGS = 3
    NO_WORKSPACE = 4
    LEDGER = 5
    CONSENSUS = 6
    NETWORK = 7
    MISSING = 8
    KEY = 9
    LOCKED = 10
    NOT_FOUND = 11
    STORAGE = 12
    ROUND_FILES = 13
    FUNDS = 14
    INTERRUPTED = 130
    TERMINATED = 143
    CLOSED_PIPE = 141

    @property
    def meaning(self) -> str:
        """One short phrase for tables."""
        return _MEANING[self]


_MEANING = {
    ExitCode.OK: "done",
    ExitCode.BUG: "a bug in fedcoin",
    ExitCode.USAGE: "the command line is wrong",
    ExitCode.SETTINGS: "a setting is unknown, out of range or inconsistent",
    ExitCode.NO_WORKSPACE: "no workspace here",
    ExitCode.LEDGER: "the ledger is invalid",
    ExitCode.CONSENSUS: "no consensus, or the task was refunded",
    ExitCode.NETWORK: "the network: a port in use, too few miners reachable",
    ExitCode.MISSING: "a part is not installed (TensorFlow, Docker)",
    ExitCode.KEY: "a key file is missing, unsafe or wrong",
    ExitCode.LOCKED: "another process is writing this ledger",
    ExitCode.NOT_FOUND: "no such task, block, account or file",
    ExitCode.STORAGE: "the disk refused: full, read-only or broken",
    ExitCode.ROUND_FILES: "the round's files are missing, damaged or inconsistent",
    ExitCode.FUNDS: "the balance does not cover it",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
    ExitCode.TERMINATED: "terminated",
    ExitCode.CLOSED_PIPE: "the reader of the output went away",
}


class FedCoinError(Exception):
    """What a person may meet: `message` (one line), `where` (one line) and `hint` (what to do)."""

    exit_code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        # What Python shows beside an error that nobody catches, as in a script or in another program's log.
        for note in (where, hint and f"hint: {hint}"):
            if note:
                self.add_note(note)


class SettingsError(FedCoinError):
    """A setting is unknown, out of range, or parts do not sum to one."""

    exit_code = ExitCode.SETTINGS


class NoWorkspace(FedCoinError):
    """The folder is not a FedCoin workspace."""

    exit_code = ExitCode.NO_WORKSPACE


class LedgerInvalid(FedCoinError):
    """A ledger that cannot be what its miners certified."""

    exit_code = ExitCode.LEDGER


class ConsensusFailure(FedCoinError):
    """No agreement was reached: a refunded task, or too few miners."""

    exit_code = ExitCode.CONSENSUS


class Unfinished(ConsensusFailure):
    """A task of the same account is in the way until it ends."""


class NetworkFailure(FedCoinError):
    """A port in use, or too few miners reachable."""

    exit_code = ExitCode.NETWORK


class MissingPart(FedCoinError):
    """TensorFlow or Docker is not installed; the hint names the install line."""

    exit_code = ExitCode.MISSING


class KeyFailure(FedCoinError):
    """A key file is missing, readable by others, or not a key."""

    exit_code = ExitCode.KEY


class Locked(FedCoinError):
    """A second writer on a ledger."""

    exit_code = ExitCode.LOCKED


class NotFound(FedCoinError):
    """No such task, block, account or file."""

    exit_code = ExitCode.NOT_FOUND


class StorageFailure(FedCoinError):
    """The disk refused a write or an fsync; the process must not go on writing."""

    exit_code = ExitCode.STORAGE


class RoundFilesInvalid(FedCoinError):
    """A round directory or one of its files is missing, damaged or inconsistent."""

    exit_code = ExitCode.ROUND_FILES


class InsufficientFunds(FedCoinError):
    """The balance does not cover the amount."""

    exit_code = ExitCode.FUNDS


class PeerFault(FedCoinError):
    """Bytes from elsewhere that are not what they must be; refused, never fatal to a node.

    `code` is that of the finding that an audit makes of it, "" where it makes none.
    """

    exit_code = ExitCode.LEDGER

    def __init__(self, message: str, *, where: str = "", hint: str = "", code: str = "") -> None:
        super().__init__(message, where=where, hint=hint)
        self.code = code


class Malformed(PeerFault):
    """Not canonical, a wrong type, or a value outside its bounds."""


class InvalidTransaction(PeerFault):
    """A transaction or block that the state does not admit."""


class BadSignature(PeerFault):
    """A signature or certificate that does not verify."""


@contextmanager
def found_as(code: str) -> Iterator[None]:
    """What the state does not admit in here is a finding of this code, unless it carries one of its own."""
    try:
        yield
    except InvalidTransaction as error:
        error.code = error.code or code
        raise


def refuse(condition: bool, reason: str) -> None:
    """Raise `InvalidTransaction` when `condition` holds."""
    if condition:
        raise InvalidTransaction(reason)
