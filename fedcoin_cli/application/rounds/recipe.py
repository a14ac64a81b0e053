"""A round of simulated clients as an experiment: what is to be trained, and what its `round.json` says of it.

What is written is for people who repeat or compare rounds; no miner reads or believes it.
"""

import platform
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from fedcoin_cli.application.workspace.workspace import client_name
from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.model.weights import Weights
from fedcoin_cli.learning.simulation.datasets import Dataset

if TYPE_CHECKING:
    from fedcoin_cli.learning.simulation.training import Trained

EPOCHS, RATE = 10, 0.1
_PACKAGES = ("fedcoin", "keras", "numpy", "scikit-learn", "tensorflow", "tensorflow-cpu")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to simulate: the data, how they are divided among `clients`, how long each trains, and which model.

    Without a model it is the seed model, without `start` all begin with freshly drawn weights; a model's images are
    those of the data set. `named`: options and the files that they named, for whoever repeats it.
    """

    dataset: Dataset
    split: str
    clients: int
    epochs: int
    seed: int
    aggregation: str
    model: ModelSpec | None = None
    rate: float = RATE
    batch: int | None = None
    start: Weights | None = None
    start_digest: str | None = None
    named: tuple[tuple[str, str], ...] = ()


def told(recipe: Recipe, trained: "Trained") -> dict[str, Any]:
    """A recipe and what came of it: everything that the round's numbers depend on, counts of labels included."""
    clients = enumerate(trained.updates, 1)
    return {
        "command": _command(recipe, trained.batch),
        "dataset": {
            "name": recipe.dataset.name,
            "digest": recipe.dataset.digest,
            "training_images": len(recipe.dataset.y_train),
            "test_images": len(recipe.dataset.test),
            "image": list(recipe.dataset.input_shape),
            "labels": None if recipe.dataset.real else recipe.dataset.classes,
        },
        "split": recipe.split,
        "start": recipe.start_digest,
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "optimizer": "SGD",
        "rate": recipe.rate,
        "batch": trained.batch,
        "clients": [
            {"name": client_name(number), "images": one.examples, "labels": _counts(one.labelled)}
            for number, one in clients
        ],
        "versions": _versions(),
    }


def _counts(labelled: Iterable[int]) -> dict[str, int]:
    """How many images of each label, without those of which there is none."""
    return {str(label): count for label, count in enumerate(labelled) if count}


def _command(recipe: Recipe, batch: int) -> str:
    """The command that makes this round again."""
    options: Mapping[str, object] = dict(recipe.named) | {
        "--clients": recipe.clients,
        "--split": recipe.split,
        "--epochs": recipe.epochs,
        "--rate": recipe.rate,
        "--batch": batch,
        "--seed": recipe.seed,
    }
    if recipe.aggregation != "mean":
        options = {**options, "--set": f"task.aggregation={recipe.aggregation}"}
    return shlex.join(["fedcoin", "train", *(str(word) for pair in options.items() for word in pair)])


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
