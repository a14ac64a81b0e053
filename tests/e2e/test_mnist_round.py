"""A whole round on real MNIST with four miners, one of which is killed while it mines and comes back."""

import json
import os
import random
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from live import events_of, ledgers, program, runtime_of, wait_until, workspace_of
from oracles import shapley
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.learning.game.game import Game, RoundFiles
from fedcoin_cli.learning.reference.reference import Reference
from ledger_store.file.chain_file import ChainReader
from ledger_store.transaction import Result

ROOT = Path(__file__).parents[2]
MNIST = Path(os.environ.get("FEDCOIN_MNIST", ROOT.parent / "shared" / "data" / "mnist.npz"))
CLIENTS, MINERS = 10, 4
PATIENCE_S = 300.0


@pytest.mark.skipif(not MNIST.is_file(), reason="no MNIST: name the .npz in FEDCOIN_MNIST")
def test_a_round_on_mnist_survives_a_killed_miner_and_pays_what_its_table_says(tmp_path: Path) -> None:
    """The round settles, all ledgers are equal, each of 1,023 counts is right and the values follow from them."""
    with workspace_of(tmp_path / "net", MINERS, "--clients", str(CLIENTS)) as workspace:
        trained = fedcoin("train", "--dataset", str(MNIST.resolve()), "--split", "mix", folder=workspace.root)
        assert trained.code == 0, trained.err
        runtime = runtime_of(workspace)
        for number in range(1, MINERS + 1):
            runtime.start(number)
        everyone = range(1, MINERS + 1)
        wait_until(lambda: all(events_of(workspace, number, "ready") for number in everyone), PATIENCE_S)

        # Long enough that the three others, on however slow a machine, see all coalitions.
        with program("publish", "--runtime", "120", "--json", folder=workspace.root) as publish:
            wait_until(lambda: bool(events_of(workspace, MINERS, "mined")), PATIENCE_S)
            killed = runtime.pid(MINERS)
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: not runtime.alive(MINERS))
            runtime.start(MINERS)
            out, err = publish.communicate(timeout=PATIENCE_S)
        assert publish.returncode == 0, err
        wait_until(lambda: len(set(ledgers(workspace))) == 1, PATIENCE_S)

        audited = fedcoin("audit", folder=workspace.root)
        assert audited.code == 0
        assert "audit ok" in audited.out
        check_values(workspace, json.loads(out))


def check_values(workspace: Workspace, said: dict[str, object]) -> None:
    """Table against float64 intervals and plain Keras; published values against brute force over the table."""
    round_dir = workspace.latest_round()
    updates = tuple(round_dir / f"client-{number:03d}.safetensors" for number in range(1, CLIENTS + 1))
    game = Game.load(RoundFiles(round_dir / "model.json", round_dir / "test.safetensors", updates))
    counts = exact_table(workspace)
    assert len(counts) == 2**CLIENTS

    masks = list(range(1, 2**CLIENTS))
    outside = [
        mask
        for mask, bounds in zip(masks, Reference(game).intervals(masks), strict=True)
        if not bounds.lo <= counts[mask] <= bounds.hi
    ]
    assert outside == []

    original = keras_counts(game)
    for mask in random.Random(0).sample(masks, 100):
        assert abs(original(mask) - counts[mask]) <= 2

    exact = [value * 100 / game.images for value in shapley(counts)]
    shown = said["clients"]
    assert isinstance(shown, list)
    assert [Fraction(one["shapley"]) for one in shown] == [Fraction(round(value, 6)) for value in exact]


def exact_table(workspace: Workspace) -> list[int]:
    """The counts of all masks by an exact reveal's table; entry 0 is the empty coalition's."""
    with ChainReader(workspace.miner(1).path) as chain:
        results = [t for block in chain.blocks() for t in block.transactions if isinstance(t, Result)]
    reveal = next(reveal for reveal in results[-1].reveals if reveal.exact)
    return [0, *np.frombuffer((workspace.store / reveal.table).read_bytes(), ">u4").tolist()]


def keras_counts(game: Game) -> Callable[[int], int]:
    """Plain Keras on the averaged weights: the original way."""
    from fedcoin_cli.learning.model.build import build

    model = build(game.chain)
    images = game.test.images.astype(np.float32) / (255 if game.test.images.dtype == np.uint8 else 1)

    def count(mask: int) -> int:
        members = [update for client, update in enumerate(game.updates) if mask >> client & 1]
        model.set_weights([np.mean(parts, axis=0) for parts in zip(*members, strict=True)])
        return int((model.predict_on_batch(images).argmax(axis=1) == game.test.labels).sum())

    return count
