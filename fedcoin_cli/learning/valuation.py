"""Shapley values of updates without any ledger: the same counts and the same estimator as a miner's, in one call.

Values are exact where counting all coalitions fits into the time, else sampled along the rankings that a miner would
derive; then they come with standard errors. Nothing is written, nothing signed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256
from math import inf, nan
from typing import Final

from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.contract.metric import read_metric
from fedcoin_cli.learning.coalitions.exact import MAX_EXACT_CLIENTS
from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.engines.choice import engine_for, enumeration_for, walker_for
from fedcoin_cli.learning.exchange.description import asked_metric
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.metrics.choice import scorer_of
from fedcoin_cli.learning.model.weights import Weights
from fedcoin_cli.learning.reference.referee import prepared
from fedcoin_cli.learning.shapley.attribution import test_set_error
from fedcoin_cli.learning.shapley.sampling import Estimator, MinedEstimate, MiningPlan, MiningSession, Stakes
from fedcoin_cli.learning.shapley.semivalues import Method, Semivalues, left_out, of_tables
from fedcoin_cli.learning.shapley.table import TableTerms
from fedcoin_cli.learning.task_game import nobody_is_worth
from ledger_store.base.errors import SettingsError
from ledger_store.transaction import CHANCE, ZERO, exact_denominator

BLOCK_IMAGES: Final = 16
"""Test images a block, as `task.block-images` has it."""
LEAST_RANKINGS, MOST_RANKINGS = 2, grid_up_to(10_000)
_SLICE_S: Final = 0.5
_MICRO: Final = 10**6


@dataclass(frozen=True, slots=True)
class ShapleyValues:
    """What each client's update adds to what the joint model is worth, in percentage points, in the clients' order.

    A point is a hundredth of what a perfect model is worth: one percent of accuracy, 0.01 of an AUROC.

    It unpacks as `values, errors = …`.

    Attributes:
        fractions: the values as exact fractions; they sum to what the joint model of all is worth, less what nobody is.
        errors: standard errors of counting only some coalitions, in percentage points; 0.0 where `exact`. More seconds
            make them smaller.
        test_errors: standard errors from the test set's size; only more test images make them smaller. NaN where one
            image or block cannot tell.
        exact: whether all coalitions were counted.
        rankings: how many orders of the clients each block of test images walked; 0 where `exact`.
        images: how many test images there are.
        nobody: what the empty coalition is worth, in percentage points.
        metric: what the models were judged by.
    """

    fractions: tuple[Fraction, ...]
    errors: tuple[float, ...]
    test_errors: tuple[float, ...]
    exact: bool
    rankings: int
    images: int
    nobody: Fraction = Fraction(0)
    metric: str = "accuracy"

    @property
    def together(self) -> str:
        """What the joint model of all is worth, in the metric's own unit."""
        return read_metric(self.metric).natural((self.nobody + sum(self.fractions)) / 100)

    @property
    def values(self) -> tuple[float, ...]:
        """The values as floats."""
        return tuple(map(float, self.fractions))

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        """Values, then errors."""
        yield self.values
        yield self.errors


@dataclass(frozen=True, slots=True)
class How:
    """How to value: seconds at most, exactly (None: where that fits) or by so many rankings; cores, seed of draws."""

    seconds: float = 15.0
    exact: bool | None = None
    rankings: int | None = None
    seed: int = 0
    threads: int = 0


def value(game: Game, how: How) -> ShapleyValues:
    """The values of a game's clients.

    Raises:
        SettingsError: what is asked for cannot be had.
        MissingPart: Keras counts this model, and is not installed.
    """
    mined, _, _ = _mined(game, how)
    return _values(game, mined, scorer_of(game).whole)


def semivalues(game: Game, how: How, methods: Sequence[Method]) -> tuple[Semivalues, ...]:
    """Values by several methods, Shapley's and Banzhaf's of one table; leave-one-out is always counted exactly.

    Raises:
        SettingsError: what is asked for cannot be had.
        MissingPart: Keras counts this model, and is not installed.
    """
    found: dict[Method, Semivalues] = {}
    if Method.loo in methods:
        engine = engine_for(game, None, how.threads)
        found[Method.loo] = left_out(engine, game.clients, scorer_of(game).whole)
    if found.keys() != set(methods):
        mined, plan, terms = _mined(game, how)
        tables = [(plan.claim(mined.rankings, exact=mined.exact), mined.table)]
        found |= {one: of_tables(tables, terms, one) for one in methods if one is not Method.loo}
    return tuple(found[one] for one in methods)


