"""What can still be gained within the rules, or by a lie that chance lets through: measured in coins on a real game.

Everything here is arithmetic on true counts: no miner is simulated, the outcome is `consensus.estimate`'s. An expected
gain is measured against what the same party gets when it is honest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import product
from random import Random

import numpy as np
import numpy.typing as npt
from attacking.games import Counts, Floats, Played, part_of, play
from attacking.strategies import exchanged, favouring

from fedcoin_cli.consensus.estimate import Agreement, Terms, agree
from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.incentive.payment import shapley_shares
from fedcoin_cli.learning.coalitions.exact import exact_numerators
from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.coalitions.walks import Orders, orders
from fedcoin_cli.learning.engines.choice import engine_for, walker_for
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.reference.update_admission import refused_update
from fedcoin_cli.learning.shapley.checking import Checker
from fedcoin_cli.learning.shapley.judging import Engines
from fedcoin_cli.learning.shapley.table import Claim, Table, TableTerms, derive
from ledger_store.base.amount import split
from ledger_store.base.names import Address, Digest
from ledger_store.transaction import Estimate, Reveal, exact_denominator

COIN = 10**6
TRAIN, SHAPLEY = 700 * COIN, 200 * COIN
DIFFICULTY_MICRO = 1_500_000
BLOCK_IMAGES = 16
OPTIONS = 24
MOST_RANKINGS = 2_000
_TABLE = Digest("")


@dataclass(frozen=True, slots=True)
class Gain:
    """Expected gain of the schemers in micro a task, how often they had their way, and out of how many trials."""

    trials: int
    had_its_way: float
    gained_micro: int
    lost_micro: int


class Bench:
    """A game whose counts are all known, ready to be mined by any key under any seed."""

    def __init__(self, played: Played) -> None:
        self.played = played
        game = played.game
        self.blocks = partition(game.test.labels, BLOCK_IMAGES, bytes(32))
        self.terms = TableTerms(game.clients, self.blocks.sizes, game.empty)
        # φ(u) in images: what every miner's N_j/t goes to.
        exact = np.array(exact_numerators(played.counts[1:], game.empty, game.clients), np.float64)
        self.truth: Floats = exact / exact_denominator(game.clients)

    @cached_property
    def by_block(self) -> Counts:
        """u of every coalition in each block, (blocks, 2^K)."""
        parts = (part_of(self.played.game, self.blocks.block(one)) for one in range(len(self.blocks)))
        return np.array([play(part).counts for part in parts])

    def walk(self, claim: Claim) -> tuple[Orders, Counts]:
        """The rankings of a claim, and the counts of all coalitions on their way, (blocks, rankings, K) each."""
        every = range(len(self.blocks))
        walked = orders(claim.seed, claim.miner_key, every, range(claim.rankings), self.played.clients)
        masks = np.bitwise_or.accumulate(1 << walked.astype(np.int64), axis=2)
        return walked, self.by_block[np.array(every)[:, None, None], masks]

    def sums(self, seed: bytes, key: bytes, rankings: int) -> npt.NDArray[np.int64]:
        """N_j after each of so many rankings, (rankings, K)."""
        walked, values = self.walk(Claim(seed, key, rankings, exact=False))
        empty = np.broadcast_to(self.by_block[:, :1, None], (*values.shape[:2], 1))
        marginals = np.zeros_like(values)
        steps = np.diff(values, axis=2, prepend=empty)
        np.put_along_axis(marginals, walked.astype(np.int64), steps, axis=2)
        total: npt.NDArray[np.int64] = np.cumsum(marginals.sum(axis=0), axis=0)
        return total

    def table(self, claim: Claim) -> bytes:
        """The true table of a claim."""
        _, values = self.walk(claim)
        ends = self.by_block[:, [0, -1]].astype(np.uint8)
        return Table(ends[:, 0], ends[:, 1], values[:, :, :-1].astype(np.uint8)).encode()

    def agreement(self, estimates: Sequence[Reveal], miners: int) -> Agreement:
        """What follows from sampled estimates among R miners."""
        faults = (miners - 1) // 3
        terms = Terms(self.played.clients, self.played.images, DIFFICULTY_MICRO, faults)
        return agree(estimates, terms)

    def checker(self) -> Checker:
        """What a miner checks tables with."""
        game = self.played.game
        walker, engine = walker_for(game, self.blocks, None, 1), engine_for(game)
        return Checker(Reference(game), self.terms, self.blocks, Engines(lambda: walker, lambda: engine))

    def pays(self, agreement: Agreement) -> list[int]:
        """TrainPrice by client, in micro."""
        return list(split(TRAIN, agreement.weights))


def _estimate(miner: int, rankings: int, sums: npt.NDArray[np.int64]) -> Reveal:
    return _opened(miner, Estimate(rankings, False, tuple(map(int, sums[rankings - 1])), _TABLE))


def _opened(miner: int, estimate: Estimate) -> Reveal:
    return estimate.opened(Address(f"{miner:064x}"), "")


def _bytes(*words: object) -> bytes:
    return sha256(repr(words).encode()).digest()


def _grid(most: int) -> list[int]:
    """The numbers of rankings that may be claimed, from the greatest down."""
    found = [grid_up_to(most)]
    while found[-1] > 1 and len(found) < OPTIONS:
        found.append(grid_up_to(found[-1] - 1))
    return found


# Rankings left out ------------------------------------------------------------------------------------------------


def choosing_t(bench: Bench, miners: int, schemers: int, rankings: int, trials: int, start: int = 0) -> Gain:
    """One or two miners claim those of their rankings with which one of them should be nearest; the rest is honest.

    They know the exact values, and each other's sums: the most that choosing t can bring.
    """
    wins = 0
    for trial in range(start, start + trials):
        seed = _bytes("seed", trial)
        walked = [bench.sums(seed, _bytes("key", trial, miner), rankings) for miner in range(miners)]
        claims = [_estimate(miner, rankings, walked[miner]) for miner in range(schemers, miners)]
        chosen = _best_choice(bench, walked[:schemers], rankings, miners)
        claims += [_estimate(miner, t, walked[miner]) for miner, t in enumerate(chosen)]
        nearest = bench.agreement(claims, miners).nearest
        wins += any(f"{miner:064x}" in nearest for miner in range(schemers))
    share = wins / trials
    gained = round(SHAPLEY * (share - schemers / miners))
    return Gain(trials, share, gained, max(0, gained))


def _best_choice(
    bench: Bench, walked: Sequence[npt.NDArray[np.int64]], rankings: int, miners: int
) -> tuple[int, ...]:
    others = (miners - len(walked)) * rankings

    def nearest(chosen: tuple[int, ...]) -> float:
        parts = [sums[t - 1] for sums, t in zip(walked, chosen, strict=True)]
        average = (bench.truth * others + sum(parts)) / (others + sum(chosen))
        distances = (np.linalg.norm(part / t - average) for part, t in zip(parts, chosen, strict=True))
        return float(min(distances))

    return min(product(_grid(rankings), repeat=len(walked)), key=nearest)


def alone_exact(bench: Bench, miners: int, schemers: int, rankings: int, trials: int) -> Gain:
    """Some miners share one computation of all coalitions and each reveals it as its own; the others sample.

    Above f of them, only they count and share SapPrice; below, each still weighs as much as the most rankings.
    """
    clients, empty = bench.played.clients, bench.played.game.empty
    values = tuple(exact_numerators(bench.played.counts[1:], empty, clients))
    most, taken = grid_up_to(MOST_RANKINGS), 0
    for trial in range(trials):
        seed = _bytes("exact", trial)
        claims = []
        for miner in range(miners):
            if miner < schemers:
                claims.append(_opened(miner, Estimate(most, True, values, _TABLE)))
                continue
            claims.append(_estimate(miner, rankings, bench.sums(seed, _bytes("key", trial, miner), rankings)))
        agreement = bench.agreement(claims, miners)
        shares = shapley_shares("winner", agreement, claims)
        own = {f"{miner:064x}" for miner in range(schemers)}
        paid = split(SHAPLEY, [weight for _, weight in shares])
        taken += sum(micro for (miner, _), micro in zip(shares, paid, strict=True) if miner in own)
    gained = taken // trials - SHAPLEY * schemers // miners
    return Gain(trials, taken / trials / SHAPLEY, gained, max(0, gained))


# Tables that nobody looked at closely enough ----------------------------------------------------------------------


def false_tables(bench: Bench, miners: int, rankings: int, counts: int, trials: int, *, step: int) -> Gain:
    """Two: one moves so many of its counts by `step` images, for its friend, the last client; the other looks away.

    Each stands in a ranking of its own, where the friend joins: nowhere does a false count move more. Caught, the liar
    is paid nothing: what an honest miner may expect is lost.
    """
    rng, checker = Random(f"{counts} {miners}"), bench.checker()
    escaped, gained, lost = 0, 0, 0
    for trial in range(trials):
        seed = _bytes("tables", trial)
        owns = [Claim(seed, _bytes("key", trial, miner), rankings, False) for miner in range(miners)]
        claims = [
            _estimate(m, rankings, bench.sums(seed, own.miner_key, rankings)) for m, own in enumerate(owns)
        ]
        table = _forged(bench, owns[0], counts, step, rng)
        if any(checker.wrong_entries(table, owns[0], 600.0) for _ in owns[2:]):
            gained -= SHAPLEY // miners
            continue
        escaped += 1
        fair = bench.pays(bench.agreement(claims, miners))
        claims[0] = replace(claims[0], sums=derive(table, owns[0], bench.terms))
        got = bench.pays(bench.agreement(claims, miners))
        gained += got[-1] - fair[-1]
        lost += sum(max(0, due - paid) for due, paid in zip(fair, got, strict=True))
    return Gain(trials, escaped / trials, gained // trials, lost // trials)


def _forged(bench: Bench, claim: Claim, counts: int, step: int, rng: Random) -> bytes:
    """A table with so many false counts, each in a ranking of its own, where the friend joins."""
    true, friend = bench.table(claim), bench.played.clients - 1
    walked, _ = bench.walk(claim)
    joins = (walked == friend).argmax(axis=2).ravel()
    first, width = 2 * len(bench.blocks), bench.played.clients - 1
    rows = rng.sample(range(len(joins)), counts)
    # Who joins last is favoured by the count before.
    entries = [first + row * width + min(int(joins[row]), width - 1) for row in rows]
    return exchanged(true, favouring(friend, entries, true, claim, bench.terms, step))


def detected(bench: Bench, rankings: int, counts: int, step: int, trials: int) -> int:
    """In how many of so many tables with so many false counts one checker finds one."""
    rng, checker, found = Random(f"detected {counts}"), bench.checker(), 0
    for trial in range(trials):
        claim = Claim(_bytes("drawn", trial), _bytes("liar", trial), rankings, exact=False)
        found += bool(checker.wrong_entries(_forged(bench, claim, counts, step, rng), claim, 600.0))
    return found


# Seeds -----------------------------------------------------------------------------------------------------------


def choosing_the_task(bench: Bench, miners: int, rankings: int, tries: int, trials: int) -> Gain:
    """A requester that foresees the seed publishes, of so many tasks that differ by a micro, the best for its friend.

    On an idle chain the opening block's parent is known; all rankings of all miners follow from it.
    """
    clients, gained, lost, mean = bench.played.clients, 0, 0, _expected(bench)
    friend = clients - 1
    for trial in range(trials):
        paid = [
            bench.pays(
                bench.agreement(
                    [
                        _estimate(
                            m,
                            rankings,
                            bench.sums(_bytes("try", trial, one), _bytes("key", trial, m), rankings),
                        )
                        for m in range(miners)
                    ],
                    miners,
                )
            )
            for one in range(tries)
        ]
        best = max(paid, key=lambda pays: pays[friend])
        gained += best[friend] - mean[friend]
        lost += sum(max(0, due - got) for due, got in zip(mean[:-1], best[:-1], strict=True))
    return Gain(trials, 1.0, gained // trials, lost // trials)


def _expected(bench: Bench) -> list[int]:
    """What exact values pay."""
    numerators = exact_numerators(bench.played.counts[1:], bench.played.game.empty, bench.played.clients)
    return list(split(TRAIN, [max(0, number) for number in numerators]))


# Updates -----------------------------------------------------------------------------------------------------------


def copied_update(played: Played, thief: int, victim: int) -> Gain:
    """Client `thief` hands in what `victim` trained, with a touch of noise; exact values pay."""
    rng, updates = np.random.default_rng(3), list(played.game.updates)
    noise = [rng.normal(scale=1e-5, size=part.shape).astype(np.float32) for part in updates[victim]]
    updates[thief] = tuple(part + step for part, step in zip(updates[victim], noise, strict=True))
    return _instead(played, tuple(updates), thief)


def scaled_update(played: Played, client: int, factor: float) -> Gain | None:
    """A client multiplies its update; None when the miners refuse the task for it."""
    updates = list(played.game.updates)
    updates[client] = tuple((part * factor).astype(np.float32) for part in updates[client])
    game = replace(played.game, updates=tuple(updates))
    if refused_update(Reference(game), "ab" * 32) is not None:
        return None
    return _instead(played, tuple(updates), client)


def _instead(played: Played, updates: tuple[tuple[npt.NDArray[np.float32], ...], ...], schemer: int) -> Gain:
    before = _expected(Bench(played))
    game = replace(played.game, updates=updates)
    after = _expected(Bench(play(game)))
    lost = sum(
        max(0, due - got)
        for client, (due, got) in enumerate(zip(before, after, strict=True))
        if client != schemer
    )
    return Gain(1, 1.0, after[schemer] - before[schemer], lost)
