"""From what was seen of a round's updates to what is conspicuous: robust statistics, and one rule a sign.

Nothing here proves anything. A client is compared with the others, by medians, so that half of them may be anything;
limits are such that honest clients of very unlike data seldom pass them (docs/inspection.md has what was measured).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isinf
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.scrutiny.sketch import HUGE, Floats, Profiles

LEAST_COMPARED: Final = 5
"""With fewer clients no majority says what is usual: only copies and what an update is by itself are told."""


class Kind(StrEnum):
    """What an update looks like."""

    not_finite = "not finite"
    huge = "huge weights"
    copy = "copy"
    scaled = "scaled copy"
    mirrored = "mirrored copy"
    near = "near copy"
    untouched = "untouched"
    echo = "mean echo"
    against = "against the others"
    adrift = "unlike the others"
    long = "long step"
    short = "short step"
    layer = "long step in a tensor"
    still = "tensor untouched"
    claim = "claimed examples"
    misfit = "examples do not fit"
    harmful = "worth less than nothing"


@dataclass(frozen=True, slots=True)
class Sign:
    """One conspicuous thing about a client (from 0): what was measured, and the limit that it has passed.

    Attributes:
        client: whose update.
        kind: what it looks like.
        measure: in the kind's own measure: a cosine, a ratio to the median, percentage points.
        limit: beyond which that is told.
        other: of whom it may be a copy; None for other kinds.
        tensor: where, for signs of one tensor.
    """

    client: int
    kind: Kind
    measure: float
    limit: float
    other: int | None = None
    tensor: str | None = None


# Two steps as alike as this are told whatever the other clients' are: noise of a seventh of a step leaves 0.99.
NEAR: Final = 0.99
SCALED: Final = 0.9999
MIRRORED: Final = -0.9
# Less alike ones only where nobody else has so near a neighbour.
_NEAR_AMONG_UNLIKE: Final = 0.7
_ROUNDING: Final = 1e-6
# A thousandth of the usual step is rounding, or noise to hide that there was none.
_UNTOUCHED: Final = 1e-3
# Part of the usual distance from the others' mean; honest clients with the most data came to 0.67.
ECHO: Final = 0.3
# Cosines with the others' mean: what noise has, three standard errors of a sketch.
ADRIFT: Final = 0.066
_ADRIFT_PART: Final = 0.25
# Ratios to the median, and robust standard deviations of their logarithms; both must be passed.
LENGTH: Final = 3.0
TENSOR: Final = 4.0
COUNT: Final = 5.0
_DEVIATIONS: Final = 5.0
# A tensor that moves little of the whole step is let be: few biases lie apart by chance.
_TENSOR_SHARE: Final = 0.05
# An example count is foretold from the step's length only where the two go together this well.
_FITTING: Final = 0.8
_MISFIT: Final = 4.0
# Pairs through which a slope is taken at most: a thousand clients have half a million.
_MOST_SLOPES: Final = 20_000
# A value is below zero when two standard errors do not reach it.
_ERRORS: Final = 2.0
# Logarithms or inverse hyperbolic tangents that lie nearer than this are alike, whatever the spread.
_LEAST_SPREAD: Final = 0.05
# One step is not averaged as longer than so many usual ones.
_CLIPPED: Final = 3.0


@dataclass(frozen=True, slots=True)
class Measures:
    """What the signs rest on, a number a client, NaN where an update is no set of sensible numbers.

    Attributes:
        length: the step's length over the median.
        alignment: the cosine of the step with the mean of the others'.
        distance: from the mean of the others, over the median.
        tensors: each tensor's step over the median, (K, T).
        cosine: of the step with the most alike or most opposite other one's.
        nearest: whose that is, (K,); −1 with nobody to compare.
    """

    length: Floats
    alignment: Floats
    distance: Floats
    tensors: Floats
    cosine: Floats
    nearest: npt.NDArray[np.int64]


class Comparison:
    """Updates beside each other; `known` says whether steps are from the weights that all began with."""

    def __init__(self, profiles: Profiles, *, known: bool) -> None:
        self.profiles, self.known = profiles, known
        self.sound = np.flatnonzero(profiles.sound)
        sketches = profiles.sketches[self.sound]
        norms = profiles.norms[self.sound]
        if not known and len(sketches):
            sketches = sketches - np.median(sketches, axis=0)
            norms = np.sqrt(np.add.reduceat(sketches**2, profiles.starts[:-1], axis=1))
        self._norms = norms
        self._lengths = np.sqrt((sketches**2).sum(axis=1))
        # The usual length; no median where half the steps are none.
        self._usual = _usual(self._lengths)
        clipped = (
            sketches * np.minimum(1, _CLIPPED * self._usual / np.maximum(self._lengths, 1e-300))[:, None]
        )
        count = max(1, len(sketches) - 1)
        self._others = (clipped.sum(axis=0) - clipped) / count
        self._sketches = sketches
        self.raw = _cosines(sketches)
        self.rest = _cosines(sketches - clipped.mean(axis=0)) if len(sketches) else self.raw

    def measures(self) -> Measures:
        """A number a client and measure."""
        clients, sound = len(self.profiles.extremes), self.sound

        def spread(found: Floats) -> Floats:
            whole = np.full((clients, *found.shape[1:]), np.nan)
            whole[sound] = found
            return whole

        cosine, nearest = np.full(clients, np.nan), np.full(clients, -1)
        if len(sound) > 1:
            apart = self.raw.copy()
            np.fill_diagonal(apart, 0)
            best = np.abs(apart).argmax(axis=1)
            cosine[sound], nearest[sound] = apart[np.arange(len(sound)), best], sound[best]
        distance = np.linalg.norm(self._sketches - self._others, axis=1)
        # Where most are equal, what is between them is rounding.
        usual_distance = float(np.median(distance)) if len(distance) else 0.0
        usual_distance *= usual_distance > _ROUNDING * self._usual
        usual = np.array([_usual(column) for column in self._norms.T])
        return Measures(
            length=spread(self._lengths / self._usual),
            alignment=spread(self._alignment),
            distance=spread(distance / usual_distance if usual_distance > 0 else np.ones_like(distance)),
            tensors=spread(self._norms / usual),
            cosine=cosine,
            nearest=nearest,
        )

    @property
    def shares(self) -> Floats:
        """Which part of a sound update's squared length each tensor has, (sound, T)."""
        squares = self._norms**2
        return np.asarray(squares / np.maximum(squares.sum(axis=1, keepdims=True), 1e-300))

    @property
    def _alignment(self) -> Floats:
        with_mean = (self._sketches * self._others).sum(axis=1)
        sizes = self._lengths * np.linalg.norm(self._others, axis=1)
        return np.asarray(with_mean / np.maximum(sizes, 1e-300))

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """Who may be a copy of whom, the earlier client second, with the cosine: each client's most alike one."""
        limit = self._near_limit()
        for place in range(1, len(self.sound)):
            before = self.raw[place, :place].copy()
            likely = (before >= NEAR) | (self.rest[place, :place] >= limit)
            if self.known:  # about a mean, the two of a pair are opposite by themselves
                likely |= before <= MIRRORED
            if likely.any():
                before[~likely] = 0
                size = np.abs(before)
                other = int(np.flatnonzero(size >= size.max() - 1e-9)[0])
                yield int(self.sound[place]), int(self.sound[other]), float(before[other])

    def _near_limit(self) -> float:
        """From which cosine of what sets them apart on a pair is nearer than others' nearest neighbours are."""
        if len(self.sound) < LEAST_COMPARED:
            return 2.0
        nearest = np.arctanh(np.clip(self.rest - 2 * np.eye(len(self.rest)), 1e-9 - 1, 1 - 1e-9).max(axis=1))
        middle, deviation = robust(nearest)
        return max(
            _NEAR_AMONG_UNLIKE, float(np.tanh(middle + _DEVIATIONS * max(deviation, 2 * _LEAST_SPREAD)))
        )


