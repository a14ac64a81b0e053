import json
from pathlib import Path

import pytest
from chains import ChainMaker
from places import place
from shell import fedcoin

from fedcoin_cli.application.rounds.files import read_round
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.learning.features import Conv
from fedcoin_cli.learning.model import parse_model

CONVOLUTION = {
    "class_name": "Conv2D",
    "config": {"filters": 4, "kernel_size": [3, 3], "activation": "relu"},
}


def described(shape: list[int], units: int) -> str:
    """A small convolutional model as Keras would write it, in what FedCoin reads of it."""
    layers = [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, *shape]}},
        CONVOLUTION,
        {"class_name": "MaxPooling2D", "config": {"pool_size": [2, 2]}},
        {"class_name": "Flatten", "config": {}},
        {"class_name": "Dense", "config": {"units": units}},
    ]
    keras = [{"module": "keras.layers", "registered_name": None, **layer} for layer in layers]
    config = {"name": "small", "layers": keras}
    whole = {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": None}
    return json.dumps(whole)


@pytest.fixture
def quiet(tmp_path: Path) -> Workspace:
    """A network whose miners do not run."""
    return place(tmp_path / "net", ChainMaker(1))


def test_a_round_of_another_model(quiet: Workspace, tmp_path: Path) -> None:
    """`train --model` trains a convolutional model on images read in its shape, and the round is one to publish."""
    (tmp_path / "cnn.json").write_text(described([8, 8, 1], 10))
    arguments = (
        "--model",
        str(tmp_path / "cnn.json"),
        "--clients",
        "2",
        "--epochs",
        "1",
        "--split",
        "weight",
    )
    said = fedcoin("train", *arguments, "--json", folder=quiet.root)
    assert said.code == 0, said.err
    folder = Path(said.json["round"])
    first, _ = parse_model((folder / "model.json").read_bytes()).features
    assert isinstance(first, Conv)
    assert (first.shape, first.filters) == ((8, 8, 1), 4)
    assert len(read_round(folder, quiet.genesis()).updates) == 2
    assert said.json["examples"] == pytest.approx([350, 1050], abs=10)


@pytest.mark.parametrize(("shape", "units"), [([9, 8, 1], 10), ([8, 8, 1], 9)])
def test_a_model_that_does_not_fit(shape: list[int], units: int, quiet: Workspace, tmp_path: Path) -> None:
    """A model for other images or for fewer labels is refused before anybody trains: exit code 3, one line, a hint."""
    (tmp_path / "cnn.json").write_text(described(shape, units))
    said = fedcoin("train", "--model", str(tmp_path / "cnn.json"), folder=quiet.root)
    assert said.code == 3, said.err
    assert "hint:" in said.err
    # Nothing is left that would count as the newest round.
    assert not list(quiet.rounds.iterdir())
