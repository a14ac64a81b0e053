from collections.abc import Callable
from fractions import Fraction
from hashlib import sha256
from itertools import permutations
from math import sqrt
from pathlib import Path
from statistics import variance

import pytest
from chains import ChainMaker, key
from mined import MinedRound
from oracles import shapley
from places import place, refunded_round

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.books.report import points
from fedcoin_cli.application.reasons.explanation import Explanation, explain
from fedcoin_cli.consensus.rankings import prefixes, ranking, rows_per_square
from fedcoin_cli.learning.mining.sampling import Estimator
from ledger_store.amount import parse_micro
from ledger_store.errors import LedgerInvalid, NotFound


def explained(made: MinedRound, client: int, task: str | None = None) -> Explanation:
    """The explanation of client number `client`, from 0."""
    address = made.task.updates[client].client
    with Books.open(made.workspace) as books:
        return explain(books, made.workspace, address, task)


def by_hand(made: MinedRound, client: int, *, exact: bool) -> dict[frozenset[int], tuple[Fraction, int]]:
    """Coalition before → (weight, gain in images), by walking every order of joining one by one."""
    clients, counts, found = made.game.clients, made.counts, dict[frozenset[int], tuple[Fraction, int]]()
    orders = (
        list(permutations(range(clients)))
        if exact
        else [
            ranking(made.seed, bytes.fromhex(miner.address), index, clients)
            for miner, mined in zip(made.maker.miners, made.mined, strict=True)
            for index in range(mined.rankings)
        ]
    )
    for order in orders:
        before = frozenset(order[: order.index(client)])
        mask = sum(1 << other for other in before)
        weight, _ = found.get(before, (Fraction(0), 0))
        found[before] = weight + Fraction(1, len(orders)), counts[mask | 1 << client] - counts[mask]
    return found


@pytest.mark.parametrize(("estimator", "proxy"), [("balanced", True), ("balanced", False), ("exact", True)])
def test_coalitions_are_those_of_the_estimate(tmp_path: Path, estimator: Estimator, proxy: bool) -> None:
    """The named coalitions, their weights and gains are those that walking order by order finds, the largest first."""
    made = MinedRound(tmp_path, estimator=estimator, proxy=proxy)
    exact = estimator == "exact"
    for client in range(made.game.clients):
        found, expected = explained(made, client), by_hand(made, client, exact=exact)
        assert found.seen is not None
        assert found.seen.coalitions == len(expected)
        for sign, named in ((1, found.seen.helped), (-1, found.seen.hurt)):
            adds = sorted((sign * weight * gain for weight, gain in expected.values()), reverse=True)
            counted = [step for step in adds if step > 0][:5]
            assert [one.adds for one in named] == [pp(made, sign * step) for step in counted]
            for one in named:
                weight, gain = expected[frozenset(number - 1 for number in one.members)]
                assert (one.gain, one.weight) == (pp(made, Fraction(gain)), f"{float(100 * weight):.6f}")
        for size in found.seen.sizes:
            of_size = [weight * gain for who, (weight, gain) in expected.items() if len(who) == size.others]
            assert size.adds == pp(made, sum(of_size, Fraction(0)))


@pytest.mark.parametrize(("estimator", "proxy"), [("balanced", True), ("balanced", False), ("exact", True)])
def test_parts_add_up_to_value_and_payment(tmp_path: Path, estimator: Estimator, proxy: bool) -> None:
    """Walked part and proxy's part are the agreed value; the steps of the coins end at what the ledger paid."""
    made = MinedRound(tmp_path, estimator=estimator, proxy=proxy)
    outcome = made.result.outcome
    assert outcome.shapley is not None
    for client, numerator in enumerate(outcome.shapley):
        found = explained(made, client)
        assert found.value == points(numerator, outcome.denominator, made.task.images)
        assert found.seen is not None
        assert found.seen.proxy_part is not None
        expected = by_hand(made, client, exact=estimator == "exact")
        walked = sum((weight * gain for weight, gain in expected.values()), Fraction(0))
        assert found.seen.walked == pp(made, walked)
        assert found.seen.proxy_part == pp(made, Fraction(numerator, outcome.denominator) - walked)
        assert (Fraction(found.seen.proxy_part) == 0) == (not proxy or estimator == "exact")
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
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    found = explained(made, 0)
    assert found.missing == (reveal.table,)
    assert found.seen is not None
    assert (found.seen.tables, found.seen.proxy_part) == (2, None)


def test_the_proxy_is_found_in_the_round(tmp_path: Path) -> None:
    """The proxy is read from the store or the round; with both copies gone the error is the ledger's."""
    made = MinedRound(tmp_path)
    made.store.remove(made.digests["proxy.safetensors"])
    assert explained(made, 0).error_from == "tables"
    (made.workspace.latest_round() / "proxy.safetensors").unlink()
    assert explained(made, 0).error_from == "ledger"


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


def squares_by_hand(
    seed: bytes, key: bytes, rankings: int, worth: Callable[[list[int]], list[int]], clients: int
) -> list[list[float]]:
    """Each client's mean marginal in each whole square of a key's rankings, walked one by one."""
    per_square, found = rows_per_square(clients), []
    for first in range(0, rankings - rankings % per_square, per_square):
        orders = [ranking(seed, key, first + row, clients) for row in range(per_square)]
        sums = [0] * clients
        for order in orders:
            values = worth(prefixes(order))
            for client, after, before in zip(order, values, [0, *values[:-1]], strict=True):
                sums[client] += after - before
        found.append([total / per_square for total in sums])
    return found


@pytest.mark.parametrize(("clients", "rankings"), [(4, 39), (17, 149)])
def test_errors_are_those_of_whole_squares(tmp_path: Path, clients: int, rankings: int) -> None:
    """An error is the spread between whole squares, above 16 clients that of the proxy's public ones, too."""
    made = MinedRound(tmp_path, clients=clients, miners=2, rankings=rankings)
    proxy, counts = made.proxy, made.counts
    assert proxy is not None

    def difference(masks: list[int]) -> list[int]:
        return [counts[mask] - other for mask, other in zip(masks, proxy.counts(masks).tolist(), strict=True)]

    keys = [bytes.fromhex(miner.address) for miner in made.maker.miners]
    own = [one for key in keys for one in squares_by_hand(made.seed, key, rankings, difference, clients)]
    per_square = rows_per_square(clients)
    public_rankings = per_square * (50_000 // (clients * per_square)) if clients > 16 else 0
    public = squares_by_hand(
        made.seed, bytes(32), public_rankings, lambda masks: proxy.counts(masks).tolist(), clients
    )
    for client in range(clients):
        # The spread of few squares is an estimate, too: a mean of n lies about the truth as Student's t.
        parts = [
            variance(one[client] for one in squares) / len(squares) * (len(squares) - 1) / (len(squares) - 3)
            for squares in (own, public)
            if squares
        ]
        error = explained(made, client).error
        assert error is not None
        assert float(error) == pytest.approx(100 / made.task.images * sqrt(sum(parts)), abs=2e-6)
    assert explained(made, 0).report.error_shared == (clients > 16)


def test_what_does_not_follow_is_not_explained(tmp_path: Path) -> None:
    """Payments that a quorum certified and no reveal gives are an invalid ledger; the hint is to audit it."""
    maker = ChainMaker()
    maker.add_round()
    workspace = place(tmp_path, maker)
    with Books.open(workspace) as books, pytest.raises(LedgerInvalid, match="does not follow") as caught:
        explain(books, workspace, key("client-1").address, None)
    assert "fedcoin audit" in caught.value.hint