def signs_of(compared: Comparison, found: Measures, examples: Sequence[int] | None) -> Iterator[Sign]:
    """Every sign but copies and values, client by client in the order of kinds."""
    for client, extreme in enumerate(compared.profiles.extremes.tolist()):
        if isinf(extreme):
            yield Sign(client, Kind.not_finite, extreme, HUGE)
        elif extreme > HUGE:
            yield Sign(client, Kind.huge, extreme, HUGE)
    lengths = found.length
    if compared.known:
        for client in np.flatnonzero(lengths <= _UNTOUCHED).tolist():
            yield Sign(client, Kind.untouched, float(lengths[client]), _UNTOUCHED)
    if len(compared.sound) < LEAST_COMPARED:
        return
    moved = lengths > (_UNTOUCHED if compared.known else 0)
    yield from _directions(compared, found, moved)
    yield from _sizes(compared, found, moved)
    if examples is not None:
        yield from _counts(np.array(examples, np.float64), lengths, moved)


def _directions(compared: Comparison, found: Measures, moved: Any) -> Iterator[Sign]:
    for client in np.flatnonzero(moved & (found.distance < ECHO)).tolist():
        yield Sign(client, Kind.echo, float(found.distance[client]), ECHO)
    if not compared.known:
        return
    usual = float(np.nanmedian(found.alignment))
    limit = min(ADRIFT, _ADRIFT_PART * usual)
    for client in np.flatnonzero(moved & (found.alignment < limit)).tolist():
        cosine = float(found.alignment[client])
        yield Sign(client, Kind.against if cosine < -ADRIFT else Kind.adrift, cosine, limit)


