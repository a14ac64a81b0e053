import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from chains import ChainMaker
from live import program, wait_until
from places import place
from rounds import make_round
from shell import fedcoin

from fedcoin_cli.application.rounds.files import read_round
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.learning.model.features import Conv
from fedcoin_cli.learning.model.model import parse_model
from ledger_store.base.errors import ExitCode

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
    assert [client["images"] for client in said.json["clients"]] == pytest.approx([350, 1050], abs=10)


@pytest.mark.parametrize(("shape", "units"), [([9, 8, 1], 10), ([8, 8, 1], 9)])
def test_a_model_that_does_not_fit(shape: list[int], units: int, quiet: Workspace, tmp_path: Path) -> None:
    """A model for other images or for fewer labels is refused before anybody trains: exit code 3, one line, a hint."""
    (tmp_path / "cnn.json").write_text(described(shape, units))
    said = fedcoin("train", "--model", str(tmp_path / "cnn.json"), folder=quiet.root)
    assert said.code == 3, said.err
    assert "hint:" in said.err
    # Nothing is left that would count as the newest round.
    assert not list(quiet.rounds.iterdir())


def test_a_round_tells_how_it_was_made(quiet: Workspace) -> None:
    """round.json and --json hold the whole recipe, and the command in it makes the same bytes again."""
    options = ("--clients", "3", "--epochs", "2", "--split", "dirichlet:0.5", "--rate", "0.05", "--seed", "4")
    said = fedcoin("train", *options, "--json", folder=quiet.root)
    assert said.code == 0, said.err
    recipe = json.loads((Path(said.json["round"]) / "round.json").read_text())["recipe"]
    assert {name: said.json[name] for name in recipe} == recipe
    assert (recipe["seed"], recipe["epochs"], recipe["rate"], recipe["batch"]) == (4, 2, 0.05, 8)
    assert (recipe["dataset"]["name"], recipe["split"], recipe["start"]) == ("digits", "dirichlet:0.5", None)
    assert {"fedcoin", "keras", "numpy", "python"} <= recipe["versions"].keys()
    for client in recipe["clients"]:
        assert sum(client["labels"].values()) == client["images"]
    assert sum(client["images"] for client in recipe["clients"]) == recipe["dataset"]["training_images"]
    program_name, *words = shlex.split(recipe["command"])
    assert program_name == "fedcoin"
    again = fedcoin(*words, "--json", folder=quiet.root)
    one, two = (read_round(Path(each.json["round"]), quiet.genesis()) for each in (said, again))
    assert one.folder != two.folder
    assert [update.digest for update in one.updates] == [update.digest for update in two.updates]


def test_the_next_round_starts_from_the_model_of_the_last(quiet: Workspace) -> None:
    """`model aggregate` writes what all clients make together; a round that starts from it begins with it."""
    for options in (
        ("--clients", "2", "--epochs", "2"),
        ("--clients", "2", "--epochs", "1", "--rate", "1e-9"),
    ):
        start = () if options[3] == "2" else ("--start", str(quiet.rounds / "1" / "aggregate.safetensors"))
        assert fedcoin("train", *options, *start, folder=quiet.root).code == 0
        if not start:
            said = fedcoin("model", "aggregate", "--json", folder=quiet.root)
            assert said.code == 0, said.err
            assert Path(said.json["file"]) == quiet.rounds / "1" / "aggregate.safetensors"
    kept = fedcoin("model", "aggregate", "--clients", "2", "--json", folder=quiet.root)
    assert (kept.json["clients"], kept.json["accuracy"]) == ([2], said.json["accuracy"])
    assert fedcoin("model", "aggregate", "--clients", "3", folder=quiet.root).code == 11
    assert fedcoin("model", "aggregate", "--clients", "one", folder=quiet.root).code == 2


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_round_is_none(how: signal.Signals, quiet: Workspace) -> None:
    """Whether it is asked to stop or killed, `train` leaves nothing that counts as the newest round."""
    whole = make_round(quiet)
    with program("train", "--clients", "2", "--epochs", "1000", folder=quiet.root) as training:
        wait_until((quiet.rounds / "2").is_dir)
        os.kill(training.pid, how)
        training.communicate(timeout=60)
    assert quiet.latest_round() == whole
    assert (quiet.rounds / "2").exists() == (how is signal.SIGKILL)


SWALLOWING = """
import contextlib, signal, sys
from fedcoin_cli.application.rounds import making
from fedcoin_cli.cli.main import main

train = making.train_round

def swallowing(*arguments, **options):
    with contextlib.suppress(KeyboardInterrupt):  # as imports and callbacks of large libraries do
        signal.raise_signal(signal.SIGINT)
    return train(*arguments, **options)

making.train_round = swallowing
sys.exit(main(["train", "--clients", "2", "-C", sys.argv[1]]))
"""


def test_an_interrupt_that_a_library_swallows_is_none_the_less(quiet: Workspace) -> None:
    """Ctrl-C while TensorFlow loads may be lost in there: training ends at its next step, and leaves nothing."""
    ended = subprocess.run([sys.executable, "-c", SWALLOWING, quiet.root], capture_output=True, check=False)
    assert ended.returncode == ExitCode.INTERRUPTED
    assert list(quiet.rounds.iterdir()) == []


def test_what_is_wrong_is_said_before_tensorflow_is_loaded(quiet: Workspace, tmp_path: Path) -> None:
    """A model that is refused, too few images or labels, an unknown split: told where Keras cannot be loaded."""
    (tmp_path / "cnn.json").write_text(described([8, 8, 1], 9))
    (tmp_path / "bad.json").write_text("{}")
    for options, code in (
        (("--model", str(tmp_path / "bad.json")), 13),
        (("--model", str(tmp_path / "cnn.json")), 3),
        (("--clients", "1000", "--set", "task.clients=1000", "--dataset", "none.npz"), 11),
        (("--split", "none"), 3),
    ):
        said = fedcoin("train", *options, folder=quiet.root, KERAS_BACKEND="none")
        assert said.code == code, said.err
    assert not list(quiet.rounds.iterdir())
