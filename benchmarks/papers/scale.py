"""What numbers of miners and of clients do to error, time and pay: figures that no paper reports.

Every miner walks `RANKINGS` rankings of MNIST clients of ten types. Miners are independent and unbiased, so how far
sixteen of them lie apart tells the error of the average of any number. Where all coalitions can be counted, errors are
measured against the exact values beside that.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.games import SEED, Blocks, Case, true_values
from benchmarks.papers.chart import Axis, Figure, Panel, Series
from benchmarks.papers.distance import Floats, distances
from benchmarks.papers.hundred import Hundred
from fedcoin_cli.learning.coalitions.exact import MAX_EXACT_CLIENTS
from fedcoin_cli.learning.shapley.precision import payment_errors
from fedcoin_cli.learning.shapley.sampling import MiningPlan, MiningSession, Stakes

CLIENTS: Final = (5, 10, 20, 50, 100, 200, 500, 1_000)
MINERS: Final = (1, 2, 4, 8, 16)
RANKINGS: Final = 20
"""On the grid of numbers of rankings."""
INDEPENDENT: Final = 200
"""Rankings of the paper's kind, of which the variance is taken."""
PRICE, TRAIN_SHARE, MINING_SHARE = 1_000, 0.7, 0.2
_ENDLESS_S: Final = 1e9


@dataclass(frozen=True, slots=True)
class Measured:
    """Sixteen miners' values (16, K) in percentage points, seconds of one core a miner, the paper's variance, truth."""

    clients: int
    values: Floats
    seconds: float
    trace: float
    truth: Floats | None

    def error(self, miners: int) -> float:
        """The Euclidean error of the average of so many miners, in percentage points."""
        return float(np.sqrt(self.values.var(axis=0, ddof=1).sum() / miners))

    def papers_error(self, miners: int) -> float:
        """The same of as many independent rankings."""
        return float(np.sqrt(self.trace / (RANKINGS * miners)))

    def true_error(self, miners: int) -> float | None:
        """The same against exact values, a root mean square over the disjoint groups of so many miners."""
        if self.truth is None:
            return None
        groups = self.values.reshape(-1, miners, self.clients).mean(axis=1)
        return float(np.sqrt(np.square(groups - self.truth).sum(axis=1).mean()))

    def distance(self, miners: int) -> float:
        """How far a miner lies from the average of its group, which is what D bounds: a root mean square."""
        groups = self.values.reshape(-1, miners, self.clients)
        numbers = np.full((miners, len(groups)), RANKINGS)
        seen = distances(RANKINGS * groups.swapaxes(0, 1), numbers)
        return float(np.sqrt(np.square(seen).mean()))

    def pay_error(self, miners: int) -> float:
        """The mean standard error of the clients' payments, in shares of an equal share of TrainPrice."""
        covariance = np.atleast_2d(np.cov(self.values, rowvar=False)) / miners
        errors = payment_errors(self.values.mean(axis=0), covariance, 1)
        return float(errors.mean() * self.clients)


def measured(case: Case, seed: int) -> Measured:
    """Sixteen miners of one game."""
    hundred = Hundred.of(case, seed)
    walked = hundred.independent(INDEPENDENT).shares()
    mined = [_mined(hundred.blocks, seed, miner) for miner in range(max(MINERS))]
    scale = 100 / hundred.images
    return Measured(
        case.clients,
        np.array([values for values, _ in mined]) * scale,
        float(np.median([seconds for _, seconds in mined])),
        100**2 * float(walked.var(axis=0, ddof=1).sum()),
        true_values(case, 0).values * scale if case.clients <= MAX_EXACT_CLIENTS else None,
    )


def _mined(blocks: Blocks, seed: int, miner: int) -> tuple[Floats, float]:
    """A miner's values in images, and what they took."""
    key = (seed << 16 | miner).to_bytes(32, "big")
    plan = MiningPlan(SEED, key, RANKINGS, RANKINGS, _ENDLESS_S, "balanced", Stakes(1))
    started = time.process_time()
    session = MiningSession(blocks.walker, None, blocks.terms, plan)
    while not session.advance(_ENDLESS_S).finished:
        pass
    estimate = session.estimate()
    return np.array(estimate.sums) / estimate.rankings, time.process_time() - started


# Figures -------------------------------------------------------------------------------------------------------------


