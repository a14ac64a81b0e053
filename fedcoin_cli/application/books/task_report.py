"""A task as people and programs read it: values in percentage points, coins, who won and how near everybody was.

Pure: chain values in, exact numbers out: integers and fractions. Each has its text beside it, a property that rounds to
six decimals and is there for printing; nobody computes with it. Drawing tables is the command line's work.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Any

from fedcoin_cli.application.books.spread import value_variance
from fedcoin_cli.consensus.estimate import Agreement, Distance
from fedcoin_cli.contract.metric import natural
from fedcoin_cli.contract.settlement import agreement_of
from ledger_store.base.amount import MICRO, format_micro
from ledger_store.base.names import Address, TaskId
from ledger_store.base.words import TaskState
from ledger_store.genesis import Genesis
from ledger_store.state import UNFINISHED, TaskRecord
from ledger_store.transaction import Close, Outcome, Result, Task

PLACES = 6


@dataclass(frozen=True, slots=True)
class ClientLine:
    """One client: its value in percentage points (None: no value was agreed) and what it was paid.

    An owner of several is one: `client` is who is paid for the updates of all its `addresses`.
    """

    client: Address
    value: Fraction | None
    paid_micro: int
    addresses: tuple[Address, ...]

    @property
    def others(self) -> str:
        """How many addresses there are beside the one that is paid, for people."""
        more = len({*self.addresses, self.client}) - 1
        return f" and {more} more of its owner" if more else ""

    @property
    def shapley(self) -> str | None:
        """The value's text."""
        return None if self.value is None else as_points(self.value)

    @property
    def paid(self) -> str:
        """The payment's text, in coins."""
        return format_micro(self.paid_micro)

    def to_json(self) -> dict[str, Any]:
        told = {name: getattr(self, name) for name in ("client", "shapley", "paid")}
        return told | ({"addresses": list(self.addresses)} if self.others else {})


@dataclass(frozen=True, slots=True)
class MinerLine:
    """One miner's estimate: t, whether exact, its squared distance to the average in percentage points², its pay.

    The distance is None for an estimate that did not count; `fraud` for one whose table held a wrong count.
    """

    miner: Address
    rankings: int
    exact: bool
    distance_squared: Fraction | None
    paid_micro: int
    fraud: bool

    @property
    def distance(self) -> str | None:
        """The distance's text."""
        return None if self.distance_squared is None else root_as_points(self.distance_squared)

    @property
    def paid(self) -> str:
        """The payment's text, in coins."""
        return format_micro(self.paid_micro)

    def to_json(self) -> dict[str, Any]:
        names = ("miner", "rankings", "exact", "distance", "paid", "fraud")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class TaskReport:
    """A task and what came of it; `height` is the block that ended it, or the one that holds it so far.

    `sum` is that of the values, in percentage points like them; `variance` mining's squared standard error in each, by
    the spread between the miners (see `spread`), None where nothing tells it. The test set's error is not in it.
    `nobody` is the part of a perfect model's worth that the empty coalition has.
    """

    task_id: TaskId
    state: TaskState
    height: int
    attempts: int
    price_micro: int
    difficulty_micro: int
    clients: tuple[ClientLine, ...]
    sum: Fraction | None
    variance: Fraction | None
    server: Address
    server_paid_micro: int
    returned_micro: int
    exact: bool
    winner: Address | None
    distance_squared: Fraction | None
    miners: tuple[MinerLine, ...]
    rule: str
    metric: str
    baseline: str
    nobody: Fraction

    @property
    def price(self) -> str:
        """The price's text, in coins."""
        return format_micro(self.price_micro)

    @property
    def difficulty(self) -> str:
        """D's text, in percentage points."""
        return format_micro(self.difficulty_micro)

    @property
    def total(self) -> str | None:
        """The text of the values' sum."""
        return None if self.sum is None else as_points(self.sum)

    @property
    def error(self) -> str | None:
        """The standard error's text, in percentage points."""
        return None if self.variance is None else root_as_points(self.variance)

    @property
    def server_paid(self) -> str:
        """The text of the server's payment, in coins."""
        return format_micro(self.server_paid_micro)

    @property
    def returned(self) -> str:
        """The text of what returned to the requester, in coins."""
        return format_micro(self.returned_micro)

    @property
    def distance(self) -> str | None:
        """The text of the winner's distance, in percentage points."""
        return None if self.distance_squared is None else root_as_points(self.distance_squared)

    @property
    def ended(self) -> bool:
        """Whether the price has left the escrow."""
        return self.state not in UNFINISHED

    @property
    def alike(self) -> int:
        """How many miners tie for the nearest and share the miners' part; 0 where one alone or another rule gets it."""
        paid = [one for one in self.miners if one.paid != "0.0"]
        return len(paid) if self.state == TaskState.SETTLED and self.rule == "winner" and len(paid) > 1 else 0

    @property
    def in_vain(self) -> bool:
        """Whether the joint model is worth no more than the empty coalition: then the clients' part returned."""
        return self.state == TaskState.SETTLED and self.sum is not None and self.sum <= 0

    @property
    def nobody_natural(self) -> str:
        """What nobody is worth, in the metric's own unit."""
        return natural(self.metric, self.nobody)

    @property
    def together_natural(self) -> str | None:
        """What the model of all clients is worth, in the metric's own unit; None without values."""
        return None if self.sum is None else natural(self.metric, self.nobody + self.sum / 100)

    @property
    def loose(self) -> bool:
        """Whether even an estimate that gives everybody nothing lies within D, so that D proves nothing."""
        values = [line.value for line in self.clients]
        squared = sum((value**2 for value in values if value is not None), Fraction(0))
        return None not in values and squared <= Fraction(self.difficulty_micro, MICRO) ** 2

    def to_json(self) -> dict[str, Any]:
        """Clients stand in their order; decimals are texts, so that no reader rounds them."""
        return {
            "task": self.task_id,
            "state": self.state,
            "metric": self.metric,
            "baseline": self.baseline,
            "nobody": self.nobody_natural,
            "together": self.together_natural,
            "height": self.height,
            "attempts": self.attempts,
            "price": self.price,
            "clients": [line.to_json() for line in self.clients],
            "standard_error": self.error,
            "server": {"address": self.server, "paid": self.server_paid},
            "returned": self.returned,
            "exact": self.exact,
            "winner": self.winner,
            "distance": self.distance,
            "difficulty": self.difficulty,
            "difficulty_proves": None if self.sum is None else not self.loose,
            "rule": self.rule,
            "miners": [line.to_json() for line in self.miners],
        }


