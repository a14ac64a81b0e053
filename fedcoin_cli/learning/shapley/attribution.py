"""Why a client's value is what it is: every coalition that it joined, with the gain and the weight in the estimate.

Read from the miners' tables alone, in exact fractions: Σ weight · gain over all coalitions is what the tables say of
the value. Blocks that saw one coalition are taken together. How sure the agreed values are is here as well: mining's
error from all miners' rankings, the test set's from how far apart the blocks are.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import comb
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.exact import coalition_sizes, sums_at
from fedcoin_cli.learning.coalitions.partition import Partition, partition
from fedcoin_cli.learning.coalitions.walks import Orders, orders
from fedcoin_cli.learning.engines.choice import walker_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.metrics.choice import scorer_of
from fedcoin_cli.learning.shapley.precision import (
    Floats,
    Marginals,
    Walk,
    images_covariance,
    payment_errors,
    standard_errors,
    widening,
)
from fedcoin_cli.learning.shapley.table import Claim, Table, TableTerms, decode, decode_exact
from ledger_store.transaction import exact_denominator

_POINTS: Final = 64
_WALKED_AT_ONCE: Final = 1 << 20
_TEST_SET_RANKINGS: Final = 16
_TEST_SET_BLOCKS, _TEST_SET_IMAGES = 128, 16
_TEST_SET_S: Final = 5.0
"""What walking them may take, about: of a slow model fewer rankings are walked, on fewer blocks."""
_LITTLE_FLOP: Final = 10**10
"""Less is not worth a trial."""
_TOLD_APART: Final = 2.0

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class JoinedCoalition:
    """A coalition that the client joined, on `images` images in all: right before, the gain, and what one is worth.

    All three count images; `weight` is what an image gained adds to the value.
    """

    mask: int
    images: int
    before: int
    gain: int
    weight: Fraction

    @property
    def adds(self) -> Fraction:
        """What this coalition contributes to the value, in images."""
        return self.weight * self.gain


@dataclass(frozen=True, slots=True)
class Step:
    """All coalitions of one size that the client joined: their weight, and what they add to the value in images."""

    size: int
    weight: Fraction
    adds: Fraction

    @property
    def gain(self) -> Fraction:
        """The mean gain on joining so many others, in images of the whole test set; 0 where none was seen."""
        return self.adds / self.weight if self.weight else Fraction(0)


@dataclass(frozen=True, slots=True)
class Reasons:
    """What `coalitions` distinct coalitions say of one client's value: `total` images, by size, and the largest.

    `helped` adds most, `hurt` takes most; both in order, the largest first.
    """

    total: Fraction
    steps: tuple[Step, ...]
    helped: tuple[JoinedCoalition, ...]
    hurt: tuple[JoinedCoalition, ...]
    coalitions: int


@dataclass(frozen=True, slots=True)
class Agreed:
    """Standard errors of the agreed values in percentage points, and of the payments in micro-FedCoin.

    `values_pp` and `payments_micro` are mining's, by `rankings` rankings of all miners; `images_pp` and `images_micro`
    are the test set's. `alike` are pairs of clients, neighbours by value, that both together cannot tell apart: their
    values differ by less than two standard errors of the difference.
    """

    rankings: int
    values_pp: tuple[float, ...]
    payments_micro: tuple[float, ...]
    images_pp: tuple[float, ...]
    images_micro: tuple[float, ...]
    alike: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """Coalitions that the client joined: who was there, packed 8 clients a byte, how many, and sums in images.

    One adds weights · gains / scale to the value.
    """

    keys: npt.NDArray[np.uint8]
    sizes: Integers
    images: Integers
    before: Integers
    gains: Integers
    weights: Integers
    scale: int


def reasons(
    tables: Sequence[tuple[Claim, bytes]], terms: TableTerms, client: int, most: int, *, exact: bool
) -> Reasons:
    """What tables say of a client's value.

    Args:
        tables: claims with the bytes of their tables, at least one.
        terms: K, the blocks and u(∅).
        client: whose value, 0..K−1.
        most: how many coalitions to name for and against.
        exact: whether the agreement was one of exact values; otherwise each table weighs as its claim's rankings.
    """
    seen = _seen(tables, terms, client, exact=exact)
    return Reasons(
        total=Fraction(_whole_sum(seen.weights, seen.gains), seen.scale),
        steps=_steps(seen, terms),
        helped=_largest(seen, most, sign=1),
        hurt=_largest(seen, most, sign=-1),
        coalitions=len(seen.gains),
    )


def agreed(
    tables: Sequence[tuple[Claim, bytes]], terms: TableTerms, values: Sequence[float], train_micro: int
) -> Agreed | None:
    """How sure the agreed values are, by all sampled tables together.

    Args:
        tables: claims with the bytes of their tables.
        terms: K, the blocks and u(∅).
        values: the agreed values in images, (K,).
        train_micro: what the clients share.

    Returns:
        None without a sampled table of two rankings.
    """
    total = sum(claim.rankings for claim, _ in tables)
    mining, apart = np.zeros((terms.clients, terms.clients)), np.zeros((terms.clients, terms.clients))
    blocks, sampled = np.zeros((len(terms.sizes), terms.clients)), 0
    for claim, data in tables:
        if claim.exact:
            continue
        marginals = _marginals(claim, decode(data, claim, terms), terms)
        spread = marginals.spread()
        if spread is None:
            return None
        share = claim.rankings / total
        mining += share**2 * widening(spread.draws) ** 2 * spread.covariance
        apart += claim.rankings**2 * spread.apart
        blocks += claim.rankings * marginals.blocks()
        sampled += claim.rankings
    if not sampled:
        return None
    images = images_covariance(blocks / sampled, apart / sampled**2)
    if len(blocks) < 2:
        images = np.full_like(images, np.nan)
    return _errors(total, (mining, images), terms.whole, values, train_micro)


def test_set_error(game: Game, values: Sequence[float], train_micro: int) -> Agreed | None:
    """The same from a round's files alone, without any table: mining's error is then unknown, and 0 here.

    A few rankings are walked on some of the blocks, as many as a few seconds allow.

    Args:
        game: the round.
        values: the agreed values in images, (K,).
        train_micro: what the clients share.

    Returns:
        None for a test set of one image, or a metric that knows no value of some images alone: they cannot tell.
    """
    if not game.metric.sums:
        return None
    # Many small blocks tell a spread better than few large ones.
    size = min(_TEST_SET_IMAGES, -(-game.images // _TEST_SET_BLOCKS))
    part = partition(game.test.strata, size, bytes(32))
    some = min(len(part), _TEST_SET_BLOCKS)
    if some < 2:
        return None
    blocks, rankings = _affordable(game, part.first(some))
    fewer, part = _of_blocks(game, part.first(blocks))
    terms = TableTerms(game.clients, part.sizes, game.empty)  # read for the number of its blocks alone
    claim = Claim(bytes(32), bytes(32), rankings, exact=False)
    walker = walker_for(fewer, part)
    walked = orders(claim.seed, claim.miner_key, range(blocks), range(rankings), game.clients)
    empty, full = walker.ends()
    found = (empty, full, walker.walk(range(blocks), walked))
    table = Table(*(part.astype(np.uint64) for part in found))
    marginals = _marginals(claim, table, terms)
    spread = marginals.spread()
    assert spread is not None
    # Values are shares of what all images are worth; their variances fall with the images, of which some were seen.
    whole = scorer_of(game).whole
    scale = (whole / scorer_of(fewer).whole) ** 2 * fewer.images / game.images
    covariance = scale * images_covariance(marginals.blocks(), spread.apart)
    return _errors(0, (np.zeros_like(covariance), covariance), whole, values, train_micro)


def _of_blocks(game: Game, part: Partition) -> tuple[Game, Partition]:
    """The game of these blocks' images alone, and its blocks."""
    fewer = replace(game, test=game.test.taken(part.images))
    return fewer, Partition(np.arange(len(part.images)), part.starts)


