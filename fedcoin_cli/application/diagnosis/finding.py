"""What a check finds: how it is, in words, and what to do about it."""

from dataclasses import dataclass

from ledger_store.base.errors import ExitCode

GOOD, NOTE, BAD = "ok", "note", "bad"
"""All is well; something lacks that not everybody needs; something will not work."""


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """One check's answer; `code` is what a bad one ends the command with."""

    name: str
    state: str
    said: str
    hint: str = ""
    code: ExitCode = ExitCode.OK
