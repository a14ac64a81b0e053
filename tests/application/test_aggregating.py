from pathlib import Path

import numpy as np
import pytest
from chains import ChainMaker
from places import place
from rounds import make_round, write_round

from fedcoin_cli.application.rounds.aggregating import aggregate, write_aggregate
from fedcoin_cli.application.rounds.files import read_round
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.learning.game.game import Game, RoundFiles
from fedcoin_cli.learning.model.model import parse_model
from fedcoin_cli.learning.model.weights import read_update
from fedcoin_cli.learning.reference.reference import Reference
from ledger_store.base.errors import NotFound, RoundFilesInvalid


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A network with keys of three clients."""
    return place(tmp_path / "net", ChainMaker(1))


@pytest.mark.parametrize("aggregation", ["mean", "fedavg"])
def test_it_is_the_model_that_miners_judge(aggregation: str, workspace: Workspace) -> None:
    """The weights of every coalition are right on as many images as miners would count, by either aggregation."""
    folder = make_round(workspace)
    keys = [workspace.key(f"client-{number:03d}") for number in (1, 2, 3)]
    write_round(folder, workspace, keys, 60, aggregation=aggregation)
    made = read_round(folder, workspace.genesis())
    paths = tuple(made.paths[update.digest] for update in made.updates)
    examples = None if aggregation == "mean" else [update.examples for update in made.updates]
    game = Game.load(RoundFiles(folder / "model.json", folder / "test.safetensors", paths), examples)
    for mask, members in ((1, [1]), (5, [3, 1]), (7, [])):
        share = f"{100 * Reference(game).count(mask) / game.images:.4f}"
        assert aggregate(made, members).measure == ("accuracy", share)


def test_it_is_written_as_an_update_or_for_keras(workspace: Workspace, tmp_path: Path) -> None:
    """A safetensors file holds the very weights, a .keras file is a model of them; another kind is refused."""
    from fedcoin_cli.learning.model.backend import keras

    made = read_round(make_round(workspace), workspace.genesis())
    found = aggregate(made)
    write_aggregate(found, tmp_path / "all.safetensors")
    spec = parse_model((made.folder / "model.json").read_bytes())
    for one, other in zip(read_update(tmp_path / "all.safetensors", spec), found.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    write_aggregate(found, tmp_path / "all.keras")
    for one, other in zip(
        keras.models.load_model(tmp_path / "all.keras").get_weights(), found.weights, strict=True
    ):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(RoundFilesInvalid, match="no such kind"):
        write_aggregate(found, tmp_path / "all.h5")


@pytest.mark.parametrize("members", [[0], [4], [1, 9]])
def test_only_clients_of_the_round(members: list[int], workspace: Workspace) -> None:
    """A number that no client has is said so."""
    made = read_round(make_round(workspace), workspace.genesis())
    with pytest.raises(NotFound, match="no such client"):
        aggregate(made, members)