def _mined(game: Game, how: How) -> tuple[MinedEstimate, MiningPlan, TableTerms]:
    """An estimate as a miner makes it, and what its table is read against."""
    plan = _plan(game, how)
    blocks = partition(game.test.strata, BLOCK_IMAGES if game.metric.sums else game.images, plan.seed)
    scorer, above_zero = scorer_of(game), game.baseline is not None or game.chance
    sizes = scorer.wholes([blocks.block(number) for number in range(len(blocks))])
    terms = TableTerms.holding(game.clients, sizes, game.empty, baseline=above_zero)
    ready = prepared(game)
    enumeration = None
    if plan.estimator != "balanced":
        enumeration = enumeration_for(game, lambda: engine_for(game, ready, how.threads), ready, how.threads)
    session = MiningSession(walker_for(game, blocks, ready, how.threads), enumeration, terms, plan)
    while not session.advance(_SLICE_S).finished:
        pass
    return session.estimate(), plan, terms


def _plan(game: Game, how: How) -> MiningPlan:
    if how.exact and game.clients > MAX_EXACT_CLIENTS:
        message = f"exact values of {game.clients} clients: 2^{game.clients} coalitions are too many"
        hint = f"leave exact out: values are sampled, with errors; exact ones go up to {MAX_EXACT_CLIENTS} clients"
        raise SettingsError(message, where="exact", hint=hint)
    if how.exact and how.rankings is not None:
        raise SettingsError("exact values walk no rankings", where="rankings", hint="leave one of them out")
    if how.rankings is not None and how.rankings < LEAST_RANKINGS:
        message = f"{how.rankings} rankings tell no error"
        raise SettingsError(message, where="rankings", hint=f"give {LEAST_RANKINGS} or more, or leave it out")
    if not how.seconds >= 0:
        raise SettingsError(f"{how.seconds} seconds", where="seconds", hint="give 0 or more")
    estimator: Estimator = "auto"
    if how.rankings is not None or how.exact is not None:
        estimator = "exact" if how.exact else "balanced"
    least, most = LEAST_RANKINGS, MOST_RANKINGS
    if how.rankings is not None:
        least = most = grid_up_to(how.rankings)
    seconds = inf if how.exact else how.seconds
    seed, key = (_drawn(how.seed, what) for what in ("seed", "key"))
    return MiningPlan(seed, key, least, most, seconds, estimator, Stakes(_MICRO))


def _drawn(seed: int, what: str) -> bytes:
    return sha256(f"fedcoin/v1/valuation/{what}/{seed}".encode()).digest()


def judged(game: Game, metric: str, baseline: str | Weights) -> Game:
    """The same game judged by a metric, against zero, chance or the model of some weights.

    Raises:
        SettingsError: there is no such metric or baseline.
        RoundFilesInvalid: the metric does not fit.
    """
    by = asked_metric(metric)
    if isinstance(baseline, str) and baseline not in {ZERO, CHANCE}:
        message, hint = f"no baseline {baseline!r}", "zero, chance, or weights as those of an update"
        raise SettingsError(message, where="baseline", hint=hint)
    named = None if isinstance(baseline, str) else baseline
    found = replace(game, metric=by, chance=named is None and baseline == CHANCE, baseline=named)
    return replace(found, empty=nobody_is_worth(found)[1])


def _values(game: Game, mined: MinedEstimate, most: int) -> ShapleyValues:
    whole = (exact_denominator(game.clients) if mined.exact else mined.rankings) * most
    if mined.exact:
        errors, test_errors = (0.0,) * game.clients, _test_errors(game, mined)
    else:
        assert mined.precision is not None, "two rankings tell an error"
        errors, test_errors = mined.precision.values_pp, mined.precision.images_pp
    return ShapleyValues(
        fractions=tuple(Fraction(100 * total, whole) for total in mined.sums),
        errors=errors,
        test_errors=test_errors,
        exact=mined.exact,
        rankings=0 if mined.exact else mined.rankings,
        images=game.images,
        nobody=Fraction(100 * game.empty, most),
        metric=game.metric.text,
    )


def _test_errors(game: Game, mined: MinedEstimate) -> tuple[float, ...]:
    scale = exact_denominator(game.clients)
    found = test_set_error(game, [total / scale for total in mined.sums], _MICRO)
    return (nan,) * game.clients if found is None else found.images_pp
