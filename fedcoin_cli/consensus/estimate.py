"""From the miners' exact integer sums to the agreed average: who counts, who is near it, who is nearest.

Every number is an integer and every comparison exact: distances are fractions compared by multiplying across,
so all voters find the same winner. K is the number of clients, n of test images, D the difficulty. Where the
sums come from (rankings, tables, utilities) does not live here, nor what they earn (`incentive.payment`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm

from ledger_store.errors import Malformed

# D is in 10⁻⁶ percentage points and distances are in images; an image is 10⁸/n of D's units.
_DIFFICULTY_UNITS = 10**8


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one miner revealed.

    `sums` are N_j, the marginals of u − p (images) summed over the miner's first `rankings` rankings;
    `values` are E_j = Λ·φ_j(u) of an exact estimate, else None. Raises `Malformed` when the parts contradict.
    """

    miner: str
    rankings: int
    exact: bool
    sums: tuple[int, ...]
    values: tuple[int, ...] | None

    def __post_init__(self) -> None:
        if self.rankings < 1:
            raise Malformed("an estimate walks at least one ranking", where=self.miner)
        if self.exact != (self.values is not None):
            raise Malformed("an estimate holds exact values if and only if it is exact", where=self.miner)


@dataclass(frozen=True, slots=True)
class ProxySums:
    """P_j over `denominator` Λ_P: Shapley values of the proxy p in images. Raises `Malformed` if Λ_P < 1."""

    sums: tuple[int, ...]
    denominator: int

    def __post_init__(self) -> None:
        if self.denominator < 1:
            raise Malformed("the proxy's denominator must be positive")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a task and its network fix: K, n, D in 10⁻⁶ percentage points, and f, how many miners may lie."""

    clients: int
    images: int
    difficulty_micro: int
    faults: int


@dataclass(frozen=True, slots=True)
class Distance:
    """The squared distance of a miner's estimate to the average: `numerator / denominator` images²."""

    miner: str
    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """What follows from the estimates; miners stand in the order in which the estimates were given.

    exact:       only exact estimates count
    numerators:  S̄_j in images times `denominator`, one a client
    distances:   one for each miner whose estimate makes the average
    within:      those of them at a distance of at most D
    nearest:     the winner, or all that tie for it; within D unless nobody is
    """

    exact: bool
    numerators: tuple[int, ...]
    denominator: int
    distances: tuple[Distance, ...]
    within: tuple[str, ...]
    nearest: tuple[str, ...]

    @property
    def counted(self) -> tuple[str, ...]:
        """The miners whose estimates make the average."""
        return tuple(distance.miner for distance in self.distances)

    @property
    def weights(self) -> tuple[int, ...]:
        """Pay weights, one a client: a client whose value is not positive earns nothing.

        By efficiency the values sum to u(full) − u(∅): where that is not positive nothing was gained, and nobody earns.
        """
        gained = sum(self.numerators) > 0
        return tuple(max(0, numerator) if gained else 0 for numerator in self.numerators)


def no_proxy(clients: int) -> ProxySums:
    """The sums that stand for an absent proxy: p is u(∅) everywhere, so its values are 0."""
    return ProxySums((0,) * clients, 1)


def exact_denominator(clients: int) -> int:
    """Λ = lcm(1..K): times Λ, every exact Shapley value of an integer utility is an integer."""
    return lcm(*range(1, clients + 1))


def check_sums(estimate: Estimate, gain: int, proxy_gain: int) -> bool:
    """Whether an estimate distributes exactly what there is to distribute (efficiency).

    `gain` is u(full) − u(∅) in images by the miner's own table; `proxy_gain` p(full) − p(∅), 0 without proxy.
    """
    walked = sum(estimate.sums) == estimate.rankings * (gain - proxy_gain)
    if estimate.values is None:
        return walked
    return walked and sum(estimate.values) == exact_denominator(len(estimate.values)) * gain


