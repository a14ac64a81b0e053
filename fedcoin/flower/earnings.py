"""What a paid run came to: its settlements, its values and payments summed, and what could not be paid."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from fedcoin.settlements import Settlement

__all__ = ["Earnings"]


@dataclass(frozen=True, slots=True)
class Earnings:
    """Who earned what in a run: one task for all of it, or one a round.

    Attributes:
        settlements: the tasks that were settled, in order.
        folders: rounds that were not paid, as folders of the workspace that can be published still.
        problems: why, a line each, and what to do.
        unpaid: nodes that trained and did not sign, with the reason of each.
    """

    settlements: tuple[Settlement, ...] = ()
    folders: tuple[Path, ...] = ()
    problems: tuple[str, ...] = ()
    unpaid: Mapping[str, str] = field(default_factory=dict)

    @property
    def task(self) -> str | None:
        """The last settled task's id."""
        return self.settlements[-1].task if self.settlements else None

    @property
    def values(self) -> dict[str, Fraction]:
        """Each client's Shapley values, summed over the tasks, in percentage points."""
        found: dict[str, Fraction] = {}
        for one in self.settlements:
            for client, value in zip(one.clients, one.values, strict=True):
                found[client] = found.get(client, Fraction()) + value
        return found

    @property
    def payments(self) -> dict[str, Decimal]:
        """What each client was paid in all, in coins."""
        found: dict[str, Decimal] = {}
        for one in self.settlements:
            for client, paid in zip(one.clients, one.payments, strict=True):
                found[client] = found.get(client, Decimal()) + paid
        return found

    def rows(self) -> list[dict[str, str | float]]:
        """One row a client with floats, as `pandas.DataFrame` takes them."""
        values, payments = self.values, self.payments
        return [
            {"client": one, "value_pp": float(values[one]), "paid": float(payments[one])} for one in values
        ]

    def __str__(self) -> str:
        """A table, then whatever was not paid."""
        payments = self.payments
        width = max((len(one) for one in payments), default=0)
        lines = [f"{'client':{width}}    SV (pp)      FedCoin"] if payments else []
        lines += [
            f"{client:{width}}  {float(value):9.4f}  {payments[client]:11.6f}"
            for client, value in self.values.items()
        ]
        lines += [f"task {one.task}" for one in self.settlements]
        lines += [f"not paid: node {node}: {reason}" for node, reason in self.unpaid.items()]
        return "\n".join([*lines, *self.problems])
