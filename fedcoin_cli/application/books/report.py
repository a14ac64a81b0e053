"""A task as people and programs read it: values in percentage points, coins, who won and how near everybody was.

Pure: chain values in, exact decimal texts out (no float on the way). Drawing tables is the command line's work.
"""

from dataclasses import dataclass
from decimal import Decimal
from math import isqrt
from typing import Any

from fedcoin_cli.application.books.spread import shares_an_error, value_variance
from fedcoin_cli.consensus.estimate import Agreement, Distance
from fedcoin_cli.contract.settlement import agreement_of
from ledger_store.amount import MICRO, format_micro
from ledger_store.genesis import Genesis
from ledger_store.state import SETTLED, UNFINISHED, TaskRecord
from ledger_store.transaction import Close, Outcome, Result, Task

PLACES = 6


@dataclass(frozen=True, slots=True)
class ClientLine:
    """One client: its value in percentage points (None: no value was agreed) and what it was paid in coins."""

    client: str
    shapley: str | None
    paid: str

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class MinerLine:
    """One miner's estimate: t, whether exact, its distance to the average in percentage points, its pay.

    `distance` is None for an estimate that did not count; `fraud` for one whose table held a wrong count.
    """

    miner: str
    rankings: int
    exact: bool
    distance: str | None
    paid: str
    fraud: bool

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class TaskReport:
    """A task and what came of it; `height` is the block that ended it, or the one that holds it so far.

    `total` is the sum of the values, in percentage points like them; `error` the standard error of each by the spread
    between the miners (see `spread`), None where nothing tells it. `error_shared`: more error, the same for all
    miners, is not in it.
    """

    task: str
    state: str
    height: int
    attempts: int
    price: str
    difficulty: str
    clients: tuple[ClientLine, ...]
    total: str | None
    error: str | None
    error_shared: bool
    server: str
    server_paid: str
    returned: str
    exact: bool
    winner: str | None
    distance: str | None
    miners: tuple[MinerLine, ...]
    rule: str

    @property
    def ended(self) -> bool:
        """Whether the price has left the escrow."""
        return self.state not in UNFINISHED

    @property
    def alike(self) -> int:
        """How many miners tie for the nearest and share the miners' part; 0 where one alone or another rule gets it."""
        paid = [one for one in self.miners if one.paid != "0.0"]
        return len(paid) if self.state == SETTLED and self.rule == "winner" and len(paid) > 1 else 0

    @property
    def in_vain(self) -> bool:
        """Whether the joint model is worth no more than the empty coalition: then the clients' part returned."""
        return self.state == SETTLED and self.total is not None and Decimal(self.total) <= 0

    def to_json(self) -> dict[str, Any]:
        """Clients stand in their order; decimals are texts, so that no reader rounds them."""
        return {
            "task": self.task,
            "state": self.state,
            "height": self.height,
            "attempts": self.attempts,
            "price": self.price,
            "clients": [line.to_json() for line in self.clients],
            "standard_error": self.error,
            "standard_error_shared": self.error_shared,
            "server": {"address": self.server, "paid": self.server_paid},
            "returned": self.returned,
            "exact": self.exact,
            "winner": self.winner,
            "distance": self.distance,
            "difficulty": self.difficulty,
            "rule": self.rule,
            "miners": [line.to_json() for line in self.miners],
        }


def report_of(record: TaskRecord, genesis: Genesis, end: Close | Result | None) -> TaskReport:
    """What is known of a task; `end` is the close or result in its last block, None while it is unfinished."""
    task, outcome = record.task, None if end is None else end.outcome
    agreement = agreement_of(record, genesis, end) if isinstance(end, Result) else None
    return TaskReport(
        task=task.id,
        state=record.state,
        height=record.end_height or record.height,
        attempts=record.attempt,
        price=format_micro(task.price_micro),
        difficulty=format_micro(task.difficulty_micro),
        clients=_clients(task, outcome),
        total=_total(outcome, task),
        error=_error(end, agreement, task) if isinstance(end, Result) and agreement else None,
        error_shared=isinstance(end, Result) and agreement is not None and shares_an_error(end, agreement),
        server=task.server,
        server_paid=format_micro(outcome.pay.server if outcome else 0),
        returned=format_micro(outcome.pay.requester if outcome else 0),
        exact=agreement is not None and agreement.exact,
        winner=outcome.winner if outcome else None,
        distance=_outcome_distance(outcome, task),
        miners=_miners(end, agreement, task) if isinstance(end, Result) and agreement else (),
        rule=task.sap_rule,
    )


def points(numerator: int, denominator: int, images: int) -> str:
    """`numerator / denominator` images of `images` in percentage points, rounded to six decimals."""
    scaled, whole = 100 * MICRO * numerator, denominator * images
    return _fixed((2 * scaled + whole) // (2 * whole))


def distance_points(numerator: int, denominator: int, images: int) -> str:
    """The root of `numerator / denominator` images² in percentage points, rounded to six decimals."""
    twice = isqrt(4 * (100 * MICRO) ** 2 * numerator // (denominator * images**2))
    return _fixed((twice + 1) // 2)


def _fixed(micro: int) -> str:
    whole, fraction = divmod(abs(micro), MICRO)
    return f"{'-' if micro < 0 else ''}{whole}.{fraction:0{PLACES}d}"


def _clients(task: Task, outcome: Outcome | None) -> tuple[ClientLine, ...]:
    paid = outcome.pay.clients if outcome else (0,) * task.clients
    values: tuple[str | None, ...] = (None,) * task.clients
    if outcome is not None and outcome.shapley is not None:
        values = tuple(points(value, outcome.denominator, task.images) for value in outcome.shapley)
    return tuple(
        ClientLine(update.client, value, format_micro(micro))
        for update, value, micro in zip(task.updates, values, paid, strict=True)
    )


def _total(outcome: Outcome | None, task: Task) -> str | None:
    if outcome is None or outcome.shapley is None:
        return None
    return points(sum(outcome.shapley), outcome.denominator, task.images)


def _error(result: Result, agreement: Agreement, task: Task) -> str | None:
    variance = value_variance(result, agreement) if agreement.counted else None
    if variance is None:
        return None
    return distance_points(variance.numerator, variance.denominator, task.images)


def _outcome_distance(outcome: Outcome | None, task: Task) -> str | None:
    if outcome is None or outcome.distance is None:
        return None
    return distance_points(*outcome.distance, task.images)


def _miners(result: Result, agreement: Agreement, task: Task) -> tuple[MinerLine, ...]:
    paid = dict(result.outcome.pay.miners)
    distances = {item.miner: item for item in agreement.distances}
    frauds = {fraud.miner for fraud in result.frauds}
    return tuple(
        MinerLine(
            miner=reveal.miner,
            rankings=reveal.rankings,
            exact=reveal.exact,
            distance=_distance(distances.get(reveal.miner), task),
            paid=format_micro(paid.get(reveal.miner, 0)),
            fraud=reveal.miner in frauds,
        )
        for reveal in result.reveals
    )


def _distance(distance: Distance | None, task: Task) -> str | None:
    return (
        None if distance is None else distance_points(distance.numerator, distance.denominator, task.images)
    )
