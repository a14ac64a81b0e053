from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from chains import ChainMaker

from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.game.game import Game, member_bits
from fedcoin_cli.learning.model.model import Dense, ModelSpec
from fedcoin_cli.learning.model.weights import TestSet, Weights
from fedcoin_cli.learning.reference import forward, update_admission
from fedcoin_cli.learning.reference import reference as intervals
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.reference.update_admission import Inspection, admission_masks, refused_update
from fedcoin_cli.learning.task_game import refused_terms

TASK = "5a" * 32
DEEP = ModelSpec(
    (3, 3),
    (
        Dense(9, 8, "tanh", use_bias=False),
        Dense(8, 7, "sigmoid", use_bias=True),
        Dense(7, 5, "relu", use_bias=False),
        Dense(5, 4, "linear", use_bias=True),
    ),
)
SINGLE = ModelSpec((9,), (Dense(9, 4, "linear", use_bias=True),))

Make = Callable[..., Game]


def plain_count(game: Game, mask: int) -> int:
    """Average the members' weights, run the averaged model, take the argmax: nothing clever, in float64."""
    shares = [weight if mask >> client & 1 else 0 for client, weight in enumerate(game.weights)]
    averaged = [
        np.average(np.array(tensors, float), axis=0, weights=shares)
        for tensors in zip(*game.updates, strict=True)
    ]
    values = game.test.images.reshape(game.images, -1).astype(float)
    values = values / 255 if game.test.images.dtype == np.uint8 else values
    for layer in game.chain.layers:
        values = values @ averaged.pop(0) + (averaged.pop(0) if layer.use_bias else 0)
        match layer.activation:
            case "relu":
                values = np.maximum(values, 0)
            case "tanh":
                values = np.tanh(values)
            case "sigmoid":
                values = 1 / (1 + np.exp(-values))
    return int((values.argmax(axis=1) == game.test.labels).sum())


def with_update(game: Game, client: int, update: Weights) -> Game:
    updates = list(game.updates)
    updates[client] = update
    return replace(game, updates=tuple(updates))


def scaled(update: Weights, factor: float) -> Weights:
    return tuple((factor * weight).astype(np.float32) for weight in update)


def test_member_bits_beyond_a_word() -> None:
    """Client j is bit j, also above 64 clients [P-1.15]."""
    assert member_bits([1 << 69 | 2], 70)[0].nonzero()[0].tolist() == [1, 69]


@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (5, 1, 70, 2_000_000_000)])
@pytest.mark.parametrize("model", ["seed", "deep", "single"])
def test_counts_are_those_of_the_averaged_model(
    model: str, weights: tuple[int, ...], make_game: Make, spec: ModelSpec
) -> None:
    """For every coalition the reference counts what the model with averaged weights labels correctly.

    [P-6.1] [P-6.2]
    """
    game = make_game(4, weights=weights, model={"seed": spec, "deep": DEEP, "single": SINGLE}[model])
    bounds = Reference(game).intervals(range(1, 16))
    assert [bound.count for bound in bounds] == [plain_count(game, mask) for mask in range(1, 16)]
    assert all(bound.lo <= bound.count <= bound.hi for bound in bounds)


def test_uint8_pixels_mean_255ths(make_game: Make) -> None:
    """A uint8 test set is judged as x/255 [P-12.3]."""
    game = make_game(3)
    pixels = np.random.default_rng(0).integers(0, 256, game.test.images.shape).astype(np.uint8)
    game = replace(game, test=TestSet(pixels, game.test.labels))
    assert Reference(game).count(5) == plain_count(game, 5)