def clients_figure(found: Sequence[Measured]) -> Figure:
    """Error, time and pay by the number of clients."""

    def by(name: str, values: Sequence[float], colour: int, line: str = "") -> Series:
        points = [(one.clients, value) for one, value in zip(found, values, strict=True)]
        return Series(name, points, colour, line, marks=True)

    axis = Axis("clients K", logarithmic=True, low=4, high=1_200)
    panels = (
        Panel(
            f"error of all values, {RANKINGS} rankings a miner",
            axis,
            Axis("percentage points", logarithmic=True),
            (
                by("ours, R = 1", [one.error(1) for one in found], 1),
                by("ours, R = 16", [one.error(16) for one in found], 2),
                by("paper's, R = 1", [one.papers_error(1) for one in found], 3, "dashed"),
                by("paper's, R = 16", [one.papers_error(16) for one in found], 5, "dashed"),
            ),
        ),
        Panel(
            "time of a miner",
            axis,
            Axis("seconds of one core", logarithmic=True),
            (by("ours, R = 1", [one.seconds for one in found], 1),),
        ),
        Panel(
            "error of a payment",
            axis,
            Axis("percent of an equal share", logarithmic=True),
            (
                by("ours, R = 1", [100 * one.pay_error(1) for one in found], 1),
                by("ours, R = 16", [100 * one.pay_error(16) for one in found], 2),
            ),
        ),
    )
    text = "Error, time and error of payments by the number of clients, for one and sixteen miners"
    columns = (
        *("clients", "miners", "rankings", "error_pp", "error_against_exact_pp", "paper_error_pp"),
        *("distance_pp", "seconds_a_miner", "payment_error_share", "client_payment", "miner_payment"),
    )
    return Figure("scale-clients", text, panels, columns, _rows(found), 300, 280)


def miners_figure(found: Sequence[Measured]) -> Figure:
    """Error, distance and pay by the number of miners."""
    axis = Axis("miners R", logarithmic=True, low=0.9, high=20, label=_power_of_two)
    some = [one for one in found if one.clients in (5, 20, 100, 1_000)] or list(found)
    panels = (
        Panel(
            "error of the average of all miners",
            axis,
            Axis("percentage points", logarithmic=True),
            [
                Series(f"K = {one.clients:,}", [(r, one.error(r)) for r in MINERS], colour, marks=True)
                for colour, one in enumerate(some, 1)
            ],
        ),
        Panel(
            "distance of a miner from it, over that error",
            axis,
            Axis("ratio"),
            [
                Series(
                    f"K = {one.clients:,}",
                    [(r, one.distance(r) / one.error(r)) for r in MINERS],
                    colour,
                    marks=True,
                )
                for colour, one in enumerate(some, 1)
            ]
            + [Series("√(R − 1)", [(r, np.sqrt(r - 1)) for r in MINERS], 0, "dashed")],
        ),
        Panel(
            f"pay and work, price {PRICE:,}",
            axis,
            Axis("FedCoin; rankings", logarithmic=True),
            [
                Series("coins a miner", [(r, PRICE * MINING_SHARE / r) for r in MINERS], 6, marks=True),
                Series("rankings of all", [(r, RANKINGS * r) for r in MINERS], 7, marks=True),
            ],
        ),
    )
    text = "Error, distance from the average and pay by the number of miners"
    columns = ("clients", "miners", "error_pp", "distance_pp", "ratio", "miner_payment")
    rows = [
        (
            one.clients,
            r,
            one.error(r),
            one.distance(r),
            one.distance(r) / one.error(r),
            PRICE * MINING_SHARE / r,
        )
        for one in found
        for r in MINERS
    ]
    return Figure("scale-miners", text, panels, columns, rows, 300, 280)


def _rows(found: Sequence[Measured]) -> list[tuple[Any, ...]]:
    return [
        (
            *(one.clients, miners, RANKINGS, one.error(miners)),
            "" if (true := one.true_error(miners)) is None else true,
            *(one.papers_error(miners), one.distance(miners), one.seconds, one.pay_error(miners)),
            *(PRICE * TRAIN_SHARE / one.clients, PRICE * MINING_SHARE / miners),
        )
        for one in found
        for miners in MINERS
    ]


def _power_of_two(value: float) -> str:
    return f"{value:g}"
