"""Values without a ledger: what they are, how sure they are, and what is refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import MODEL, brute_force, toy

import fedcoin
from fedcoin_cli.consensus.rankings import grid_up_to

CLIENTS = 5


@pytest.mark.parametrize("examples", [None, [1, 2, 3, 4, 50]])
def test_values_are_those_of_the_definition(examples: list[int] | None) -> None:
    """Exact values equal a brute force over all coalitions, as fractions, plain mean and FedAvg alike."""
    test, updates = toy(CLIENTS)
    found = fedcoin.shapley(MODEL, test, updates, examples=examples)
    assert found.exact
    assert list(found.fractions) == brute_force(test, updates, examples)
    plain = fedcoin.shapley(MODEL, test, updates, examples=examples, aggregation="mean")
    assert list(plain.fractions) == brute_force(test, updates)
    values, errors = found
    assert list(values) == [float(one) for one in found.fractions]
    assert errors == (0.0,) * CLIENTS


def test_sampled_values_lie_within_their_errors() -> None:
    """Sampled values differ from the exact ones by a few of their own standard errors, and add up all the same."""
    test, updates = toy(CLIENTS)
    found = fedcoin.shapley(MODEL, test, updates, rankings=100)
    truth = brute_force(test, updates)
    assert not found.exact
    assert found.rankings == grid_up_to(100)
    assert sum(found.fractions) == sum(truth)
    errors = np.array(found.errors)
    assert (errors > 0).all()
    assert (np.abs(np.array(found.values) - [float(one) for one in truth]) < 5 * errors).all()
    assert len(found.test_errors) == CLIENTS


def test_so_many_rankings_give_the_same_again() -> None:
    """With a number of rankings the same call gives the same values, and another seed gives others."""
    test, updates = toy(CLIENTS)
    first, again, other = (
        fedcoin.shapley(MODEL, test, updates, rankings=10, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.fractions != other.fractions


def test_bytes_are_pixels_of_255() -> None:
    """Images of uint8 mean x / 255, as in a file."""
    (pixels, labels), updates = toy(3)
    raw = np.round(pixels * 255).astype(np.uint8)
    exact = [fedcoin.shapley(MODEL, (one, labels), updates).fractions for one in (raw, raw / np.float64(255))]
    assert exact[0] == exact[1]


class _Described:
    """What describes itself as a Keras model does."""

    def __init__(self, text: str) -> None:
        self._text = text

    def to_json(self) -> str:
        return self._text


@pytest.mark.parametrize("given", [json.loads, str, _Described])
def test_a_model_may_be_given_as_one_has_it(given: Callable[[str], Any], tmp_path: Path) -> None:
    """Text, a mapping, a file and a model's own `to_json` describe one model."""
    test, updates = toy(3)
    path = tmp_path / "model.json"
    path.write_text(MODEL)
    assert fedcoin.shapley(given(MODEL), test, updates) == fedcoin.shapley(path, test, updates)


def test_the_model_is_one_of_keras() -> None:
    """Keras reads what `mlp` describes, with the weights in the order that is documented."""
    keras = pytest.importorskip("keras")
    made = keras.models.model_from_json(MODEL)
    _, updates = toy(2)
    assert [tuple(weight.shape) for weight in made.weights] == [weight.shape for weight in updates[0]]


def _changed(change: str) -> dict[str, Any]:
    """The arguments of a good call with one thing spoilt."""
    (pixels, labels), updates = toy(3)
    nan = [[weight.copy() for weight in update] for update in updates]
    nan[1][2][0, 0] = np.nan
    lambdas = MODEL.replace('"Flatten"', '"Lambda"')
    spoilt: dict[str, dict[str, Any]] = {
        "one client": {"updates": updates[:1]},
        "no client": {"updates": []},
        "a weight is NaN": {"updates": nan},
        "kernels of PyTorch": {"updates": [[weight.T for weight in update] for update in updates]},
        "a layer's arrays are missing": {"updates": [update[:2] for update in updates]},
        "words": {"updates": [["kernel", "bias", "kernel", "bias"]] * 3},
        "a state dict": {"updates": [dict(enumerate(update)) for update in updates]},
        "images of another shape": {"test": (pixels[:, :3], labels)},
        "a pixel is infinite": {"test": (pixels / np.float32(0), labels)},
        "no image": {"test": (pixels[:0], labels[:0])},
        "a label beyond the classes": {"test": (pixels, labels + 1)},
        "a label below 0": {"test": (pixels, labels - 3)},
        "one-hot labels": {"test": (pixels, np.eye(3)[labels])},
        "an unknown layer": {"model": lambdas},
        "no model": {"model": "nowhere.json"},
        "examples of nobody": {"examples": [1, 2]},
        "zero examples": {"examples": [1, 0, 2]},
        "half an example": {"examples": [1, 1.5, 2]},
        "fedavg without examples": {"aggregation": "fedavg"},
        "an unknown aggregation": {"aggregation": "median"},
        "exact values of 25 clients": {"updates": toy(25)[1], "exact": True},
        "one ranking": {"rankings": 1},
        "exact rankings": {"rankings": 10, "exact": True},
        "negative seconds": {"seconds": -1},
    }
    return {"model": MODEL, "test": (pixels, labels), "updates": updates} | spoilt[change]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("one client", "updates"),
        ("no client", "updates"),
        ("a weight is NaN", "updates[1][2]"),
        ("kernels of PyTorch", "updates[0][0]"),
        ("a layer's arrays are missing", "updates[0]"),
        ("words", "updates[0][0]"),
        ("a state dict", "updates[0]"),
        ("images of another shape", "test images"),
        ("a pixel is infinite", "test images"),
        ("no image", "test images"),
        ("a label beyond the classes", "test labels"),
        ("a label below 0", "test labels"),
        ("one-hot labels", "metric"),
        ("an unknown layer", "model"),
        ("no model", "nowhere.json"),
        ("examples of nobody", "examples"),
        ("zero examples", "examples"),
        ("half an example", "examples"),
        ("fedavg without examples", "examples"),
        ("an unknown aggregation", "aggregation"),
        ("exact values of 25 clients", "exact"),
        ("one ranking", "rankings"),
        ("exact rankings", "rankings"),
        ("negative seconds", "seconds"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_what_cannot_be_valued_is_refused(change: str, where: str) -> None:
    """Bad input is a FedCoinError that names the argument, never a traceback from inside NumPy."""
    with pytest.raises(fedcoin.FedCoinError) as error:
        fedcoin.shapley(**_changed(change))
    assert error.value.where == where
    assert error.value.message


def test_importing_loads_nothing() -> None:
    """`import fedcoin` loads no package beyond the standard library; values need no TensorFlow and no socket."""
    code = "import sys; before = set(sys.modules); import fedcoin; print(*sorted(set(sys.modules) - before))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names) == {"fedcoin"}
    code = "import fedcoin, sys; fedcoin.shapley; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"keras", "tensorflow", "zmq", "safetensors", "typer"} & set(found)


def test_all_that_is_offered_is_there() -> None:
    """Every name in `__all__` can be had, `dir` shows it, and no other name is made up."""
    assert all(getattr(fedcoin, name).__doc__ for name in fedcoin.__all__)
    assert set(fedcoin.__all__) <= set(dir(fedcoin))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fedcoin.nothing  # noqa: B018
