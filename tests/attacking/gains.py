"""What can still be gained within the rules, or by a lie that chance lets through: measured in coins on a real game.

Everything here is arithmetic on true counts: no miner is simulated, the outcome is `consensus.estimate`'s. An expected
gain is measured against what the same party gets when it is honest.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import product
from random import Random

import numpy as np
import numpy.typing as npt
from attacking.games import Counts, Floats, Played, play
from attacking.strategies import favouring

from fedcoin_cli.consensus.estimate import Agreement, Estimate, ProxySums, Terms, agree
from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.incentive.payment import shapley_shares
from fedcoin_cli.learning.mining.admission import refused_update
from fedcoin_cli.learning.mining.checking import Checker, heavy_masks
from fedcoin_cli.learning.mining.choice import engine_for
from fedcoin_cli.learning.mining.exact import common_denominator, exact_numerators
from fedcoin_cli.learning.mining.memo import Memo
from fedcoin_cli.learning.mining.proxy import ProxyCounts, proxy_sums
from fedcoin_cli.learning.mining.reference import Reference
from fedcoin_cli.learning.mining.table import Claim, Table, TableTerms, decode, derive, encode_sampled
from fedcoin_cli.learning.mining.walks import orders, prefix_keys
from ledger_store.amount import split

COIN = 10**6
TRAIN, SHAPLEY = 700 * COIN, 200 * COIN
DIFFICULTY_MICRO = 1_500_000
OPTIONS = 24
MOST_RANKINGS = 2_000


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
        self.proxy = ProxyCounts.of(game)
        self.terms = TableTerms(game.clients, game.images, game.empty, self.proxy)
        public: Counts = np.zeros_like(played.counts) if self.proxy is None else self.proxy.table.copy()
        public[0] = game.empty
        self._rest = played.counts - public if self.proxy is not None else played.counts
        sums, denominator = ([0] * game.clients, 1)
        if self.proxy is not None:
            sums, denominator = proxy_sums(self.proxy, bytes(32), game.empty)
        self.public = ProxySums(tuple(sums), denominator)
        # φ(u − p) in images: what every miner's N_j/t goes to.
        exact = np.array(exact_numerators(played.counts[1:], game.empty, game.clients), np.float64)
        self.truth: Floats = exact / common_denominator(game.clients) - np.array(sums) / denominator

    def sums(self, seed: bytes, key: bytes, rankings: int) -> npt.NDArray[np.int64]:
        """N_j after each of so many rankings, (rankings, K)."""
        walked = orders(seed, key, 0, rankings, self.played.clients)
        values = self._rest[prefix_keys(walked).astype(np.int64)]
        steps = np.diff(values, axis=1, prepend=self._rest[0])
        marginals = np.zeros_like(steps)
        np.put_along_axis(marginals, walked, steps, axis=1)
        total: npt.NDArray[np.int64] = np.cumsum(marginals, axis=0)
        return total

    def agreement(self, estimates: Sequence[Estimate], miners: int) -> Agreement:
        """What follows from sampled estimates among R miners."""
        faults = (miners - 1) // 3
        terms = Terms(self.played.clients, self.played.images, DIFFICULTY_MICRO, faults)
        return agree(estimates, self.public, terms)

    def checker(self) -> Checker:
        """What a miner checks tables with."""
        game = self.played.game
        return Checker(Reference(game), engine_for(game), self.proxy)

    def pays(self, agreement: Agreement) -> list[int]:
        """TrainPrice by client, in micro."""
        return list(split(TRAIN, agreement.weights))


def _estimate(miner: int, rankings: int, sums: npt.NDArray[np.int64]) -> Estimate:
    return Estimate(f"{miner:064x}", rankings, False, tuple(map(int, sums[rankings - 1])), None)


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
            count = most if miner < schemers else rankings
            claim = _estimate(miner, count, bench.sums(seed, _bytes("key", trial, miner), count))
            claims.append(replace(claim, exact=True, values=values) if miner < schemers else claim)
        agreement = bench.agreement(claims, miners)
        shares = shapley_shares("winner", agreement, claims)
        own = {f"{miner:064x}" for miner in range(schemers)}
        paid = split(SHAPLEY, [weight for _, weight in shares])
        taken += sum(micro for (miner, _), micro in zip(shares, paid, strict=True) if miner in own)
    gained = taken // trials - SHAPLEY * schemers // miners
    return Gain(trials, taken / trials / SHAPLEY, gained, max(0, gained))


# Tables that nobody looked at closely enough ----------------------------------------------------------------------


def false_tables(bench: Bench, miners: int, rankings: int, masks: int, trials: int, *, step: int) -> Gain:
    """Two: one moves so many of its counts by `step` images, for its friend, the last client; the other looks away.

    The rankings of all keys are public: it falsifies only masks that no honest miner evaluates for itself, so that
    nothing but secret draws can find them. Caught, it is paid nothing: what an honest miner may expect is lost.
    """
    rng, checker = Random(f"{masks} {miners}"), bench.checker()
    escaped, gained, lost = 0, 0, 0
    for trial in range(trials):
        seed = _bytes("tables", trial)
        owns = [Claim(seed, _bytes("key", trial, miner), rankings, False) for miner in range(miners)]
        claims = [_estimate(m, rankings, bench.sums(seed, own.key, rankings)) for m, own in enumerate(owns)]
        honest = [_true_table(bench, own) for own in owns[2:]]
        table, forged = _forged(bench, owns[0], masks, step, rng, set().union(*honest))
        if any(_finds(bench, checker, table, known) for known in honest):
            gained -= SHAPLEY // miners
            continue
        escaped += 1
        fair = bench.pays(bench.agreement(claims, miners))
        claims[0] = replace(claims[0], sums=forged)
        got = bench.pays(bench.agreement(claims, miners))
        gained += got[-1] - fair[-1]
        lost += sum(max(0, due - paid) for due, paid in zip(fair, got, strict=True))
    return Gain(trials, escaped / trials, gained // trials, lost // trials)


def _true_table(bench: Bench, claim: Claim) -> dict[int, int]:
    clients = bench.played.clients
    keys = np.unique(prefix_keys(orders(claim.seed, claim.key, 0, claim.rankings, clients))).astype(np.int64)
    return dict(zip(keys.tolist(), bench.played.counts[keys].tolist(), strict=True))


def _forged(
    bench: Bench, claim: Claim, masks: int, step: int, rng: Random, seen: Collection[int] = ()
) -> tuple[Table, tuple[int, ...]]:
    """A table with so many false counts, none of them heavy and none of them seen by others, and its sums."""
    true = _true_table(bench, claim)
    table = decode(encode_sampled(true, bench.played.clients), bench.terms, exact=False)
    free = sorted(set(true) - set(heavy_masks(bench.played.clients)) - set(seen))
    chosen, friend = rng.sample(free, min(masks, len(free))), bench.played.clients - 1
    data = encode_sampled(true | favouring(friend, chosen, table, bench.terms, step), bench.played.clients)
    return decode(data, bench.terms, exact=False), derive(data, claim, bench.terms).sums


def _finds(bench: Bench, checker: Checker, table: Table, known: dict[int, int]) -> bool:
    """Whether a miner that has evaluated `known` finds a false mask."""
    memo = Memo(bench.played.clients)
    memo.store(list(known), np.array(list(known.values()), np.int64))
    return bool(checker.wrong_masks(table, memo, 600.0))


def detected(bench: Bench, rankings: int, share: float, step: int, trials: int) -> int:
    """In how many of so many false tables one checker without any counts of its own finds a false mask."""
    rng, checker, found = Random(f"detected {share}"), bench.checker(), 0
    for trial in range(trials):
        claim = Claim(_bytes("drawn", trial), _bytes("liar", trial), rankings, exact=False)
        masks = round(share * len(_true_table(bench, claim)))
        table, _ = _forged(bench, claim, masks, step, rng)
        found += bool(checker.wrong_masks(table, None, 600.0))
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
    game = replace(played.game, updates=tuple(updates), logits=None)
    if refused_update(Reference(game), "ab" * 32) is not None:
        return None
    return _instead(played, tuple(updates), client)


def _instead(played: Played, updates: tuple[tuple[npt.NDArray[np.float32], ...], ...], schemer: int) -> Gain:
    before = _expected(Bench(Played(replace(played.game, logits=None), played.counts)))
    game = replace(played.game, updates=updates, logits=None)
    after = _expected(Bench(play(game)))
    lost = sum(
        max(0, due - got)
        for client, (due, got) in enumerate(zip(before, after, strict=True))
        if client != schemer
    )
    return Gain(1, 1.0, after[schemer] - before[schemer], lost)


def bent_proxy(played: Played, miners: int, rankings: int, trials: int) -> tuple[Gain, Gain]:
    """A requester's proxy that calls its friend right wherever it can, and an honest one beside it.

    φ(p) + φ(u − p) is φ(u) for every p: what a bent proxy can do is noise. `had_its_way` is the standard deviation of
    the friend's pay, as a share of TrainPrice.
    """
    logits = np.array(played.game.logits)
    friend, labels = played.clients - 1, played.game.test.labels
    logits[friend] = -(2**20)
    logits[friend, np.arange(len(labels)), labels] = 2**20
    bent = replace(played, game=replace(played.game, logits=logits.astype(np.int32)))
    return _with_proxy(bent, miners, rankings, trials), _with_proxy(played, miners, rankings, trials)


def _with_proxy(played: Played, miners: int, rankings: int, trials: int) -> Gain:
    bench, paid = Bench(played), []
    mean = _expected(bench)[-1]
    for trial in range(trials):
        seed = _bytes("bent", trial)
        claims = [
            _estimate(m, rankings, bench.sums(seed, _bytes("key", trial, m), rankings)) for m in range(miners)
        ]
        paid.append(bench.pays(bench.agreement(claims, miners))[-1])
    gained = round(float(np.mean(paid))) - mean
    return Gain(trials, float(np.std(paid)) / TRAIN, gained, max(0, gained))
