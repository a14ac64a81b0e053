"""LoRA's factors, averaged each by itself or as products: against plain PyTorch, mined, and audited at level 4."""

import json
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import Builder, drawn_weights, low_rank
from mined import MinedRound
from rounds import default_terms

from fedcoin_cli.application.auditing.full_audit import AuditPlan, read_ledger
from fedcoin_cli.application.rounds.aggregating import aggregate
from fedcoin_cli.application.rounds.calling import make_call
from fedcoin_cli.application.rounds.files import read_round
from fedcoin_cli.contract.metric import read_metric
from fedcoin_cli.learning.engines.choice import engine_for
from fedcoin_cli.learning.exchange.low_rank import with_products
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.graph.graph import Graph, Input, Kind
from fedcoin_cli.learning.graph.reader import read_graph
from fedcoin_cli.learning.graph.writer import graph_text
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.recomputation import Depth, recompute
from fedcoin_cli.learning.reference.referee import prepared, reference_for
from ledger_store.base.errors import RoundFilesInvalid

WIDTH, CLASSES = 6, 3
MASKS = list(range(1, 16))


def without_frozen(graph: Graph) -> Graph:
    """The same with its base among what is trained, for rounds that have no file of frozen weights."""
    return replace(graph, weights=(*graph.weights, *graph.frozen), frozen=())


def products() -> Graph:
    return with_products(low_rank(), where="model")


def game_of(graph: Graph, clients: int = 4, images: int = 80, seed: int = 0) -> Game:
    draw = np.random.default_rng(seed)
    begin = drawn_weights(graph, draw)
    updates = tuple(
        tuple(begin[name] + one for name, one in drawn_weights(graph, draw).items() if name != "base")
        for _ in range(clients)
    )
    x = draw.normal(size=(images, WIDTH)).astype(np.float32)
    labels = draw.integers(0, CLASSES, images).astype(np.int32)
    frozen = tuple(begin[one.name] for one in graph.frozen)
    return Game(GraphModel.of(graph), TestSet(x, labels), updates, (1, 2, 3, 4), frozen=frozen)


def by_torch(game: Game, mask: int, *, as_products: bool) -> Any:
    """A coalition's outputs in PyTorch, double precision: factors averaged, or their products."""
    torch = pytest.importorskip("torch")
    members = [client for client in range(game.clients) if mask >> client & 1]
    shares = [game.weights[client] / sum(game.weights[one] for one in members) for client in members]
    a, b, weight, bias = (
        [torch.from_numpy(game.updates[client][place].astype(np.float64)) for client in members]
        for place in range(4)
    )

    def mean(tensors: list[Any]) -> Any:
        return sum(share * tensor for share, tensor in zip(shares, tensors, strict=True))

    delta = mean([two @ one for one, two in zip(a, b, strict=True)]) if as_products else mean(b) @ mean(a)
    x = torch.from_numpy(game.test.images.astype(np.float64))
    hidden = torch.tanh(x @ torch.from_numpy(game.frozen[0].astype(np.float64)) + 2 * x @ delta.T)
    return (hidden @ mean(weight).T + mean(bias)).numpy()


@pytest.mark.parametrize("as_products", [False, True], ids=["factors", "products"])
@pytest.mark.parametrize("kind", ["auto", "keras"])
def test_plain_pytorch_counts_the_same(kind: str, as_products: bool) -> None:
    """Every coalition of four has the count of PyTorch, whichever is averaged, and lies in its interval [P-6.25]."""
    game = game_of(products() if as_products else low_rank())
    ready = prepared(game)
    found = engine_for(game, ready, 1, kind).counts(MASKS).tolist()  # type: ignore[arg-type]
    outputs = [by_torch(game, mask, as_products=as_products) for mask in MASKS]
    assert found == [int((one.argmax(axis=1) == game.test.labels).sum()) for one in outputs]
    bounds = reference_for(game, ready).intervals(MASKS)
    assert all(one.lo <= count <= one.hi for one, count in zip(bounds, found, strict=True))
    assert [one.count for one in bounds] == found


def test_the_outputs_are_pytorchs() -> None:
    """Not only the labels: by squared error on targets every step agrees."""
    game = game_of(products())
    targets = np.random.default_rng(3).normal(size=(80, CLASSES)).astype(np.float32)
    judged = replace(
        game, test=replace(game.test, labels=targets), metric=read_metric("neg_mean_squared_error:9")
    )
    for mask, one in zip(MASKS, reference_for(judged).intervals(MASKS), strict=True):
        lost = ((by_torch(game, mask, as_products=True) - targets) ** 2).mean(axis=1)
        assert one.count == np.floor(4095 * np.maximum(0, 1 - lost / 9) + 0.5).sum()


