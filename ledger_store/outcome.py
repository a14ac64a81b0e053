"""What follows from an attempt: the outcome, and where a task's price goes.

That an outcome follows from its reveals is `contract.settlement`'s business, that it pays out exactly the
escrow the fold's.
"""

from dataclasses import dataclass
from typing import Any

from ledger_store.base.amount import SUPPLY_MAX_MICRO
from ledger_store.base.errors import Malformed
from ledger_store.base.fields import Fields
from ledger_store.base.names import Address
from ledger_store.base.words import TaskState
from ledger_store.genesis import CLIENTS_MAX, ROSTER_MAX


@dataclass(frozen=True, slots=True)
class Pay:
    """Where a price goes, in micro-FedCoin: clients in order, FL server, miners by address, requester."""

    clients: tuple[int, ...]
    """Micro-FedCoin for each client, in the task's order."""
    server: int
    """Micro-FedCoin for the FL server."""
    miners: tuple[tuple[Address, int], ...]
    """Pairs of address and micro-FedCoin, in the roster's order."""
    requester: int
    """Micro-FedCoin that return to the requester."""

    @property
    def total(self) -> int:
        """The whole price when the task ended, 0 while it goes on."""
        return sum(self.clients) + self.server + sum(micro for _, micro in self.miners) + self.requester

    def to_json(self) -> dict[str, Any]:
        return {
            "clients": list(self.clients),
            "miners": [[miner, micro] for miner, micro in self.miners],
            "requester": self.requester,
            "server": self.server,
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows from an attempt; every voter recomputes it.

    `state` is OPEN (another attempt), SETTLED or REFUNDED. `distance` is the nearest estimate's squared
    distance in images² as (numerator, denominator); `shapley` holds S̄ in images as numerators over
    `denominator`.
    """

    state: TaskState
    """`OPEN` (another attempt follows), `SETTLED` or `REFUNDED`."""
    winner: Address | None
    """Address of the nearest estimate within D, of those that tie the one with the least hash; null unless settled."""
    distance: tuple[int, int] | None
    """The nearest estimate's squared distance to the average in images squared: numerator and denominator, or null."""
    shapley: tuple[int, ...] | None
    """The agreed values in images, as numerators over `denominator`, one a client; null where no estimate counts."""
    denominator: int
    """What the values are over: integers, for there is no float in a ledger."""
    pay: Pay
    """Where the price goes: `clients`, `server`, `miners` and `requester`; all 0 while the task goes on."""

    def to_json(self) -> dict[str, Any]:
        return {
            "denominator": str(self.denominator),
            "distance": None if self.distance is None else [str(part) for part in self.distance],
            "pay": self.pay.to_json(),
            "shapley": None if self.shapley is None else [str(value) for value in self.shapley],
            "state": self.state,
            "winner": self.winner,
        }


# Rule [P-1.10].
def _read_pay(value: Any) -> Pay:
    reader = Fields(value, ("clients", "miners", "requester", "server"), "pay")
    count = len(reader.array("clients", CLIENTS_MAX))
    return Pay(
        clients=reader.integers("clients", count, SUPPLY_MAX_MICRO),
        server=reader.integer("server", 0, SUPPLY_MAX_MICRO),
        miners=tuple(
            (pair.address("miner"), pair.integer("micro", 0, SUPPLY_MAX_MICRO))
            for pair in reader.pairs("miners", ("miner", "micro"), ROSTER_MAX)
        ),
        requester=reader.integer("requester", 0, SUPPLY_MAX_MICRO),
    )


def read_outcome(value: Any) -> Outcome:
    """Read an outcome; raises `Malformed` [P-9.14]."""
    reader = Fields(value, ("denominator", "distance", "pay", "shapley", "state", "winner"), "outcome")
    shapley = None
    if reader.raw("shapley") is not None:
        shapley = reader.bigs("shapley", len(reader.array("shapley", CLIENTS_MAX, 1)))
    pay = _read_pay(reader.raw("pay"))
    if shapley is not None and len(shapley) != len(pay.clients):
        raise Malformed("outcome: every client has a value and a payment")
    return Outcome(
        state=reader.choice("state", (TaskState.OPEN, TaskState.SETTLED, TaskState.REFUNDED)),
        winner=reader.optional_address("winner"),
        distance=None if reader.raw("distance") is None else reader.fraction("distance"),
        shapley=shapley,
        denominator=reader.denominator("denominator"),
        pay=pay,
    )