def _affordable(game: Game, part: Partition) -> tuple[int, int]:
    """On how many blocks how many rankings are walked within about `_TEST_SET_S`: two of two at least."""
    steps = max(1, game.clients - 1)
    if _TEST_SET_RANKINGS * steps * len(part.images) * game.model.flop_above < _LITTLE_FLOP:
        return len(part), _TEST_SET_RANKINGS
    walker = walker_for(*_of_blocks(game, part.first(2)))  # its ends are counted then, which is not measured
    began = time.monotonic()
    walker.walk(range(2), orders(bytes(32), bytes(32), range(2), range(2), game.clients))
    fitting = int(_TEST_SET_S * 4 * steps / max(time.monotonic() - began, 1e-6))
    blocks = max(2, min(len(part), fitting // (2 * steps + 1)))
    return blocks, max(2, min(_TEST_SET_RANKINGS, fitting // (blocks * steps)))


def convergence(
    claim: Claim, data: bytes, terms: TableTerms, values: Sequence[float]
) -> tuple[tuple[int, float], ...]:
    """How a miner's estimate came near the agreed values: rankings walked, and the distance then, in points.

    Args:
        claim: whose rankings, and how many; none of an exact one.
        data: its table's bytes.
        terms: K, the blocks and u(∅).
        values: the agreed values in images, (K,).
    """
    table = decode(data, claim, terms)
    gains = np.zeros((claim.rankings, terms.clients))
    for blocks, rankings, walked in pieces(claim, terms):
        steps = np.diff(counts_of(table, blocks, rankings), axis=2)
        places = walked.astype(np.int64) + terms.clients * np.arange(len(rankings))[None, :, None]
        found = np.bincount(places.ravel(), steps.ravel(), minlength=len(rankings) * terms.clients)
        gains[rankings.start : rankings.stop] += found.reshape(len(rankings), terms.clients)
    numbers = np.unique(np.geomspace(1, claim.rankings, _POINTS).astype(np.int64))
    means = np.cumsum(gains, axis=0)[numbers - 1] / numbers[:, None]
    distances = 100 / terms.whole * np.sqrt(((means - np.array(values)) ** 2).sum(axis=1))
    return tuple(zip(numbers.tolist(), distances.tolist(), strict=True))


# What tables saw ---------------------------------------------------------------------------------------------------


def _seen(tables: Sequence[tuple[Claim, bytes]], terms: TableTerms, client: int, *, exact: bool) -> _Seen:
    whole = [decode_exact(data, terms) for claim, data in tables if claim.exact]
    walked = [(claim, decode(data, claim, terms)) for claim, data in tables if not claim.exact]
    # What an exact table weighs beside others: as much as the rankings that it claims.
    claimed = 1 if exact else max((claim.rankings for claim, _ in tables if claim.exact), default=0)
    unit = exact_denominator(terms.clients) if whole else 1
    parts = [_walked(walked, terms, client, unit)] if walked else []
    if whole:
        parts.append(_enumerated(np.sum(whole, axis=0), len(whole), terms, client, claimed))
    scale = unit * (sum(claim.rankings for claim, _ in walked) + claimed * len(whole))
    keys, sizes, images, before, gains, weights = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return _Seen(keys, sizes, images, before, gains, weights, scale)


def _walked(
    tables: Sequence[tuple[Claim, Table]], terms: TableTerms, client: int, weight: int
) -> tuple[npt.NDArray[Any], ...]:
    """By rankings: all weigh the same."""
    columns = [
        _visits(table, terms, (blocks, rankings), walked, client)
        for claim, table in tables
        for blocks, rankings, walked in pieces(claim, terms)
    ]
    keys, sizes, images, before, gains = (np.concatenate(column) for column in zip(*columns, strict=True))
    _, first, place = np.unique(_sortable(keys), return_index=True, return_inverse=True)
    sums = (sums_at(place, column, len(first)) for column in (images, before, gains))
    return keys[first], sizes[first], *sums, np.full(len(first), weight, np.int64)


def _visits(
    table: Table, terms: TableTerms, piece: tuple[range, range], walked: Orders, client: int
) -> tuple[npt.NDArray[Any], ...]:
    """Where the client joins in each ranking of each block: who is there, how many, images, right before, gain."""
    counts = counts_of(table, *piece)
    joined = np.empty(walked.shape, np.int64)
    np.put_along_axis(joined, walked.astype(np.int64), np.arange(walked.shape[2]), axis=2)
    place = joined[:, :, client, None]
    there = np.packbits(joined < place, axis=2, bitorder="little")
    before, after = (np.take_along_axis(counts, place + step, axis=2).ravel() for step in (0, 1))
    images = np.repeat(terms.sizes[piece[0].start : piece[0].stop], walked.shape[1])
    return there.reshape(-1, there.shape[2]), place.ravel(), images, before, after - before


def _enumerated(
    counts: Integers, tables: int, terms: TableTerms, client: int, weight: int
) -> tuple[npt.NDArray[Any], ...]:
    """By all coalitions without the client: one of size s weighs 1 / (K·C(K−1, s)); `counts` are sums of tables."""
    clients, scale = terms.clients, exact_denominator(terms.clients)
    halves = np.concatenate([[tables * terms.empty], counts]).reshape(-1, 2, 1 << client)
    before, after = halves[:, 0].ravel(), halves[:, 1].ravel()
    masks = np.arange(1 << clients, dtype="<u8").reshape(-1, 2, 1 << client)[:, 0].reshape(-1, 1)
    keys = np.ascontiguousarray(masks.view(np.uint8)[:, : -(-clients // 8)])
    sizes = coalition_sizes(clients).reshape(-1, 2, 1 << client)[:, 0].ravel()
    by_size = [weight * scale // (clients * comb(clients - 1, size)) for size in range(clients)]
    images = np.full(len(keys), tables * terms.whole)
    return keys, sizes, images, before, after - before, np.array(by_size, np.int64)[sizes]


def _sortable(keys: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """Packed members (m, bytes) as one value each."""
    width = keys.shape[1]
    if width > 8:
        return np.ascontiguousarray(keys).view(f"S{width}").ravel()
    return np.pad(keys, ((0, 0), (0, 8 - width))).view("<u8").ravel()


# Rankings of a table -----------------------------------------------------------------------------------------------


def pieces(claim: Claim, terms: TableTerms) -> Iterator[tuple[range, range, Orders]]:
    """Some blocks and rankings at a time, never of two pairs of squares, with the orders walked."""
    clients, pair = terms.clients, 2 * terms.clients
    for start in range(0, claim.rankings, pair):
        rankings = range(start, min(start + pair, claim.rankings))
        at_once = max(1, _WALKED_AT_ONCE // (len(rankings) * clients))
        for first in range(0, len(terms.sizes), at_once):
            blocks = range(first, min(first + at_once, len(terms.sizes)))
            yield blocks, rankings, orders(claim.seed, claim.miner_key, blocks, rankings, clients)


def counts_of(table: Table, blocks: range, rankings: range) -> Integers:
    """u of ∅, the coalitions on the way, and the full one: (blocks, rankings, K + 1)."""
    some = slice(blocks.start, blocks.stop)
    between = table.walked[some, rankings.start : rankings.stop].astype(np.int64)
    ends = (np.broadcast_to(end[some, None, None], (*between.shape[:2], 1)) for end in table.ends)
    return np.concatenate([next(ends), between, next(ends)], axis=2)


def _marginals(claim: Claim, table: Table, terms: TableTerms) -> Marginals:
    """What a table's rankings say by block, as a session takes it in."""
    number, walks = len(terms.sizes), list[Walk]()
    found = Marginals(number, terms.clients)
    for blocks, rankings, walked in pieces(claim, terms):
        if not blocks.start:
            walks = [Walk.of(number, terms.clients) for _ in range(2)]
        some = slice(blocks.start, blocks.stop)
        values = table.walked[some, rankings.start : rankings.stop]
        ends = (table.ends[0][some], table.ends[1][some])
        # A piece begins with a pair of squares, so with an even ranking.
        for stream, walk in enumerate(walks):
            walk.put(some, walked[:, stream::2], values[:, stream::2], ends)
            if blocks.stop == number:
                found.add(stream, walk)
    return found


def _errors(
    rankings: int, covariances: tuple[Floats, Floats], whole: int, values: Sequence[float], micro: int
) -> Agreed:
    """Standard errors from the covariances (units of M squared) of mining and of the test set, NaN where unknown."""
    in_points = [100 / whole * standard_errors(one) for one in covariances]
    in_coins = [
        payment_errors(np.array(values), one, micro) + 0 * points
        for one, points in zip(covariances, in_points, strict=True)
    ]
    mining, test_set = zip(in_points, in_coins, strict=True)
    alike = _alike(values, np.nan_to_num(covariances[0]) + np.nan_to_num(covariances[1]))
    values_pp, payments_micro, images_pp, images_micro = (tuple(one.tolist()) for one in (*mining, *test_set))
    return Agreed(rankings, values_pp, payments_micro, images_pp, images_micro, alike)


def _alike(values: Sequence[float], covariance: Floats) -> tuple[tuple[int, int], ...]:
    order = sorted(range(len(values)), key=lambda client: (-values[client], client))
    return tuple(
        (one, other) for one, other in pairwise(order) if not _apart((one, other), values, covariance)
    )


def _apart(pair: tuple[int, int], values: Sequence[float], covariance: Floats) -> bool:
    one, other = pair
    variance = covariance[one, one] + covariance[other, other] - 2 * covariance[one, other]
    return bool(abs(values[one] - values[other]) > _TOLD_APART * np.sqrt(max(variance, 0.0)))


def _steps(seen: _Seen, terms: TableTerms) -> tuple[Step, ...]:
    steps = []
    for size in range(terms.clients):
        of_size = seen.sizes == size
        weights, images, gains = seen.weights[of_size], seen.images[of_size], seen.gains[of_size]
        weight = Fraction(_whole_sum(weights, images), seen.scale * terms.whole)
        steps.append(Step(size, weight, Fraction(_whole_sum(weights, gains), seen.scale)))
    return tuple(steps)


def _largest(seen: _Seen, most: int, *, sign: int) -> tuple[JoinedCoalition, ...]:
    """Those that add (`sign` 1) or take (−1) most, the largest first; a stable order for equal ones."""
    adds = sign * seen.weights.astype(np.float64) * seen.gains
    order = [index for index in np.argsort(-adds, kind="stable")[:most].tolist() if adds[index] > 0]
    return tuple(_joined(seen, index) for index in order)


def _joined(seen: _Seen, index: int) -> JoinedCoalition:
    return JoinedCoalition(
        mask=int.from_bytes(seen.keys[index].tobytes(), "little"),
        images=int(seen.images[index]),
        before=int(seen.before[index]),
        gain=int(seen.gains[index]),
        weight=Fraction(int(seen.weights[index]), seen.scale),
    )


def _whole_sum(weights: Integers, amounts: Integers) -> int:
    """Σ weight · amount in Python's integers: there are few different weights, and each one's sum fits."""
    return sum(int(weight) * int(amounts[weights == weight].sum()) for weight in np.unique(weights))
