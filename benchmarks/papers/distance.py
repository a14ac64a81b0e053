"""Algorithm 1 of FedCoin: how far each miner's estimate lies from the average of all, and when one is within D.

The average S̄ = Σ t_m·S_m / Σ t_m weighs estimates by their rankings, so it is the mean of all rankings of all miners.
A miner's own ones are among them. Of independent rankings with covariance Σ therefore

    E‖S_m − S̄‖² = tr Σ · (1/t_m − 1/T),   T = Σ t_m,

which is tr Σ · (1 − 1/R)/t at equal pace, and falls to 0 as t nears a T that is given.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def distances(sums: Floats, rankings: npt.NDArray[np.integer]) -> Floats:
    """‖S_m − S̄‖, (R, …), from summed marginals (R, …, K) of so many rankings (R, …)."""
    own = sums / rankings[..., None]
    average = sums.sum(axis=0) / rankings.sum(axis=0)[..., None]
    found: Floats = np.linalg.norm(own - average, axis=-1)
    return found


def expected_square(trace: float, rankings: float, together: float) -> float:
    """E‖S_m − S̄‖² after so many of all rankings that make the average."""
    return trace * (1 / rankings - 1 / together)


def law(trace: float, miners: int, limit: float) -> float:
    """After how many rankings each of R miners at equal pace is within D, on average."""
    return (1 - 1 / miners) * trace / limit**2


def law_of_run(trace: float, run: float, limit: float) -> float:
    """The same to the estimate that a run of so many rankings, the miner's own among them, ends with."""
    return 1 / (limit**2 / trace + 1 / run)


def first_within(parts: Iterable[Floats], limits: Sequence[float]) -> list[int | None]:
    """By limit the first number of rankings after which any miner is within it.

    Args:
        parts: the marginals of R miners at equal pace, (R, some rankings, K) each.
        limits: D, the largest first.

    Returns:
        None for limits that are not reached.
    """
    found: list[int | None] = [None] * len(limits)
    carried: Floats = np.zeros(1)
    done = 0
    for part in parts:
        sums = carried + np.cumsum(part, axis=1)
        numbers = np.broadcast_to(done + 1 + np.arange(part.shape[1]), part.shape[:2])
        nearest = distances(sums, numbers).min(axis=0)
        for place, limit in enumerate(limits):
            if found[place] is None and (nearest <= limit).any():
                found[place] = done + 1 + int(np.argmax(nearest <= limit))
        carried, done = sums[:, -1:], done + part.shape[1]
        if None not in found:
            break
    return found


def first_within_own_end(marginals: Floats, limits: Sequence[float]) -> list[int]:
    """By limit when a miner's estimate, (rankings, K), is within it of what the same run ends with."""
    means = np.cumsum(marginals, axis=0) / np.arange(1, len(marginals) + 1)[:, None]
    away = np.linalg.norm(means - means[-1], axis=1)
    return [1 + int(np.argmax(away <= limit)) for limit in limits]


def fitted(points: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """The law of a run that fits points (−log₁₀ D, rankings) best: tr Σ, the run, and the largest ratio that is left.

    Least squares of logarithms over a grid of a percent.
    """
    digits, wanted = (np.array(column, np.float64) for column in zip(*points, strict=True))
    traces, runs = np.geomspace(0.05, 5, 463), wanted.max() * np.geomspace(1, 100, 463)
    squares = 10 ** (-2 * digits)
    logs = -np.log(squares / traces[:, None, None] + 1 / runs[None, :, None]) - np.log(wanted)
    row, column = np.unravel_index(np.argmin(np.square(logs).sum(axis=-1)), logs.shape[:2])
    return float(traces[row]), float(runs[column]), float(np.exp(np.abs(logs[row, column]).max()))