def _sizes(compared: Comparison, found: Measures, moved: Any) -> Iterator[Sign]:
    lengths = found.length
    for client in np.flatnonzero(moved & _outlying(lengths, LENGTH)).tolist():
        kind = Kind.long if lengths[client] > 1 else Kind.short
        yield Sign(client, kind, float(lengths[client]), LENGTH if kind is Kind.long else 1 / LENGTH)
    sound = compared.sound
    shares = np.zeros_like(found.tensors)
    shares[sound] = compared.shares
    for number, tensor in enumerate(compared.profiles.tensors):
        column = found.tensors[:, number]
        apart = _outlying(column, TENSOR) & (column > 1) & (shares[:, number] > _TENSOR_SHARE)
        for client in np.flatnonzero(moved & apart & ~_outlying(lengths, LENGTH)).tolist():
            yield Sign(client, Kind.layer, float(column[client]), TENSOR, tensor=tensor)
        if compared.known:
            for client in np.flatnonzero(moved & (column == 0) & (np.nanmedian(column) > 0)).tolist():
                yield Sign(client, Kind.still, 0.0, 0.0, tensor=tensor)


def _counts(examples: Floats, lengths: Floats, moved: Any) -> Iterator[Sign]:
    """Claims far above the others', and above what a step's length speaks for where the two go together.

    Whoever claims too few examples harms nobody else.
    """
    ratios = examples / np.median(examples)
    for client in np.flatnonzero(_outlying(ratios, COUNT) & (ratios > 1)).tolist():
        yield Sign(client, Kind.claim, float(ratios[client]), COUNT)
    known = np.flatnonzero(moved & np.isfinite(lengths))
    across, up = np.log(examples[known]), np.log(lengths[known])
    line = fitted(across, up)
    if line is None:
        return
    slope, middle = line
    rest = up - middle - slope * across
    _, deviation = robust(rest)
    factors = np.exp(-rest / slope)
    shorter = -rest > _DEVIATIONS * max(deviation, _LEAST_SPREAD)
    for place in np.flatnonzero(shorter & (factors > _MISFIT)).tolist():
        yield Sign(int(known[place]), Kind.misfit, float(factors[place]), _MISFIT)


def harmful(values: Sequence[float], errors: Sequence[float]) -> Iterator[Sign]:
    """Clients whose value lies surely below zero: labels turned round look so, and data of another kind do, too.

    Args:
        values: in percentage points, (K,).
        errors: their standard errors, (K,).
    """
    worth = np.array(values)
    below = worth + _ERRORS * np.array(errors) < 0
    for client in np.flatnonzero(below).tolist():
        yield Sign(client, Kind.harmful, float(worth[client]), -_ERRORS * float(errors[client]))


def robust(values: Floats) -> tuple[float, float]:
    """The median, and the standard deviation that the median distance from it would have with normal values."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 0.0
    middle = float(np.median(known))
    return middle, 1.4826 * float(np.median(np.abs(known - middle)))


def fitted(across: Floats, up: Floats) -> tuple[float, float] | None:
    """Slope and height of the median line (Theil and Sen) through points; None where they do not rise together."""
    one, other = np.triu_indices(len(across), 1)
    if len(one) > _MOST_SLOPES:
        some = np.random.default_rng(0).choice(len(one), _MOST_SLOPES, replace=False)
        one, other = one[some], other[some]
    apart = across[other] - across[one]
    differ = np.abs(apart) > _LEAST_SPREAD
    if differ.sum() < len(across):
        return None
    rises = (up[other] - up[one])[differ] / apart[differ]
    slope = float(np.median(rises))
    if slope <= 0 or (rises > 0).mean() < _FITTING:
        return None
    return slope, float(np.median(up - slope * across))


def _outlying(ratios: Floats, factor: float) -> Any:
    """Which ratios to a median are both by a factor and by robust deviations of their logarithms apart from it."""
    logs = np.log(np.maximum(ratios, 1e-300))
    middle, deviation = robust(logs)
    far = np.abs(logs - middle) > max(np.log(factor), _DEVIATIONS * max(deviation, _LEAST_SPREAD))
    return far & np.isfinite(ratios)


def _usual(sizes: Floats) -> float:
    """The median of those above 0; 1 where there is none."""
    above = sizes[sizes > 0]
    return float(np.median(above)) if len(above) else 1.0


def _cosines(steps: Floats) -> Floats:
    """Of all pairs, (K, K); 0 with a step of no length."""
    sizes = np.sqrt((steps**2).sum(axis=1, keepdims=True))
    units = np.divide(steps, sizes, out=np.zeros_like(steps), where=sizes > 0)
    found: Floats = np.clip(units @ units.T, -1, 1)
    return found
