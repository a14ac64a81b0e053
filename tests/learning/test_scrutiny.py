"""What updates look like: sketches keep inner products, each attack has its sign, honest clients have none."""

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fedcoin_cli.learning.scrutiny.look import Looked, look
from fedcoin_cli.learning.scrutiny.signs import Comparison, Kind, fitted, harmful, robust
from fedcoin_cli.learning.scrutiny.sketch import BUCKETS, Source, sketched

Update = dict[str, npt.NDArray[Any]]
SHAPES = {"first": (60, 20), "bias": (20,), "last": (20, 5)}


def honest(clients: int, seed: int = 0, spread: float = 1.0) -> tuple[Update, list[Update]]:
    """A start, and steps that share a direction, each with as much of its own."""
    draw = np.random.default_rng(seed)
    start = {name: draw.normal(0, 1, shape).astype(np.float32) for name, shape in SHAPES.items()}
    common = {name: draw.normal(0, 0.1, shape) for name, shape in SHAPES.items()}
    updates = [
        {
            name: (start[name] + common[name] + draw.normal(0, 0.1 * spread, shape)).astype(np.float32)
            for name, shape in SHAPES.items()
        }
        for _ in range(clients)
    ]
    return start, updates


def sources(updates: list[Update]) -> list[Source]:
    return [update.items for update in updates]


def seen(updates: list[Update], start: Update | None, **more: Any) -> Looked:
    return look(sources(updates), start, **more)


def kinds(found: Looked, client: int) -> set[Kind]:
    return {one.kind for one in found.signs if one.client == client}


def moved(start: Update, update: Update, times: float) -> Update:
    """The step of an update at another length."""
    return {name: (start[name] + times * (update[name] - start[name])).astype(np.float32) for name in start}


def noised(update: Update, start: Update, part: float) -> Update:
    draw = np.random.default_rng(99)
    length = np.sqrt(sum(((update[name] - start[name]) ** 2).sum() for name in start))
    noise = {name: draw.normal(size=one.shape) for name, one in update.items()}
    size = np.sqrt(sum((one**2).sum() for one in noise.values()))
    return {name: (update[name] + part * length / size * noise[name]).astype(np.float32) for name in update}


# Sketches ----------------------------------------------------------------------------------------------------------


def test_sketches_keep_inner_products() -> None:
    """Norms by tensor are exact, and cosines are off by about one part in the square root of the buckets."""
    draw = np.random.default_rng(1)
    shapes = {"wide": (300, 128), "narrow": (128,), "scalar": ()}
    start = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    updates = [
        {name: (start[name] + draw.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}
        for _ in range(40)
    ]
    found = sketched(sources(updates), start, 7)
    steps = np.array([np.concatenate([(one[n] - start[n]).ravel() for n in shapes]) for one in updates])
    for place, name in enumerate(shapes):
        by_hand = [np.linalg.norm(one[name] - start[name]) for one in updates]
        assert np.allclose(found.norms[:, place], by_hand, rtol=1e-5)
    units = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (steps, found.sketches)]
    off = (units[1] @ units[1].T - units[0] @ units[0].T)[np.triu_indices(40, 1)]
    assert off.std() < 1.5 / np.sqrt(BUCKETS)
    assert found.sketches.shape[1] < 1.1 * BUCKETS


def test_small_updates_are_kept_whole() -> None:
    """Where a tensor has no more weights than buckets, its inner products are exact."""
    start, updates = honest(4)
    found = sketched(sources(updates), start, 3)
    steps = np.array([np.concatenate([(one[n] - start[n]).ravel() for n in start]) for one in updates])
    assert np.allclose(found.sketches @ found.sketches.T, steps @ steps.T, rtol=1e-4)


