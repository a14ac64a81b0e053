"""Graphs whose maker has every engine miscount where no inspection looks: no honest miner is accused of it."""

from functools import cache, partial
from math import inf
from pathlib import Path

import numpy as np
import pytest
from attacking.traps import chosen_for, company_game, trapped_game
from graph_games import graph_game
from graphs import Builder, floats
from mined import MinedRound

from fedcoin_cli.application.auditing.full_audit import AuditPlan, read_ledger
from fedcoin_cli.learning.coalitions.partition import partition
from fedcoin_cli.learning.engines.choice import Kind, engine_for, walker_for
from fedcoin_cli.learning.engines.graph_outputs import GraphOutputs, NumpyRest
from fedcoin_cli.learning.recomputation import Depth, recompute
from fedcoin_cli.learning.reference.referee import prepared, reference_for
from fedcoin_cli.learning.reference.staged import Staged
from fedcoin_cli.learning.reference.update_admission import admission_masks, refused_update
from fedcoin_cli.learning.shapley.checking import Checker
from fedcoin_cli.learning.shapley.judging import Engines
from fedcoin_cli.learning.shapley.sampling import MiningPlan, MiningSession
from fedcoin_cli.learning.shapley.table import Claim, Place, TableTerms, encode_exact, place_of

TASK = "ab" * 32
CLIENTS, IMAGES = 8, 24


@pytest.mark.parametrize("kind", ["onnx", "numpy", "keras"])
def test_what_every_engine_counts_is_no_lie(kind: Kind) -> None:
    """The trap passes inspection, engines count a third of what is right, and only who says neither is accused.

    Both of an exact table and of a block, by whoever raises a FRAUD and whoever accepts it. [P-6.26]
    """
    if kind != "numpy":
        pytest.importorskip({"onnx": "onnxruntime", "keras": "keras"}[kind])
    chosen = chosen_for(TASK, CLIENTS, 4, 3)
    game = trapped_game(chosen, IMAGES, CLIENTS)
    ready = prepared(game)
    reference, engine = reference_for(game, ready), engine_for(game, ready, 1, kind)
    assert refused_update(reference, TASK, lambda one: engine_for(one, None, 1, kind)) is None
    blocks = partition(game.test.labels, IMAGES, bytes(32))
    engines = Engines(cache(partial(walker_for, game, blocks, ready, 1, kind)), lambda: engine)
    terms = TableTerms(CLIENTS, blocks.sizes, 0)
    counts = engine.counts(range(1, 1 << CLIENTS))
    (right,) = reference.intervals(chosen[:1], 2)
    wrong = int(counts[chosen[0] - 1])
    assert (right.lo, wrong) == (18, 6)
    claim, table = Claim(bytes(32), bytes(32), 1, exact=True), encode_exact(counts)
    checker = Checker(reference, terms, blocks, engines)
    assert Checker(reference, terms, blocks).is_wrong(table, claim, chosen[0] - 1)
    assert not checker.is_wrong(table, claim, chosen[0] - 1)
    assert checker.own_errors(table, claim, inf) == ()
    assert checker.wrong_entries(table, claim, inf, counts) == ()
    every = [Place(None, chosen[0]), Place(0, chosen[0]), Place(0, reference.game.full), Place(0, 0)]
    assert [engines.count(place, CLIENTS) for place in every] == [wrong, wrong, int(counts[-1]), 0]
    lie = counts.copy()
    lie[chosen[0] - 1] += 1
    assert checker.is_wrong(encode_exact(lie), claim, chosen[0] - 1)
    assert checker.wrong_entries(encode_exact(lie), claim, inf, counts) == (chosen[0] - 1,)


@pytest.mark.parametrize("kind", ["onnx", "numpy"])
def test_a_count_is_the_same_in_any_company(kind: Kind) -> None:
    """Nobody's own table is false by what the own engine counts alone, whatever it counted together.

    The trap lies where no inspection looks, in the last but one coalition of each ranking. [P-6.26]
    """
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    clients, me = 499, bytes(32)
    game = company_game(clients, 16)
    ready = prepared(game)
    reference, engine = reference_for(game, ready), engine_for(game, ready, 1, kind)
    blocks = partition(game.test.labels, 16, me)
    terms = TableTerms(clients, blocks.sizes, 0)
    engines = Engines(cache(partial(walker_for, game, blocks, ready, 1, kind)), lambda: engine)
    session = MiningSession(engines.walker(), None, terms, MiningPlan(me, me, 4, 4, inf, "balanced"))
    while not session.advance(inf).finished:
        pass
    table, claim = session.estimate().table, Claim(me, me, 4, exact=False)
    gated = [2 + ranking * (clients - 1) + clients - 3 for ranking in range(4)]
    masks = {place_of(entry, claim, terms).mask for entry in gated}
    assert {mask.bit_count() for mask in masks} == {clients - 2}
    assert masks.isdisjoint(admission_masks(TASK, clients))
    checker = Checker(reference, terms, blocks, engines)
    assert [entry for entry in gated if checker.is_wrong(table, claim, entry)] == []
    assert checker.own_errors(table, claim, inf) == ()


@pytest.mark.parametrize("hidden", [False, True])
def test_an_output_is_the_same_in_any_company(*, hidden: bool) -> None:
    """Of as many coalitions together as a call takes, or of few, in whatever order: to its last bit."""
    clients, make = 203, Builder(floats(512))
    first = make.dense("x", "first", 512, 5)
    graph = make.graph(make.dense(make.op("Relu", first), "out", 5, 3) if hidden else first)
    source = GraphOutputs(Staged(graph_game(graph, clients, images=16)), partial(NumpyRest, threads=1))
    draw, outputs = np.random.default_rng(0), source.of_part(0)
    shares = draw.random((source.masks, clients))
    together = outputs(shares)
    for many in range(1, source.masks):
        some = draw.permutation(source.masks)[:many]
        assert np.array_equal(outputs(shares[some]), together[some])


def test_an_auditor_accuses_nobody_either(tmp_path: Path) -> None:
    """Miners who all counted so are paid, and an audit of level 4 on every count finds nothing [P-13.21]."""
    one = MinedRound(tmp_path, miners=1, graph=trapped_game([0b0101, 0b1010], IMAGES, 4), estimator="exact")
    assert (one.counts[0b0101], reference_for(one.game).count(0b0101)) == (6, 18)
    _, cases = read_ledger(one.maker.write(tmp_path / "ledger"), AuditPlan(4))
    found = recompute(cases, one.store.path, Depth(None, 1, inf))
    assert (found.findings, found.skipped, found.tables) == ([], [], 1)
