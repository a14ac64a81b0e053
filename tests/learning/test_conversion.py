import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shell import fedcoin

from fedcoin_cli.learning.exchange.weights import convert
from fedcoin_cli.learning.model.backend import keras
from fedcoin_cli.learning.model.build import build
from fedcoin_cli.learning.model.model import seed_spec
from fedcoin_cli.learning.model.weights import read_update
from ledger_store.base.errors import RoundFilesInvalid

SPEC = seed_spec((4, 4), 3)


@pytest.fixture
def trained(tmp_path: Path) -> Any:
    """A Keras model as a client of another tool has it, with its own layer names; its model.json lies in the folder."""
    (tmp_path / "model.json").write_text(build(SPEC).to_json())
    return keras.Sequential(
        [
            keras.Input((4, 4), name="pixels"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(128, "relu", name="hidden", bias_initializer="random_normal"),
            keras.layers.Dense(3, name="out", bias_initializer="random_normal"),
        ],
        name="mine",
    )


def same(path: Path, weights: list[Any]) -> bool:
    """Whether a converted file holds exactly these weights."""
    return all(
        np.array_equal(one, other) for one, other in zip(read_update(path, SPEC), weights, strict=True)
    )


@pytest.mark.parametrize("name", ["whole.keras", "some.weights.h5", "old.h5"])
def test_files_of_keras(tmp_path: Path, trained: Any, name: str) -> None:
    """What Keras saves, in its three kinds of file, is read back to the bit, whatever the layers are called."""
    path = tmp_path / name
    trained.save_weights(path) if ".weights" in name else trained.save(path)
    said = fedcoin("convert", str(path), "--json", folder=tmp_path)
    assert said.code == 0, said.err
    assert said.json["numbers"] == 16 * 128 + 128 + 128 * 3 + 3
    assert Path(said.json["weights"]).name == f"{name.split('.', maxsplit=1)[0]}.safetensors"
    assert same(Path(said.json["weights"]), trained.get_weights())


def test_files_of_numpy(tmp_path: Path, trained: Any) -> None:
    """Arrays of a .npz are taken by their numbers, or in the file's order; doubles are rounded to floats."""
    weights = trained.get_weights()
    shuffled = {f"w{number + 8}": weights[number].astype(np.float64) for number in (2, 0, 3, 1)}
    np.savez(tmp_path / "numbered.npz", **shuffled)
    np.savez(tmp_path / "named.npz", **dict(zip("dbca", weights, strict=True)))
    for name in ("numbered", "named"):
        convert(tmp_path / f"{name}.npz", tmp_path / "model.json", tmp_path / f"{name}.safetensors")
        assert same(tmp_path / f"{name}.safetensors", weights)


def test_what_is_refused(tmp_path: Path, trained: Any) -> None:
    """Pickles, other shapes, numbers that are not finite, foreign and damaged files are refused; nothing is written."""
    weights = trained.get_weights()
    np.savez(tmp_path / "pickled.npz", np.array([pickle.dumps], dtype=object))
    np.savez(tmp_path / "fewer.npz", *weights[:-1])
    np.savez(tmp_path / "turned.npz", weights[0].T, *weights[1:])
    np.savez(tmp_path / "whole.npz", *(one.astype(np.int32) for one in weights))
    np.savez(tmp_path / "infinite.npz", *(np.full_like(one, np.inf) for one in weights))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "fewer.npz").read_bytes()[:100])
    (tmp_path / "empty.keras").write_bytes(b"")
    (tmp_path / "no.h5").write_bytes(b"no HDF5 at all")
    (tmp_path / "weights.pt").write_bytes(b"")
    before = sorted(tmp_path.iterdir())
    for path in before:
        if path.name == "model.json":
            continue
        with pytest.raises(RoundFilesInvalid) as refused:
            convert(path, tmp_path / "model.json", tmp_path / "out.safetensors")
        assert refused.value.where == str(path)
    with pytest.raises(RoundFilesInvalid):
        convert(tmp_path / "gone.keras", tmp_path / "model.json", tmp_path / "out.safetensors")
    with pytest.raises(RoundFilesInvalid, match="no model description"):
        convert(tmp_path / "fewer.npz", tmp_path / "gone.json", tmp_path / "out.safetensors")
    assert sorted(tmp_path.iterdir()) == before


def test_no_code_of_a_file_runs(tmp_path: Path) -> None:
    """A model file whose layers hold code is read for its weights only: with none that fit, it is refused unrun."""
    (tmp_path / "model.json").write_text(build(SPEC).to_json())
    hostile = keras.Sequential([keras.Input((4, 4)), keras.layers.Lambda(lambda x: x)])
    hostile.save(tmp_path / "hostile.keras")
    assert "Lambda" in json.dumps(hostile.get_config())
    with pytest.raises(RoundFilesInvalid):
        convert(tmp_path / "hostile.keras", tmp_path / "model.json", tmp_path / "out.safetensors")
