from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise, permutations, product
from pathlib import Path

import pytest
from chains import ChainMaker, key
from mined import MinedRound
from oracles import shapley
from places import place, refunded_round

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.books.task_report import points
from fedcoin_cli.application.reasons.explanation import Explanation, explain
from fedcoin_cli.consensus.rankings import ranking
from fedcoin_cli.learning.shapley.sampling import Estimator
from ledger_store.base.amount import parse_micro
from ledger_store.base.errors import LedgerInvalid, NotFound


def explained(made: MinedRound, client: int, task: str | None = None) -> Explanation:
    """The explanation of client number `client`, from 0."""
    address = made.task.updates[client].client
    with Books.open(made.workspace) as books:
        return explain(books, made.workspace, address, task)


@dataclass
class Joining:
    """What joining one coalition gained: images looked at and gained, and what one of them adds to the value."""

    images: int
    gain: int
    weight: Fraction

    @property
    def adds(self) -> Fraction:
        return self.weight * self.gain


def by_hand(made: MinedRound, client: int, *, exact: bool) -> dict[frozenset[int], Joining]:
    """Coalition before → what joining it gained, by walking every order of joining one by one."""
    return _of_all_orders(made, client) if exact else _of_rankings(made, client)


def _of_all_orders(made: MinedRound, client: int) -> dict[frozenset[int], Joining]:
    counts, found = made.counts, dict[frozenset[int], Joining]()
    orders = list(permutations(range(made.game.clients)))
    for order in orders:
        before = frozenset(order[: order.index(client)])
        mask = sum(1 << other for other in before)
        gain = counts[mask | 1 << client] - counts[mask]
        found.setdefault(before, Joining(made.task.images, gain, Fraction())).weight += Fraction(
            1, len(orders)
        )
    return found


def _of_rankings(made: MinedRound, client: int) -> dict[frozenset[int], Joining]:
    blocks, found = made.blocks, dict[frozenset[int], Joining]()
    counts = [made.counts_of(block) for block in range(len(blocks))]
    total = sum(mined.rankings for mined in made.mined)
    for miner, mined in zip(made.maker.miners, made.mined, strict=True):
        for block, index in product(range(len(blocks)), range(mined.rankings)):
            order = ranking(made.seed, bytes.fromhex(miner.address), block, index, made.game.clients)
            before = frozenset(order[: order.index(client)])
            mask = sum(1 << other for other in before)
            one = found.setdefault(before, Joining(0, 0, Fraction(1, total)))
            one.images += len(blocks.block(block))
            one.gain += counts[block][mask | 1 << client] - counts[block][mask]
    return found


@pytest.mark.parametrize("estimator", ["balanced", "exact"])
def test_coalitions_are_those_of_the_estimate(tmp_path: Path, estimator: Estimator) -> None:
    """The named coalitions, their weights and gains are those that walking order by order finds, the largest first."""
    made = MinedRound(tmp_path, estimator=estimator)
    for client in range(made.game.clients):
        found, expected = explained(made, client), by_hand(made, client, exact=estimator == "exact")
        assert found.seen is not None
        assert found.seen.coalitions == len(expected)
        for sign, named in ((1, found.seen.helped), (-1, found.seen.hurt)):
            adds = sorted((sign * one.adds for one in expected.values()), reverse=True)
            counted = [step for step in adds if step > 0][:5]
            assert [one.adds for one in named] == [pp(made, sign * step) for step in counted]
            for one in named:
                right = expected[frozenset(number - 1 for number in one.members)]
                assert one.gain == points(right.gain, 1, right.images)
                share = right.weight * right.images / made.task.images
                assert one.weight == points(share.numerator, share.denominator, 1)
        for size in found.seen.sizes:
            of_size = [one.adds for who, one in expected.items() if len(who) == size.others]
            assert size.adds == pp(made, sum(of_size, Fraction(0)))


@pytest.mark.parametrize("estimator", ["balanced", "exact"])
def test_parts_add_up_to_value_and_payment(tmp_path: Path, estimator: Estimator) -> None:
    """What the tables say is the agreed value; the steps of the coins end at what the ledger paid."""
    made = MinedRound(tmp_path, estimator=estimator)
    outcome = made.result.outcome
    assert outcome.shapley is not None
    for client, numerator in enumerate(outcome.shapley):
        found = explained(made, client)
        assert found.value == points(numerator, outcome.denominator, made.task.images)
        assert found.seen is not None
        assert found.seen.walked == found.value
        share = found.share
        assert share is not None
        assert share.whole_micro * share.weights + share.remainder == share.total_micro * share.weight
        assert share.paid_micro == outcome.pay.clients[client] == parse_micro(found.paid)


def test_exact_values_have_no_error(tmp_path: Path) -> None:
    """Exact values are the Shapley values of all coalitions, and are said to be without error."""
    made = MinedRound(tmp_path, estimator="exact")
    for client, value in enumerate(shapley(made.counts)):
        found = explained(made, client)
        assert (found.value, found.error, found.error_from) == (pp(made, value), "0.000000", "exact")


