"""FedCoin's Fig. 6: how many rankings until a miner is within D of the average, against −log₁₀ D.

By the paper's sampling and by ours, for several numbers of miners; with the law that independent rankings obey, and
with the one that the paper's own points obey. Miners of the paper's sampling draw rankings from those that were counted
once, with replacement.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.papers.chart import Axis, Figure, Panel, Series
from benchmarks.papers.distance import (
    Floats,
    first_within,
    first_within_own_end,
    fitted,
    law,
    law_of_run,
)
from benchmarks.papers.hundred import Hundred
from benchmarks.papers.reported import FEDCOIN_ITERATIONS

MINERS: Final = (1, 2, 4, 8, 16)
DIGITS: Final = tuple(1 + step / 4 for step in range(11))
"""−log₁₀ D, D in shares of accuracy."""
RUN: Final = 2_500
"""Where the paper's plateau lies."""
REPEATS: Final = 9
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is counted: independent rankings, at most how many drawn a miner, and balanced ones a miner."""

    counted: int
    drawn: int
    balanced: int


def rankings_figure(hundred: Hundred, effort: Effort) -> Figure:
    """The picture, and a row for each curve and D."""
    pool = hundred.independent(effort.counted).shares()
    trace = float(pool.var(axis=0, ddof=1).sum())
    paper_trace, paper_run, worst = fitted(FEDCOIN_ITERATIONS)
    rng = np.random.default_rng(hundred.seed)
    walks = np.array([hundred.balanced(miner, effort.balanced).shares() for miner in range(max(MINERS))])
    left: list[Series] = []
    right: list[Series] = []
    for colour, miners in enumerate(MINERS, 1):
        left.append(_series(f"R = {miners}", drawn(pool, miners, effort.drawn, rng), colour))
        right.append(_series(f"R = {miners}", in_blocks(walks[:miners]), colour))
    run = own_run(pool, rng)
    curves = [(x, law_of_run(paper_trace, paper_run, 10**-x)) for x in np.linspace(1, 3.5, 26).tolist()]
    limit = [(x, law(trace, 16, 10**-x)) for x in DIGITS]
    left += [
        Series("law, R = 16", limit, 0, "dashed"),
        Series(f"one run of {RUN:,}", run, 7),
        Series(f"law fitted to the paper, run of {paper_run:,.0f}", curves, 0, "dotted"),
        Series("paper", FEDCOIN_ITERATIONS, 0, None, marks=True),
    ]
    right.append(Series("paper", FEDCOIN_ITERATIONS, 0, None, marks=True))
    digits = Axis("−log₁₀ D", low=1.0, high=3.5)
    up = Axis("rankings, logarithmic", logarithmic=True, low=0.9, high=1e6)
    panels = (
        Panel("Fig. 6: until a miner is within D, the paper's sampling", digits, up, left),
        Panel("The same in blocks of 16 images (ours)", digits, up, right),
    )
    rows: list[tuple[Any, ...]] = [
        (sampling, one.name, x, y)
        for sampling, series in (("paper's", left), ("ours", right[:-1]))
        for one in series
        for x, y in one.points
    ]
    notes = (
        f"tr Σ is {trace:.4g} here, by {len(pool)} rankings",
        f"the paper's points fit tr Σ = {paper_trace:.3g} and a run of {paper_run:,.0f} within a factor of {worst:.3g}",
        f"at 2.5 the law for R = 16 asks for {law(trace, 16, 10**-2.5):,.0f} rankings here",
        f"at 2.5 the law for R = 16 asks for {law(paper_trace, 16, 10**-2.5):,.0f} rankings there",
    )
    text = "Rankings until a miner is within D of the average of all, for 1 to 16 miners, beside the paper's points"
    columns = ("sampling", "curve", "minus_log10_D", "rankings")
    return Figure("fig6-rankings", text, panels, columns, rows, 400, 380, notes)


def drawn(pool: Floats, miners: int, most: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Medians of the first rankings within each D of miners who draw from the pool; without what most miss."""

    def parts() -> Iterator[Floats]:
        for first in range(0, most, _AT_ONCE):
            yield pool[rng.integers(0, len(pool), (miners, min(_AT_ONCE, most - first)))]

    limits = [10**-x for x in DIGITS if law(1.0, max(miners, 2), 10**-x) * pool.var(axis=0).sum() < most]
    found = np.array(
        [[one or np.inf for one in first_within(parts(), limits)] for _ in range(REPEATS)], np.float64
    )
    return _known(np.median(found, axis=0))


def in_blocks(walks: Floats) -> list[tuple[float, float]]:
    """The first rankings within each D of these miners, (R, rankings, K); without what they do not reach."""
    found = first_within([walks], [10**-x for x in DIGITS])
    return _known(np.array([one or np.inf for one in found], np.float64))


def own_run(pool: Floats, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Medians of when a miner's estimate is within D of that with which its own run of `RUN` rankings ends."""
    limits = [10**-x for x in DIGITS]
    runs = [first_within_own_end(pool[rng.integers(0, len(pool), RUN)], limits) for _ in range(REPEATS)]
    return _known(np.median(np.array(runs, np.float64), axis=0))


def _known(rankings: Floats) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(DIGITS, rankings.tolist(), strict=False) if np.isfinite(y)]


def _series(name: str, points: list[tuple[float, float]], colour: int) -> Series:
    return Series(name, points, colour, marks=True)
