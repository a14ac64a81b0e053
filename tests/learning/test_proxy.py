from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from oracles import shapley, walk

from fedcoin_cli.consensus.rankings import prefixes, ranking, rows_per_square
from fedcoin_cli.learning.mining.exact import common_denominator
from fedcoin_cli.learning.mining.forward import own_logits
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.proxy import PUBLIC_KEY, ProxyCounts, make_proxy, proxy_sums
from fedcoin_cli.learning.mining.reference import Reference
from fedcoin_cli.learning.mining.table import Claim, TableTerms, derive, encode_exact, encode_sampled
from fedcoin_cli.learning.mining.walks import orders

SEED = bytes(range(32))


def votes(clients: int, images: int, top: int = 3) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Logits so small that ties are everywhere, and labels."""
    rng = np.random.default_rng(clients)
    logits = rng.integers(-top, top + 1, (clients, images, 4)).astype(np.int32)
    return logits, rng.integers(0, 4, images).astype(np.int32)


def plain_count(
    logits: npt.NDArray[np.int32], labels: npt.NDArray[np.int32], weights: list[int], mask: int
) -> int:
    """p(mask) by its definition; argmax takes the lowest of equal classes."""
    summed = sum(
        weights[client] * logits[client].astype(object) for client in range(len(logits)) if mask >> client & 1
    )
    return int((np.array(summed).argmax(axis=1) == labels).sum())


@pytest.mark.parametrize("weights", ["mean", "fedavg", "extreme"])
@pytest.mark.parametrize("clients", [2, 5, 18])
def test_counts_by_definition(clients: int, weights: str) -> None:
    """p is the ensemble vote with the lowest class on ties, below and above 16 clients, in small and large integers."""
    logits, labels = votes(clients, 150, 3 if weights != "extreme" else 1 << 20)
    chosen = {
        "mean": [1] * clients,
        "fedavg": list(range(1, clients + 1)),
        "extreme": [(1 << 31) - 1] * clients,
    }[weights]
    proxy = ProxyCounts(logits, labels, chosen)
    masks = [1, 2, 3, (1 << clients) - 1, *np.random.default_rng(1).integers(1, 1 << clients, 20).tolist()]
    assert proxy.counts(masks).tolist() == [plain_count(logits, labels, chosen, mask) for mask in masks]


@pytest.mark.parametrize("clients", [4, 17])
def test_walks_visit_the_prefixes(clients: int) -> None:
    """Walking rankings gives the counts of the coalitions that they visit."""
    proxy = ProxyCounts(*votes(clients, 150), [1] * clients)
    walked = orders(SEED, PUBLIC_KEY, 0, 70, clients)
    counts = proxy.walk(walked)
    for index in (0, 33, 69):
        assert (
            counts[index].tolist()
            == proxy.counts(prefixes(ranking(SEED, PUBLIC_KEY, index, clients))).tolist()
        )


@pytest.mark.parametrize("clients", [2, 6, 9])
def test_exact_proxy_values(clients: int) -> None:
    """Up to 16 clients P_j/Λ_P is the exact Shapley value of p with p(∅) = u(∅)."""
    logits, labels = votes(clients, 60)
    proxy = ProxyCounts(logits, labels, [1] * clients)
    game = [11, *proxy.counts(range(1, 1 << clients)).tolist()]
    sums, scale = proxy_sums(proxy, SEED, 11)
    assert scale == common_denominator(clients)
    assert tuple(sums) == tuple(int(scale * value) for value in shapley(game))


def test_public_squares_above_16_clients() -> None:
    """Above 16 clients P sums the marginals over whole squares of the public key, as the pure walk does."""
    clients = 17
    proxy = ProxyCounts(*votes(clients, 10), [1] * clients)
    sums, rankings = proxy_sums(proxy, SEED, 4)
    assert rankings == 86 * rows_per_square(clients)
    walked = orders(SEED, PUBLIC_KEY, 0, rankings, clients)
    assert sums == totals_of(proxy.walk(walked), walked, 4)


def totals_of(values: npt.NDArray[np.int64], walked: npt.NDArray[np.intp], empty: int) -> list[int]:
    sums = [0] * walked.shape[1]
    for order, row in zip(walked.tolist(), values.tolist(), strict=True):
        for client, gain in zip(order, np.diff([empty, *row]).tolist(), strict=True):
            sums[client] += gain
    return sums


def test_made_proxy_follows_the_models(make_game: Callable[..., Game]) -> None:
    """Logits are each client's own, equally spread and quantised: alone, p and u agree (up to a rare near tie)."""
    game = make_game(3, 300)
    logits = make_proxy(game)
    assert logits.dtype == np.int32
    assert np.abs(logits).max() == 1 << 20
    np.testing.assert_allclose(logits.std(axis=(1, 2)), logits.std(axis=(1, 2))[0], rtol=1e-4)
    own = own_logits(game, 1)
    step = own.std() / logits[1].std()
    np.testing.assert_allclose(logits[1] * step, own, atol=step)
    alone = ProxyCounts(logits, game.test.labels, game.weights).counts([1, 2, 4])
    assert np.abs(alone - [Reference(game).count(mask) for mask in (1, 2, 4)]).max() <= 1


def test_a_client_that_says_nothing(make_game: Callable[..., Game]) -> None:
    """Logits that are all zero stay zero, beside others as alone."""
    game = make_game(2)
    silent = tuple(0 * weight for weight in game.updates[0])
    assert not make_proxy(replace(game, updates=(silent, game.updates[1])))[0].any()
    assert not make_proxy(replace(game, updates=(silent, silent))).any()


def test_sums_of_the_difference() -> None:
    """With a proxy N_j sums marginals of u − p, which starts at 0, whatever p is."""
    clients, empty = 5, 9
    proxy = ProxyCounts(*votes(clients, 50), [1] * clients)
    utility = np.random.default_rng(3).integers(0, 51, 1 << clients).tolist()
    difference = [0, *(np.array(utility[1:]) - proxy.counts(range(1, 1 << clients))).tolist()]
    walked = [ranking(SEED, SEED, index, clients) for index in range(7)]
    counts = {mask: utility[mask] for order in walked for mask in prefixes(order)}
    terms = TableTerms(clients, 50, empty, proxy)
    sampled = derive(encode_sampled(counts, clients), Claim(SEED, SEED, 7, exact=False), terms)
    exact = derive(encode_exact(np.array(utility[1:])), Claim(SEED, SEED, 7, exact=True), terms)
    assert sampled.sums == exact.sums == walk(difference, walked)
    exact_values = shapley([empty, *utility[1:]])
    assert exact.values == tuple(int(common_denominator(clients) * value) for value in exact_values)