def agree(estimates: Sequence[Estimate], proxy: ProxySums, terms: Terms) -> Agreement:
    """Average the verified estimates of an attempt, given in roster order; find who is within D and nearest.

    With at least f + 1 exact estimates only these count, and those within D tie with each other. Otherwise
    all count by their N_j, weighted by t. Without any estimate nobody counts and every value is 0.
    Raises `Malformed` when there are not K values everywhere or a miner comes twice.
    """
    _check_shapes(estimates, proxy, terms.clients)
    exact = [estimate for estimate in estimates if estimate.exact]
    if len(exact) > terms.faults:
        return _agree_exact(exact, terms)
    if estimates:
        return _agree_sampled(estimates, proxy, terms)
    return Agreement(False, (0,) * terms.clients, 1, (), (), ())


def _agree_exact(estimates: Sequence[Estimate], terms: Terms) -> Agreement:
    """S̄_j = ΣE_j / (Λ·X) over X exact estimates. Honest ones differ by borderline images only: they tie."""
    vectors = [estimate.values or () for estimate in estimates]
    totals = _totals(vectors)
    scale = exact_denominator(terms.clients)
    distances = tuple(
        _distance(estimate.miner, vector, 1, totals, len(estimates), scale)
        for estimate, vector in zip(estimates, vectors, strict=True)
    )
    within = _within(distances, terms)
    nearest = within or tuple(distance.miner for distance in distances)
    return Agreement(True, totals, scale * len(estimates), distances, within, nearest)


def _agree_sampled(estimates: Sequence[Estimate], proxy: ProxySums, terms: Terms) -> Agreement:
    """S̄_j = P_j / Λ_P + N_j / T, N and T summed over the miners; common to all, P cancels in distances."""
    totals = _totals([estimate.sums for estimate in estimates])
    rankings = sum(estimate.rankings for estimate in estimates)
    numerators = tuple(
        rankings * public + proxy.denominator * own for public, own in zip(proxy.sums, totals, strict=True)
    )
    distances = tuple(
        _distance(estimate.miner, estimate.sums, estimate.rankings, totals, rankings, 1)
        for estimate in estimates
    )
    within, nearest = _within(distances, terms), _least(distances)
    return Agreement(False, numerators, proxy.denominator * rankings, distances, within, nearest)


def _distance(
    miner: str, vector: Sequence[int], count: int, totals: Sequence[int], total_count: int, scale: int
) -> Distance:
    """Σ_j (vector_j/(scale·count) − totals_j/(scale·total_count))², on the common denominator."""
    differences = (own * total_count - whole * count for own, whole in zip(vector, totals, strict=True))
    return Distance(miner, sum(step * step for step in differences), (scale * count * total_count) ** 2)


def _within(distances: Sequence[Distance], terms: Terms) -> tuple[str, ...]:
    allowed = (terms.difficulty_micro * terms.images) ** 2
    units = _DIFFICULTY_UNITS**2
    return tuple(item.miner for item in distances if units * item.numerator <= allowed * item.denominator)


def _least(distances: Sequence[Distance]) -> tuple[str, ...]:
    """All miners to whom nobody is strictly nearer."""
    return tuple(
        item.miner
        for item in distances
        if all(
            item.numerator * other.denominator <= other.numerator * item.denominator for other in distances
        )
    )


def _totals(vectors: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(sum(column) for column in zip(*vectors, strict=True))


def _check_shapes(estimates: Sequence[Estimate], proxy: ProxySums, clients: int) -> None:
    if len(proxy.sums) != clients:
        raise Malformed(f"the proxy's sums are {len(proxy.sums)} values for {clients} clients")
    for estimate in estimates:
        lengths = {len(estimate.sums), clients if estimate.values is None else len(estimate.values)}
        if lengths != {clients}:
            raise Malformed(f"an estimate does not hold {clients} values", where=estimate.miner)
    if len({estimate.miner for estimate in estimates}) != len(estimates):
        raise Malformed("a miner counts once")
