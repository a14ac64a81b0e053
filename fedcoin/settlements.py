"""What came of a task, as numbers."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import sqrt

from fedcoin_cli.application.books.task_report import TaskReport
from fedcoin_cli.application.workspace.address_names import Names
from ledger_store.base.amount import format_micro

__all__ = ["Settlement"]


@dataclass(frozen=True, slots=True)
class Settlement:
    """A task on the ledger and what came of it; numbers are exact, in the clients' order.

    Attributes:
        task: the task's id.
        state: SETTLED, REFUNDED or CANCELLED once it has ended; QUEUED, OPEN or CLOSED before.
        height: the block that ended it, or the one that holds it so far.
        clients: their names where the workspace knows any, else their addresses.
        values: Shapley values in percentage points, agreed on by the miners; empty while there are none.
        payments: what each client was paid, in coins.
        error: the standard error of a value by sampling, in percentage points: 0.0 where all miners' values are exact,
            None where the ledger does not tell.
        exact: whether the agreed values are exact.
        server: what the FL server was paid.
        miners: what each miner was paid, by name.
        winner: the miner that was nearest to the average; None without one, or where another rule pays.
        price: what the task was to cost.
        returned: what returned to who published it.
        attempts: how many attempts it took.
        metric: what the models were judged by.
        nobody: what the empty coalition is worth, in the metric's own unit, as "0.5000 AUROC".
        together: what the model of all clients is worth, in the same; None while there are no values.
    """

    task: str
    state: str
    height: int
    clients: tuple[str, ...]
    values: tuple[Fraction, ...]
    payments: tuple[Decimal, ...]
    error: float | None
    exact: bool
    server: Decimal
    miners: dict[str, Decimal]
    winner: str | None
    price: Decimal
    returned: Decimal
    attempts: int
    metric: str
    nobody: str
    together: str | None

    @property
    def settled(self) -> bool:
        """Whether values were agreed on and paid by."""
        return self.state == "SETTLED"

    def rows(self) -> list[dict[str, str | float]]:
        """One row a client with floats, as `pandas.DataFrame` takes them; empty while there are no values."""
        lines = zip(self.clients, self.values, self.payments, strict=True) if self.values else ()
        return [
            {"client": client, "value_pp": float(value), "paid": float(paid)} for client, value, paid in lines
        ]


def settlement_of(report: TaskReport, names: Names) -> Settlement:
    """What a report of the ledger's says, with the names that a workspace knows."""
    error = 0.0 if report.exact else None
    if report.variance is not None and not report.exact:
        error = sqrt(report.variance)
    return Settlement(
        task=report.task_id,
        state=report.state,
        height=report.height,
        clients=tuple(_name(names, line.client) for line in report.clients),
        values=tuple(line.value for line in report.clients if line.value is not None),
        payments=tuple(coins(line.paid_micro) for line in report.clients),
        error=error,
        exact=report.exact,
        server=coins(report.server_paid_micro),
        miners={_name(names, line.miner): coins(line.paid_micro) for line in report.miners},
        winner=None if report.winner is None else _name(names, report.winner),
        price=coins(report.price_micro),
        returned=coins(report.returned_micro),
        attempts=report.attempts,
        metric=report.metric,
        nobody=report.nobody_natural,
        together=report.together_natural,
    )


def coins(micro: int) -> Decimal:
    """An amount of the ledger's in coins, exactly."""
    return Decimal(format_micro(micro))


def _name(names: Names, address: str) -> str:
    return names.known(address) or address