def test_memory_is_a_model_and_the_sketches() -> None:
    """Updates are taken in one at a time: thirty of 4 MB never lie in memory together."""
    shape, clients = (1000, 1000), 30

    def source(seed: int) -> Source:
        def read() -> Iterator[tuple[str, Any]]:
            yield "only", np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)

        return read

    tracemalloc.start()
    sketched([source(number) for number in range(clients)], None, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 4_000_000


def test_other_tensors_are_refused() -> None:
    """Whose update does not fit is named: another shape, a tensor too many, one missing, one twice."""
    start, updates = honest(3)
    for wrong, words in (
        (updates[1] | {"bias": np.zeros(3, np.float32)}, "shape"),
        (updates[1] | {"more": np.zeros(3, np.float32)}, "'more'"),
        ({"first": updates[1]["first"], "bias": updates[1]["bias"]}, "'last' is missing"),
    ):
        for origin in (start, None):
            with pytest.raises(ValueError, match=r"^client 2: .*" + words):
                seen([updates[0], wrong, updates[2]], origin)
    twice: Source = lambda: [*updates[1].items(), *updates[1].items()]  # noqa: E731
    with pytest.raises(ValueError, match="twice"):
        look([updates[0].items, twice], start)


# Signs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clients", [1, 2, 3, 5, 12, 60])
@pytest.mark.parametrize("known", [True, False])
def test_honest_clients_have_no_sign(clients: int, known: bool) -> None:
    """Nobody is suspected among clients of one kind, however many there are."""
    for seed in range(5):
        start, updates = honest(clients, seed)
        found = seen(updates, start if known else None, examples=[100 + number for number in range(clients)])
        assert found.signs == ()


ATTACKS: dict[str, tuple[Callable[[Update, list[Update]], Update], Kind]] = {
    "copy": (lambda _, others: others[2], Kind.copy),
    "scaled": (lambda start, others: moved(start, others[2], 3), Kind.scaled),
    "mirrored": (lambda start, others: moved(start, others[2], -0.7), Kind.mirrored),
    "noised": (lambda start, others: noised(others[2], start, 0.1), Kind.near),
    "untouched": (lambda start, _: start, Kind.untouched),
    "echo": (
        lambda start, others: {name: np.mean([one[name] for one in others], axis=0) for name in start},
        Kind.echo,
    ),
    "against": (lambda start, others: moved(start, honest(1, 5)[1][0] | others[0], -1), Kind.against),
    "noise": (lambda start, others: noised(start, moved(start, others[0], -1), 0.5), Kind.adrift),
    "long": (lambda start, others: moved(start, noised(others[0], start, 1), 10), Kind.long),
    "short": (lambda start, others: moved(start, noised(others[0], start, 1), 0.05), Kind.short),
    "tensor": (
        lambda start, others: noised(others[0], start, 1) | {"last": moved(start, others[0], 8)["last"]},
        Kind.layer,
    ),
    "still": (lambda start, others: noised(others[0], start, 1) | {"last": start["last"]}, Kind.still),
    "nan": (lambda _, others: others[0] | {"bias": np.full(20, np.nan, np.float32)}, Kind.not_finite),
    "infinite": (lambda _, others: others[0] | {"bias": np.full(20, -np.inf, np.float32)}, Kind.not_finite),
    "huge": (lambda _, others: others[0] | {"bias": np.full(20, -3e30, np.float32)}, Kind.huge),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("place", [0, 9])
def test_each_attack_has_its_sign(attack: str, place: int) -> None:
    """Whoever attacks is told by the sign that is meant, wherever it stands; others have none but as its pair."""
    start, others = honest(11)
    make, kind = ATTACKS[attack]
    updates = [*others[:place], make(start, others), *others[place:]]
    found = seen(updates, start)
    assert any(one.kind is kind and place in {one.client, one.other} for one in found.signs), found.signs
    assert all(place in {one.client, one.other} for one in found.signs), found.signs


def test_updates_without_numbers_spoil_nobody_else() -> None:
    """Measures of the others are as without them; their own are unknown."""
    start, updates = honest(8)
    broken = {name: np.full(shape, np.nan, np.float32) for name, shape in SHAPES.items()}
    alone, beside = seen(updates, start), seen([*updates, broken], start)
    assert np.array_equal(beside.measures.alignment[:8], alone.measures.alignment)
    assert np.isnan(beside.measures.length[8])
    assert beside.measures.nearest[8] == -1
    only = seen([broken, broken], start)
    assert [one.kind for one in only.signs] == [Kind.not_finite] * 2


@pytest.mark.parametrize("known", [True, False])
def test_all_updates_equal(known: bool) -> None:
    """All but the first are copies of the first, whether or not anybody knows the start; nothing divides by zero."""
    start, updates = honest(1)
    found = seen([updates[0]] * 7, start if known else None)
    assert [(one.client, one.kind, one.other) for one in found.signs] == [
        (client, Kind.copy, 0) for client in range(1, 7)
    ]
    idle = seen([start] * 6, start)
    assert {one.kind for one in idle.signs} == {Kind.copy, Kind.untouched}


def test_equal_sketches_are_read_again() -> None:
    """Two updates that only a sketch cannot tell apart are no exact copies."""
    start, updates = honest(6)
    rounded = {name: one.copy() for name, one in updates[0].items()}
    rounded["first"][0, 0] = np.nextafter(rounded["first"][0, 0], np.float32(9))
    found = seen([*updates, rounded], start)
    assert [one.kind for one in found.signs] == [Kind.near]


def test_a_mirror_needs_the_start() -> None:
    """About a mean, the two clients of a pair are opposite by themselves: that is no sign."""
    _, updates = honest(2)
    assert seen(updates, None).signs == ()


def test_a_thousand_clients() -> None:
    """A copy is found among a thousand, and only it."""
    start, updates = honest(1000)
    updates[700] = updates[20]
    found = seen(updates, start, examples=[100] * 1000)
    assert [(one.client, one.other) for one in found.signs if one.kind is Kind.copy] == [(700, 20)]
    assert {one.client for one in found.signs} == {700}


def test_claimed_examples() -> None:
    """Ten times the others' count is told, and one that the step's length contradicts; too few harm nobody."""
    start, updates = honest(12)
    assert kinds(seen(updates, start, examples=[1000, *[100] * 11]), 0) == {Kind.claim}
    assert seen(updates, start, examples=[1, *[100] * 11]).signs == ()
    counts = [100 * 2 ** (number % 4) for number in range(12)]
    longer = [moved(start, one, count / 100) for one, count in zip(updates, counts, strict=True)]
    assert seen(longer, start, examples=counts).signs == ()
    assert kinds(seen(longer, start, examples=[800, *counts[1:]]), 0) == {Kind.misfit}


def test_values_below_nothing() -> None:
    """Only a value that two standard errors do not lift to zero is told."""
    found = list(harmful([1.0, -1.0, -1.0, 0.0], [0.1, 0.4, 0.6, 0.0]))
    assert [(one.client, one.kind) for one in found] == [(1, Kind.harmful)]


def test_robust_statistics() -> None:
    """Median and deviation bear nearly half of wild values; a line is fitted only where points rise together."""
    values = np.array([1.0, 2.0, 3.0, 1e9, -1e9])
    assert robust(values) == (2.0, 1.4826)
    across = np.arange(9.0)
    line = fitted(across, 2 * across + 1 + np.array([0, 0, 0, 50, 0, 0, 0, 0, 0]))
    assert line == (2.0, 1.0)
    assert fitted(across, -across) is None
    assert fitted(np.zeros(9), across) is None


def test_measures_are_what_they_say() -> None:
    """Length, cosine and distance against plain NumPy on small updates, whose sketches are exact."""
    start, updates = honest(6)
    found = Comparison(sketched(sources(updates), start, 0), known=True).measures()
    steps = np.array([np.concatenate([(one[n] - start[n]).ravel() for n in start]) for one in updates], float)
    lengths = np.linalg.norm(steps, axis=1)
    assert np.allclose(found.length, lengths / np.median(lengths), rtol=1e-4)
    others = (steps.sum(axis=0) - steps) / 5
    cosines = (steps * others).sum(axis=1) / lengths / np.linalg.norm(others, axis=1)
    assert np.allclose(found.alignment, cosines, atol=1e-4)
    apart = np.linalg.norm(steps - others, axis=1)
    assert np.allclose(found.distance, apart / np.median(apart), rtol=1e-4)