def report_of(record: TaskRecord, genesis: Genesis, end: Close | Result | None) -> TaskReport:
    """What is known of a task; `end` is the close or result in its last block, None while it is unfinished."""
    task, outcome = record.task, None if end is None else end.outcome
    agreement = agreement_of(record, genesis, end) if isinstance(end, Result) else None
    return TaskReport(
        task_id=task.id,
        state=record.state,
        height=record.end_height or record.height,
        attempts=record.attempt,
        price_micro=task.price_micro,
        difficulty_micro=task.difficulty_micro,
        clients=_clients(task, outcome),
        sum=_sum(outcome, task),
        variance=_variance(end, agreement, task) if isinstance(end, Result) and agreement else None,
        server=task.server,
        server_paid_micro=outcome.pay.server if outcome else 0,
        returned_micro=outcome.pay.requester if outcome else 0,
        exact=agreement is not None and agreement.exact,
        winner=outcome.winner if outcome else None,
        distance_squared=_outcome_distance(outcome, task),
        miners=_miners(end, agreement, task) if isinstance(end, Result) and agreement else (),
        rule=task.sap_rule,
        metric=task.metric,
        baseline=task.baseline,
        nobody=Fraction(task.empty, task.whole),
    )


def points(numerator: int, denominator: int, whole: int) -> str:
    """`numerator / denominator` of a `whole` in percentage points, rounded to six decimals."""
    return as_points(Fraction(100 * numerator, denominator * whole))


def as_points(value: Fraction) -> str:
    """Percentage points, rounded to six decimals."""
    return _fixed((2 * MICRO * value.numerator + value.denominator) // (2 * value.denominator))


def root_as_points(squared: Fraction) -> str:
    """The root of percentage points², rounded to six decimals."""
    twice = isqrt(4 * MICRO**2 * squared.numerator // squared.denominator)
    return _fixed((twice + 1) // 2)


def _squared_points(squared: Fraction, task: Task) -> Fraction:
    return squared * Fraction(100, task.whole) ** 2


def _fixed(micro: int) -> str:
    whole, fraction = divmod(abs(micro), MICRO)
    return f"{'-' if micro < 0 else ''}{whole}.{fraction:0{PLACES}d}"


def _clients(task: Task, outcome: Outcome | None) -> tuple[ClientLine, ...]:
    paid = outcome.pay.clients if outcome else (0,) * task.clients
    values: tuple[Fraction | None, ...] = (None,) * task.clients
    if outcome is not None and outcome.shapley is not None:
        whole = outcome.denominator * task.whole
        values = tuple(Fraction(100 * value, whole) for value in outcome.shapley)
    return tuple(
        ClientLine(owner, value, micro, tuple(task.updates[number].client for number in numbers))
        for (owner, numbers), value, micro in zip(task.members.items(), values, paid, strict=True)
    )


def _sum(outcome: Outcome | None, task: Task) -> Fraction | None:
    if outcome is None or outcome.shapley is None:
        return None
    return Fraction(100 * sum(outcome.shapley), outcome.denominator * task.whole)


def _variance(result: Result, agreement: Agreement, task: Task) -> Fraction | None:
    variance = value_variance(result, agreement) if agreement.counted else None
    return None if variance is None else _squared_points(variance, task)


def _outcome_distance(outcome: Outcome | None, task: Task) -> Fraction | None:
    if outcome is None or outcome.distance is None:
        return None
    return _squared_points(Fraction(*outcome.distance), task)


def _miners(result: Result, agreement: Agreement, task: Task) -> tuple[MinerLine, ...]:
    paid = dict(result.outcome.pay.miners)
    distances = {item.miner: item for item in agreement.distances}
    frauds = {fraud.miner for fraud in result.frauds}
    return tuple(
        MinerLine(
            miner=reveal.miner,
            rankings=reveal.rankings,
            exact=reveal.exact,
            distance_squared=_distance(distances.get(reveal.miner), task),
            paid_micro=paid.get(reveal.miner, 0),
            fraud=reveal.miner in frauds,
        )
        for reveal in result.reveals
    )


def _distance(distance: Distance | None, task: Task) -> Fraction | None:
    if distance is None:
        return None
    return _squared_points(Fraction(distance.numerator, distance.denominator), task)
