"""From the miners' exact integer sums to the agreed average: who counts, who is near it, who is nearest.

Every number is an integer and every comparison exact: distances are fractions compared by multiplying across,
so all voters find the same winner. K is the number of clients, M what a perfect model is worth, D the difficulty. Where
the sums come from (rankings, tables, utilities) does not live here, nor what they earn (`incentive.payment`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger_store.base.errors import Malformed
from ledger_store.base.names import Address
from ledger_store.transaction import Reveal, exact_denominator

# D is in 10⁻⁶ percentage points and distances are in units of M; one is 10⁸/M of D's units.
_DIFFICULTY_UNITS = 10**8


@dataclass(frozen=True, slots=True)
class Terms:
    """What a task and its network fix: K, M, D in 10⁻⁶ percentage points, and f, how many miners may lie."""

    clients: int
    """K."""
    whole: int
    """M: D is a share of it."""
    difficulty_micro: int
    """D in millionths of a percentage point."""
    faults: int
    """f: more exact estimates than that push out the sampled ones."""


@dataclass(frozen=True, slots=True)
class Distance:
    """The squared distance of a miner's estimate to the average: `numerator / denominator` of M's units squared."""

    miner: Address
    """Whose estimate it is."""
    numerator: int
    """In images squared, over the denominator; not reduced, so that all write the same."""
    denominator: int
    """At least 1."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What follows from the estimates; miners stand in the order in which the estimates were given.

    exact:       only exact estimates count
    numerators:  S̄_j times `denominator`, one a client
    distances:   one for each miner whose estimate makes the average
    within:      those of them at a distance of at most D
    nearest:     the winner, or all that tie for it; within D unless nobody is
    """

    exact: bool
    numerators: tuple[int, ...]
    denominator: int
    distances: tuple[Distance, ...]
    within: tuple[Address, ...]
    nearest: tuple[Address, ...]

    @property
    def counted(self) -> tuple[Address, ...]:
        """The miners whose estimates make the average."""
        return tuple(distance.miner for distance in self.distances)

    @property
    def weights(self) -> tuple[int, ...]:
        """Pay weights, one a client: a client whose value is not positive earns nothing.

        By efficiency the values sum to u(full) − u(∅): where that is not positive nothing was gained, and nobody earns.
        [P-9.10]
        """
        gained = sum(self.numerators) > 0
        return tuple(max(0, numerator) if gained else 0 for numerator in self.numerators)


def agree(estimates: Sequence[Reveal], terms: Terms) -> Agreement:
    """Average the verified estimates of an attempt, given in roster order; find who is within D and nearest.

    With at least f + 1 exact estimates only these count, and those within D tie with each other. Otherwise all count,
    weighted by t. Without any estimate nobody counts and every value is 0.
    Raises `Malformed` when there are not K values everywhere, one claims no ranking, or a miner comes twice. [P-9.2]
    """
    _check_shapes(estimates, terms.clients)
    exact = [estimate for estimate in estimates if estimate.exact]
    if len(exact) > terms.faults:
        return _agree_exact(exact, terms)
    if estimates:
        return _agree_weighted(estimates, terms)
    return Agreement(False, (0,) * terms.clients, 1, (), (), ())


def _agree_exact(estimates: Sequence[Reveal], terms: Terms) -> Agreement:
    """S̄_j = ΣE_j / (Λ·X) over X exact estimates. Honest ones differ by borderline images only: they tie.

    [P-9.3] [P-9.5]
    """
    totals = _totals([estimate.sums for estimate in estimates])
    scale = exact_denominator(terms.clients)
    distances = tuple(
        _distance(estimate.miner, estimate.sums, 1, totals, len(estimates), scale) for estimate in estimates
    )
    within = _within(distances, terms)
    nearest = within or tuple(distance.miner for distance in distances)
    return Agreement(True, totals, scale * len(estimates), distances, within, nearest)


def _agree_weighted(estimates: Sequence[Reveal], terms: Terms) -> Agreement:
    """S̄_j = Σ t·v_j / T over the miners' values v and their t; T is the sum of the t (docs/adr/0033) [P-9.3]."""
    # Values times t on one denominator: Λ where an exact estimate is among them, else 1.
    scale = exact_denominator(terms.clients) if any(estimate.exact for estimate in estimates) else 1
    factors = [estimate.rankings if estimate.exact else scale for estimate in estimates]
    vectors = [
        tuple(factor * value for value in estimate.sums)
        for factor, estimate in zip(factors, estimates, strict=True)
    ]
    totals, rankings = _totals(vectors), sum(estimate.rankings for estimate in estimates)
    distances = tuple(
        _distance(estimate.miner, vector, estimate.rankings, totals, rankings, scale)
        for estimate, vector in zip(estimates, vectors, strict=True)
    )
    within, nearest = _within(distances, terms), _least(distances)
    return Agreement(False, totals, scale * rankings, distances, within, nearest)


def _distance(
    miner: Address, vector: Sequence[int], count: int, totals: Sequence[int], total_count: int, scale: int
) -> Distance:
    """Σ_j (vector_j/(scale·count) − totals_j/(scale·total_count))², on the common denominator [P-9.4]."""
    differences = (own * total_count - whole * count for own, whole in zip(vector, totals, strict=True))
    return Distance(miner, sum(step * step for step in differences), (scale * count * total_count) ** 2)


# Rule [P-9.4].
def _within(distances: Sequence[Distance], terms: Terms) -> tuple[Address, ...]:
    allowed = (terms.difficulty_micro * terms.whole) ** 2
    units = _DIFFICULTY_UNITS**2
    return tuple(item.miner for item in distances if units * item.numerator <= allowed * item.denominator)


def _least(distances: Sequence[Distance]) -> tuple[Address, ...]:
    """All miners to whom nobody is strictly nearer [P-9.5]."""
    return tuple(
        item.miner
        for item in distances
        if all(
            item.numerator * other.denominator <= other.numerator * item.denominator for other in distances
        )
    )


def _totals(vectors: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip(*vectors, strict=True))


def _check_shapes(estimates: Sequence[Reveal], clients: int) -> None:
    for estimate in estimates:
        if estimate.rankings < 1:
            raise Malformed("an estimate walks at least one ranking", where=estimate.miner)
        if len(estimate.sums) != clients:
            raise Malformed(f"an estimate does not hold {clients} values", where=estimate.miner)
    if len({estimate.miner for estimate in estimates}) != len(estimates):
        raise Malformed("a miner counts once")
