"""Checks of others' tables and of single entries on their way, in turns: none keeps the others waiting.

Tables are gone through as they came, each for the time that it was given. What then is still to be judged, and what
somebody is accused of, comes after all that have time left, whoever has taken least first: a table that is made to take
long is late itself, and makes no other late. (docs/adr/0041)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedcoin_cli.learning.pace import SLICE_S
from fedcoin_cli.learning.shapley.looking import Look
from fedcoin_cli.replica.jobs import Answer, VerifyEntry, VerifyTable
from ledger_store.base.names import TaskId

Order = VerifyTable | VerifyEntry


@dataclass(frozen=True, slots=True)
class _Check:
    """An order, the look that carries it out, and what is answered once that has ended."""

    order: Order
    look: Look[Any]
    answer: Callable[[Any], Answer]

    @property
    def rank(self) -> tuple[bool, float]:
        """Who goes first; equal ones as they came."""
        budget = self.look.budget
        return budget.over, budget.taken_s if budget.over else 0.0


class Verifications:
    """The checks that are not answered yet."""

    def __init__(self) -> None:
        # In the order in which they came.
        self._checks: list[_Check] = []

    def __bool__(self) -> bool:
        return bool(self._checks)

    def add(self, order: Order, look: Look[Any], answer: Callable[[Any], Answer]) -> None:
        """One more, unless the same is on its way; those of earlier attempts are wanted by nobody."""
        self.drop(order.task.id, before=order.attempt)
        if all(check.order != order for check in self._checks):
            self._checks.append(_Check(order, look, answer))

    # Rule [P-8.37].
    def advance(self, budget_s: float = SLICE_S) -> Answer | None:
        """Go on with the one whose turn it is for about so long; what is to be answered if it ended."""
        check = min(self._checks, key=lambda one: one.rank)
        until_s = check.look.budget.taken_s + budget_s
        while check.look.advance():
            if check.look.budget.taken_s >= until_s:
                return None
        self._checks.remove(check)
        return check.answer(check.look.found)

    def drop(self, task: TaskId, before: int | None = None) -> None:
        """Forget those of a task, all or those of attempts before one."""
        self._checks = [
            check
            for check in self._checks
            if check.order.task.id != task or (before is not None and check.order.attempt >= before)
        ]

    def clear(self) -> None:
        """Nobody waits any more."""
        self._checks.clear()