@pytest.mark.parametrize("dark", [0, 1, 6, 9])
@pytest.mark.parametrize("share", [None, 2.0])
def test_values_that_are_dark_in_a_whole_chunk_change_nothing(
    dark: int, share: float | None, make_game: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First pre-activations are the plain products, whichever values are 0 in all images of a label, or all are."""
    if share is not None:  # leave out wherever there is one
        monkeypatch.setattr(forward, "_WORTH_LEAVING_OUT", share)
    game = make_game(3, model=DEEP)
    for label in range(game.chain.classes):
        # Other places for each label, so that chunks differ in what they leave out.
        places = (np.arange(dark) + 2 * label) % 9
        game.test.images.reshape(-1, 9)[np.ix_(game.test.labels == label, places)] = 0
    first = forward.FirstLayer(game)
    for number, (_, positions) in enumerate(first.chunks):
        values = game.test.images[positions].reshape(-1, 9).astype(float)
        plain = [(values @ update[0].astype(float)).T for update in game.updates]
        np.testing.assert_allclose(first.block(number), plain, rtol=1e-12, atol=1e-12)


def test_memory_bound_changes_nothing(make_game: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that are recomputed instead of kept, of one image each, and other batches, give the same intervals."""
    game = make_game(5, 700)
    kept = Reference(game).intervals(range(1, 32))
    monkeypatch.setattr(forward, "MAX_CACHED_BYTES", 0)
    assert Reference(game).intervals(range(1, 32)) == kept
    monkeypatch.setattr(forward, "MAX_CHUNK_BYTES", 0)
    assert len(Reference(game).first.chunks) == game.images
    assert Reference(game).intervals(range(1, 32)) == kept
    assert [Reference(game).interval(mask) for mask in (1, 30)] == [
        (kept[0].lo, kept[0].hi),
        (kept[29].lo, kept[29].hi),
    ]


@pytest.mark.parametrize("model", [DEEP, SINGLE, None], ids=["deep", "single", "usual"])
@pytest.mark.parametrize("factor", [0.0, 1.0, 1e3, 1e12, 1e35], ids=str)
def test_the_ceiling_changes_nothing(
    model: ModelSpec | None, factor: float, make_game: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounds of its own for every logit, or only for those that lie near each other: the same intervals."""
    game = make_game(5, 300) if model is None else make_game(5, 300, model=model)
    huge = scaled(game.updates[2], factor)
    against = tuple((own - big).astype(np.float32) for own, big in zip(game.updates[4], huge, strict=True))
    game = with_update(with_update(game, 2, huge), 4, against)
    few = Reference(game).intervals(range(1, 32), 2)
    monkeypatch.setattr(intervals, "_CEILING_SLACK", np.inf)
    assert Reference(game).intervals(range(1, 32), 2) == few


@pytest.mark.parametrize("factor", [1.0, 1e3, 1e9], ids=str)
@pytest.mark.parametrize("model", [DEEP, None], ids=["deep", "usual"])
def test_the_ceiling_is_above_all_bounds(model: ModelSpec | None, factor: float, make_game: Make) -> None:
    """Of no coalition and no image is a bound above the ceiling, whatever one update is multiplied by."""
    game = make_game(5, 300) if model is None else make_game(5, 300, model=model)
    judge = Reference(with_update(game, 2, scaled(game.updates[2], factor)))
    shares = judge.game.shares(range(1, 32))
    for part in judge._parts(0):
        mixed, absolute = (np.tensordot(shares, each, 1) for each in (part.values, np.abs(part.values)))
        _, bounds = judge._through(judge._clients, shares, mixed, absolute, part.lengths)
        assert (bounds <= part.ceiling).all()


def test_exact_ties_go_to_the_lowest_class(make_game: Make) -> None:
    """Where all logits are exactly zero the lowest class is chosen, by every engine: the interval is one number.

    [P-6.2]
    """
    game = make_game(2)
    zero = scaled(game.updates[0], 0)
    bound = Reference(with_update(game, 0, zero)).intervals([1])[0]
    right = (game.test.labels == 0).sum()
    assert (bound.lo, bound.count, bound.hi) == (right, right, right)


def nearly_tied(game: Game) -> Game:
    """Two classes of all updates nearly the same: rounding decides many images."""
    updates = []
    for number, update in enumerate(game.updates):
        *below, kernel, bias = (weights.copy() for weights in update)
        kernel[:, 1] = kernel[:, 0] + np.float32(3e-7) * (1 + number)
        bias[1] = bias[0]
        updates.append((*below, kernel, bias))
    return replace(game, updates=tuple(updates))


@pytest.mark.parametrize("model", [DEEP, SINGLE, None], ids=["deep", "single", "usual"])
@pytest.mark.parametrize("size", [1, 7, 16, 255])
def test_blocks_add_up_to_all_images(size: int, model: ModelSpec | None, make_game: Make) -> None:
    """lo, count and hi of the blocks, each of mixed labels, are together those of all images, at ε and at 2ε."""
    game = make_game(5, 150) if model is None else make_game(5, 150, model=model)
    reference = Reference(nearly_tied(game))
    blocks = partition(game.test.labels, size, bytes(32))
    members = member_bits(range(1, 32), 5)
    for factor in (1, 2):
        sums = sum(
            reference.block_intervals(blocks.block(number), members, factor) for number in range(len(blocks))
        )
        whole = reference.intervals(range(1, 32), factor)
        assert np.array(sums).tolist() == [[one.lo, one.count, one.hi] for one in whole]
        assert model is not None or any(one.lo < one.hi for one in whole)


def test_some_images_of_any_labels_are_counted_one_by_one(make_game: Make) -> None:
    """Images in any order and of any labels: right where its class has the first largest logit, in ties as well."""
    game = make_game(4, 60)
    game = with_update(game, 1, scaled(game.updates[1], 0))
    reference, draw = Reference(game), np.random.default_rng(5)
    for size in (1, 5, 33):
        positions = draw.permutation(60)[:size]
        some = replace(game, test=TestSet(game.test.images[positions], game.test.labels[positions]))
        found = reference.block_intervals(positions, member_bits(range(1, 16), 4))
        assert found[:, 1].tolist() == [plain_count(some, mask) for mask in range(1, 16)]
        zeros = (some.test.labels == 0).sum()
        assert found[1].tolist() == [zeros, zeros, zeros]


def test_wider_factor_contains_narrower(make_game: Make) -> None:
    """The interval of 2ε, outside of which a fraud is raised, contains that of ε, outside of which one is accepted.

    [P-6.4]
    """
    reference = Reference(make_game(4, 2_000))
    masks = range(1, 16)
    for narrow, wide in zip(reference.intervals(masks, 1), reference.intervals(masks, 2), strict=True):
        assert wide.lo <= narrow.lo <= narrow.hi <= wide.hi


def test_admission_masks() -> None:
    """Looked at before a task: singletons, co-singletons, the full coalition, up to 256 pairs, 64 more."""
    masks = admission_masks(TASK, 20)
    assert masks == admission_masks(TASK, 20)
    assert masks[:20] == [1 << client for client in range(20)]
    assert (1 << 20) - 1 in masks
    assert sum(mask.bit_count() == 2 for mask in masks) == 190
    assert 270 < len(masks) <= 20 + 20 + 1 + 190 + 64
    many = admission_masks(TASK, 100)
    assert 200 < sum(mask.bit_count() == 2 for mask in many) <= 256
    assert many != admission_masks("00" * 32, 100)
    assert len(set(many)) == len(many)
    assert all(0 < mask < 1 << 100 for mask in many)


def test_honest_updates_are_admitted(make_game: Make) -> None:
    """Updates whose rounding does not matter are admitted."""
    assert refused_update(Reference(make_game(6, 500)), TASK) is None


def test_cancelling_updates_are_refused_by_name(make_game: Make) -> None:
    """Two huge updates that cancel leave a coalition to rounding: refused, and one of the two is named [P-6.9]."""
    game = make_game(6, 500)
    huge = scaled(game.updates[2], 1e5)
    against = tuple((own - big).astype(np.float32) for own, big in zip(game.updates[4], huge, strict=True))
    refusal = refused_update(Reference(with_update(with_update(game, 2, huge), 4, against)), TASK)
    assert refusal is not None
    assert refusal.client in (2, 4)
    assert refusal.mask >> refusal.client & 1
    assert refusal.interval.width > 2


def test_whose_fault_it_is_takes_a_step_for_each_member(make_game: Make) -> None:
    """That the round is refused is known at once; who is to blame, one client after the other."""
    game = make_game(6, 500)
    inspection = Inspection(Reference(with_update(game, 1, scaled(game.updates[1], 1e25))), TASK)
    while inspection.refused is None:
        assert inspection.advance()
    assert str(inspection.refused).startswith("its updates make rounding matter")
    members, steps = inspection.refused.mask.bit_count(), 1
    while inspection.advance():
        steps += 1
    assert (inspection.refused.client, steps) == (1, members)


def test_an_update_of_zeros_is_admitted(make_game: Make) -> None:
    """A client that did not train a model of zeros ties every image, exactly: nothing is rounded."""
    game = make_game(3, 100)
    assert refused_update(Reference(with_update(game, 1, scaled(game.updates[1], 0))), TASK) is None


def test_deep_models_are_admitted(make_game: Make) -> None:
    """Six layers do not add up to a refusal: what matters is what rounding may do, not how large weights are."""
    layers = tuple(Dense(n, m, "relu", True) for n, m in ((9, 96), (96, 96), (96, 96), (96, 96), (96, 96)))
    deep = ModelSpec((9,), (*layers, Dense(96, 4, "linear", True)))
    game = make_game(3, 1_000, model=deep)
    near = tuple(
        tuple(
            (base + 0.1 * own) * np.float32(0.15) for base, own in zip(game.updates[0], update, strict=True)
        )
        for update in game.updates
    )
    assert refused_update(Reference(replace(game, updates=near)), TASK) is None


def test_what_overflows_is_refused(make_game: Make) -> None:
    """Weights near the end of float32's range, in one layer or in all, have no narrow interval."""
    game = make_game(3, 50)
    for factor in (1e25, 1e37):
        refusal = refused_update(Reference(with_update(game, 1, scaled(game.updates[1], factor))), TASK)
        assert refusal is not None
        assert refusal.client == 1


class Miscounting:
    """An engine that is wrong about one coalition."""

    batch = 128

    def __init__(self, reference: Reference, wrong: int) -> None:
        self._reference, self._wrong = reference, wrong
        self.asked: list[int] = []

    def counts(self, masks: Sequence[int]) -> np.ndarray:
        self.asked.append(len(masks))
        bounds = zip(masks, self._reference.intervals(masks), strict=True)
        return np.array([bound.hi + 3 * (mask == self._wrong) for mask, bound in bounds], np.int64)


def test_a_game_that_this_machine_miscounts_is_refused(make_game: Make) -> None:
    """Inspection counts the same coalitions with the own engine: whoever is outside of [lo, hi] does not vote.

    [P-6.11]
    """
    reference = Reference(make_game(4, 200))
    assert refused_update(reference, TASK, lambda _: Miscounting(reference, 0)) is None
    refusal = refused_update(reference, TASK, lambda _: Miscounting(reference, 0b0110))
    assert refusal is not None
    assert refusal.mask == 0b0110
    assert str(refusal).startswith(f"this machine counts {refusal.counted} images")


def test_costly_coalitions_are_counted_a_few_at_a_time(
    make_game: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the engine counts for an inspection is no longer than a step, however many coalitions there are."""
    reference = Reference(make_game(4, 200))
    engine = Miscounting(reference, 0)
    flop = 3 * 200 * reference.game.chain.flop_above
    monkeypatch.setattr(update_admission, "_COUNTED_FLOP", flop)
    assert refused_update(reference, TASK, lambda _: engine) is None
    assert engine.asked == [3] * 5


def test_a_lone_update_is_a_game(make_game: Make) -> None:
    """A named baseline is judged as the only coalition of its own game."""
    game = make_game(3)
    assert Reference(game.of_update(game.updates[2])).count(1) == Reference(game).count(4)


@pytest.mark.parametrize(("beside", "refused"), [(-1, True), (0, False), (1, True)])
def test_the_empty_coalition_is_what_its_baseline_counts(make_game: Make, beside: int, refused: bool) -> None:
    """A task whose u(∅) lies outside of its baseline's interval is refused, one image below as well as above.

    [P-6.3]
    """
    game = make_game(3)
    baseline = game.updates[1]
    lo, hi = Reference(game.of_update(baseline)).interval(1)
    empty = lo - 1 if beside < 0 else hi + 1 if beside else lo
    task = ChainMaker(1).task(images=game.images, empty=empty, baseline="ab" * 32)
    said = refused_terms(task, Reference(replace(game, baseline=baseline, empty=empty)))
    assert (said is not None) == refused