def test_errors_hold_the_truth(tmp_path: Path) -> None:
    """Of many clients' values about as many lie within two standard errors of the exact ones as should."""
    near = total = 0
    for trial in range(16):
        made = MinedRound(tmp_path / str(trial), clients=6, rankings=30, runtime_ms=2_000 + trial)
        for client, value in enumerate(shapley(made.counts)):
            found = explained(made, client)
            assert found.error_from == "tables"
            assert found.value is not None
            assert found.error is not None
            off = abs(Fraction(found.value) - 100 * value / made.task.images)
            near += off <= 2 * Fraction(found.error)
            total += 1
    assert near >= 0.85 * total


def test_ledger_alone(tmp_path: Path) -> None:
    """Without any table the ledger's own spread gives the error, the coins are explained, and what lacks is named."""
    made = MinedRound(tmp_path)
    whole = explained(made, 1)
    for reveal in made.result.reveals:
        made.store.remove(reveal.table)
    found = explained(made, 1)
    assert (found.seen, found.error_from) == (None, "ledger")
    assert found.missing == tuple(sha256(table).hexdigest() for table in made.tables)
    assert not any(view.kept for view in found.views)
    assert (found.value, found.share, found.paid) == (whole.value, whole.share, whole.paid)


def test_a_table_is_taken_by_its_digest_only(tmp_path: Path) -> None:
    """A table whose bytes were changed in the store counts as missing; what is left speaks for itself only."""
    made = MinedRound(tmp_path, clients=7, rankings=10)
    reveal = made.result.reveals[0]
    path = made.store.path(reveal.table)
    path.chmod(0o644)
    kept = path.read_bytes()
    path.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    found = explained(made, 0)
    assert found.missing == (reveal.table,)
    assert found.seen is not None
    assert found.seen.tables == 2
    assert found.error_from == "ledger"


def test_the_test_sets_error_needs_tables_or_the_rounds_files(tmp_path: Path) -> None:
    """Sampled tables tell it; without them the round's files do, of exact values, too; with neither nobody can."""
    for estimator in ("balanced", "exact"):
        made = MinedRound(tmp_path / estimator, estimator=estimator)
        found = explained(made, 0).certainty
        assert found is not None
        assert all(Fraction(error) > 0 for error in found.test_set)
        assert bool(found.mining) == (estimator == "balanced")
        for table in made.result.reveals:
            made.store.remove(table.table)
        found = explained(made, 0).certainty
        assert found is not None
        assert all(Fraction(error) > 0 for error in found.test_set)
        assert not found.mining
        made.store.remove(made.digests["test.safetensors"])
        (made.workspace.latest_round() / "test.safetensors").unlink()
        assert explained(made, 0).certainty is None


def test_who_is_not_told_apart(tmp_path: Path) -> None:
    """Neighbours by value whose difference is below two standard errors name each other, and nobody else does."""
    made = MinedRound(tmp_path)
    found = [explained(made, client) for client in range(made.game.clients)]
    assert found[0].certainty is not None
    order = sorted(range(made.game.clients), key=lambda client: -Fraction(found[client].value or 0))
    neighbours = {frozenset((one + 1, other + 1)) for one, other in pairwise(order)}
    assert {frozenset(pair) for pair in found[0].certainty.alike} <= neighbours
    for number in range(1, made.game.clients + 1):
        for other in found[0].certainty.near(number):
            assert number in found[0].certainty.near(other)


def test_refunded_and_unknown(tmp_path: Path) -> None:
    """A refunded task is explained without values or steps; strangers, and clients of other tasks, are refused."""
    made = MinedRound(tmp_path)
    refunded = refunded_round(made.maker)
    for miner in made.workspace.miners:
        made.maker.write(miner.path)
    found = explained(made, 0, refunded.id[:10])
    assert (found.report.state, found.value, found.share, found.views) == ("REFUNDED", None, None, ())
    with Books.open(made.workspace) as books, pytest.raises(NotFound):
        explain(books, made.workspace, made.maker.server.address, None)
    with Books.open(made.workspace) as books, pytest.raises(NotFound):
        explain(books, made.workspace, made.maker.server.address, made.task.id)


def pp(made: MinedRound, images: Fraction) -> str:
    """Images in percentage points, as the tool writes them."""
    return points(images.numerator, images.denominator, made.task.images)


def test_what_does_not_follow_is_not_explained(tmp_path: Path) -> None:
    """Payments that a quorum certified and no reveal gives are an invalid ledger; the hint is to audit it."""
    maker = ChainMaker()
    maker.add_round()
    workspace = place(tmp_path, maker)
    with Books.open(workspace) as books, pytest.raises(LedgerInvalid, match="does not follow") as caught:
        explain(books, workspace, key("client-1").address, None)
    assert "fedcoin audit" in caught.value.hint
