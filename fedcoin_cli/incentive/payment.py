"""From a task's price and what the miners agreed to integer payments that sum to the price.

All amounts are micro-FedCoin. Fractions of a micro go by largest remainder, ties by index, so the order of
the miners matters: it is roster order. Who is nearest and what the clients' weights are comes from
`consensus.estimate`; which state a task is in, from `contract.settlement`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fedcoin_cli.consensus.estimate import Agreement
from ledger_store.base.amount import split
from ledger_store.base.names import Address
from ledger_store.transaction import Pay, Reveal


@dataclass(frozen=True, slots=True)
class Price:
    """The three parts of a task's price: TrainPrice, ComPrice and SapPrice, each ≥ 0."""

    train_micro: int
    """The clients' part in micro-FedCoin."""
    computation_micro: int
    """The server's part in micro-FedCoin."""
    shapley_micro: int
    """The miners' part in micro-FedCoin."""

    @property
    def total_micro(self) -> int:
        """The whole price, which is in escrow."""
        return self.train_micro + self.computation_micro + self.shapley_micro


Shares = Sequence[tuple[Address, int]]
"""(miner, weight) in roster order: SapPrice is split in proportion to the weights, all ≥ 1."""


def ranking_shares(estimates: Sequence[Reveal]) -> Shares:
    """By t, the rankings that each miner walked."""
    return tuple((estimate.miner, estimate.rankings) for estimate in estimates)


def shapley_shares(rule: str, agreement: Agreement, estimates: Sequence[Reveal]) -> Shares:
    """Who shares SapPrice of a settled task under its `sap-rule`; `agreement` was made from `estimates`.

    "winner": the nearest alone, or equal shares of all that tie. "shared": all that count, by t. [P-9.12]
    """
    if rule == "shared":
        return ranking_shares([estimate for estimate in estimates if estimate.miner in agreement.counted])
    if rule == "winner":
        return tuple((miner, 1) for miner in agreement.nearest)
    raise ValueError(f"no such sap-rule: {rule!r}")


def without_dust(train_micro: int, weights: Sequence[int], least_micro: int) -> tuple[int, ...]:
    """The clients' weights, but 0 for whoever would get less than `least_micro`: the heaviest share, as many as can.

    A payment makes an account: of less than the least transfer each, a task of 1,000 clients would make as many for
    nothing. Of equal weights the lower index comes first. (docs/adr/0047) [P-9.16]
    """
    order = sorted((-weight, index) for index, weight in enumerate(weights) if weight)
    paid, whole = set[int](), 0
    for negative, index in order:
        whole -= negative
        if train_micro * -negative < least_micro * whole:
            break
        paid.add(index)
    return tuple(weight if index in paid else 0 for index, weight in enumerate(weights))


def pay_settled(price: Price, weights: Sequence[int], shares: Shares) -> Pay:
    """Pay the clients by their weights, the FL server, and the miners by their shares.

    TrainPrice returns to the requester when no client has a weight: none is of value, or all together gained nothing.
    Raises ValueError without shares. [P-9.10] [P-9.11]
    """
    valued = any(weights)
    return _conserved(
        price,
        Pay(
            clients=split(price.train_micro, weights) if valued else (0,) * len(weights),
            server=price.computation_micro,
            miners=_pay_miners(price.shapley_micro, shares),
            requester=0 if valued else price.train_micro,
        ),
    )


def pay_refunded(price: Price, clients: int, shares: Shares) -> Pay:
    """Return TrainPrice and ComPrice of a failed task, and SapPrice too unless someone's work was verified.

    `shares` are the verified estimates, by t, of the last attempt that has any; empty when no attempt has. [P-9.13]
    """
    returned = price.train_micro + price.computation_micro + (0 if shares else price.shapley_micro)
    miners = _pay_miners(price.shapley_micro, shares) if shares else ()
    return _conserved(price, Pay(clients=(0,) * clients, server=0, miners=miners, requester=returned))


def _pay_miners(shapley_micro: int, shares: Shares) -> tuple[tuple[Address, int], ...]:
    parts = split(shapley_micro, [weight for _, weight in shares])
    return tuple((miner, part) for (miner, _), part in zip(shares, parts, strict=True))


def _conserved(price: Price, pay: Pay) -> Pay:
    """`pay`, after asserting that it is the price to the micro: not a coin is made or lost."""
    assert pay.total == price.total_micro, f"{pay.total} micro paid of a price of {price.total_micro}"
    return pay
