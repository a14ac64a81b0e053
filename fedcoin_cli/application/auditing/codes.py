"""Every code that an audit may end with, in one table: for the manual page and for tests.

Each package describes its own codes beside its checks; here they are only listed together, with the level that looks.
"""

from dataclasses import dataclass

from fedcoin_cli.contract.outcome_check import CODES as SETTLEMENT
from fedcoin_cli.learning.recomputation import CODES as RECOMPUTATION
from ledger_store.audit.checks import CODES as LEDGER


@dataclass(frozen=True, slots=True)
class Code:
    """A stable code, the least audit level that finds it, and what it means."""

    code: str
    level: int
    meaning: str


def codes() -> list[Code]:
    """All of them, ascending."""
    found = [Code(code, min(int(code[1]) - 1, 2), meaning) for code, meaning in LEDGER.items()]
    found += [Code(code, 3, meaning) for code, meaning in SETTLEMENT.items()]
    return found + [Code(code, 4, meaning) for code, meaning in RECOMPUTATION.items()]