def test_which_is_averaged_matters() -> None:
    """Coalitions of one count alike, others do not: both ways are games of their own."""
    apart = [engine_for(game_of(graph)).counts(MASKS).tolist() for graph in (low_rank(), products())]
    alone = [0, 1, 3, 7]
    assert [apart[0][place] for place in alone] == [apart[1][place] for place in alone]
    assert sum(one != other for one, other in zip(*apart, strict=True)) >= 6


@pytest.mark.parametrize("estimator", ["balanced", "exact"])
def test_a_round_is_mined_audited_and_paid_otherwise(tmp_path: Path, estimator: Any) -> None:
    """Level 4 recomputes every count of either; the payments of the same updates differ [P-6.25]."""
    paid = []
    for name, graph in (("factors", low_rank()), ("products", products())):
        one = MinedRound(
            tmp_path / name, graph=without_frozen(graph), estimator=estimator, rankings=6, seed=5
        )
        _, cases = read_ledger(one.maker.write(tmp_path / f"{name}.ledger"), AuditPlan(4))
        found = recompute(cases, one.store.path, Depth(None, 1, inf))
        assert (found.findings, found.skipped, found.tables) == ([], [], 3)
        assert found.recomputed == found.claimed
        paid.append(one.result.outcome.pay.clients)
        if name == "products":
            made = read_round(one.workspace.round(1), one.workspace.genesis())
            assert aggregate(made, [2]).members == (2,)
            with pytest.raises(RoundFilesInvalid, match="products of weights are averaged") as caught:
                aggregate(made)
            assert caught.value.hint
            files = (made.folder / "model.json", made.folder / "test.safetensors")
            terms = replace(
                default_terms(one.maker), groups=(tuple(each.client for each in made.updates[:2]),)
            )
            with pytest.raises(RoundFilesInvalid, match="owners cannot be grouped"):
                make_call(tmp_path, one.maker.genesis, files, terms, one.maker.requester.address, (2, 4))
    assert paid[0] != paid[1]


def test_a_description_names_its_products_and_keeps_its_bytes_without() -> None:
    """The key is there where it says something; clients sign for it with the file's digest [P-12.13] [P-12.19]."""
    plain, named = graph_text(low_rank()), graph_text(products())
    assert "products" not in json.loads(plain)
    assert json.loads(named)["products"] == ["product0"]
    assert read_graph(named) == products()
    for wrong in ([], ["nothing"], ["lora.A"], ["v0"], ["product0", "product0"], "product0", [1]):
        text = json.dumps({**json.loads(named), "products": wrong})
        with pytest.raises(RoundFilesInvalid) as caught:
            read_graph(text)
        assert "products" in str(caught.value.where)


def test_owners_of_several_updates_are_refused() -> None:
    """No one update has the product that two have in the mean: who groups them is told so."""
    game = game_of(products())
    with pytest.raises(RoundFilesInvalid, match="have no average") as caught:
        game.merged([(0, 1), (2,), (3,)])
    assert caught.value.where == "groups"
    assert game.merged([(0,), (1,), (2,), (3,)]) is game


def test_a_model_without_factors_is_refused() -> None:
    """Something between the factors, a bias, or one that is frozen: nothing is averaged as a product then."""
    make = Builder(Input("x", Kind.float32, (WIDTH,)))
    hidden = make.op("MatMul", make.op("Tanh", make.op("MatMul", "x", make.weight("a", WIDTH, 2))), "b")
    make.weight("b", 2, CLASSES)
    with pytest.raises(RoundFilesInvalid, match="two trained weights, one after the other"):
        with_products(make.graph(hidden), where="model")


def test_a_head_with_a_bias_is_taken_with_its_factor() -> None:
    """x · A, then a dense layer: one product with the bias behind it, and the same outputs of one client."""
    make = Builder(Input("x", Kind.float32, (WIDTH,)))
    graph = make.graph(make.dense(make.op("MatMul", "x", make.weight("a", WIDTH, 2)), "out", 2, CLASSES))
    found = with_products(graph, where="model")
    assert [node.operation for node in found.nodes] == ["Transpose", "MatMul", "Gemm"]
    both = [engine_for(game_of(one)).counts([1, 2, 4, 8]).tolist() for one in (graph, found)]
    assert both[0] == both[1]
