import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

from fedcoin_cli.learning.graph.graph import Weight
from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.model.weights import (
    TestSet,
    read_frozen,
    read_test,
    read_update,
    write_test,
    write_update,
)
from ledger_store.base.errors import RoundFilesInvalid

Array = npt.NDArray[Any]
Header = dict[str, Any]


@pytest.fixture
def weights(spec: ModelSpec) -> tuple[Array, ...]:
    rng = np.random.default_rng(1)
    return tuple(rng.standard_normal(shape).astype(np.float32) for shape in spec.weight_shapes)


@pytest.fixture
def update(tmp_path: Path, weights: tuple[Array, ...]) -> Path:
    path = tmp_path / "client-001.safetensors"
    write_update(path, weights)
    return path


def test_update_round_trip(update: Path, weights: tuple[Array, ...], spec: ModelSpec) -> None:
    """An update is read back to the bit, and the safetensors library reads the same file."""
    for read, written in zip(read_update(update, spec), weights, strict=True):
        np.testing.assert_array_equal(read, written)
    assert sorted(load_file(update)) == ["000", "001", "002", "003"]


def test_updates_of_the_library_are_read(tmp_path: Path, weights: tuple[Array, ...], spec: ModelSpec) -> None:
    """A file that another program wrote with the safetensors library, metadata included, is accepted [P-12.2]."""
    path = tmp_path / "foreign.safetensors"
    save_file({f"{index:03d}": weight for index, weight in enumerate(weights)}, path, {"format": "np"})
    np.testing.assert_array_equal(read_update(path, spec)[3], weights[3])


def test_equal_weights_are_equal_bytes(tmp_path: Path, update: Path, weights: tuple[Array, ...]) -> None:
    """Writing is reproducible, so that a digest names the weights."""
    again = tmp_path / "again"
    write_update(again, weights)
    assert again.read_bytes() == update.read_bytes()


def with_header(data: bytes, edit: Callable[[Header], Any]) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def zipped(_: bytes) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(1000))
    return buffer.getvalue()


def renamed(header: Header) -> None:
    header["004"] = header.pop("003")


def overlapping(header: Header) -> None:
    header["001"]["data_offsets"] = header["003"]["data_offsets"]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut in the header": lambda data: data[:30],
    "cut in the numbers": lambda data: data[:-1],
    "a byte too many": lambda data: data + b"\0",
    "a header length beyond the file": lambda data: (1 << 40).to_bytes(8, "little") + data[8:],
    "a header above 1 MiB": lambda data: (2 << 20).to_bytes(8, "little") + b" " * (2 << 20) + data,
    "a header that is not JSON": lambda data: data[:8] + b"!" + data[9:],
    "a deep header": lambda _: (60_000).to_bytes(8, "little") + b"[" * 60_000,
    "a header that is a list": lambda _: (2).to_bytes(8, "little") + b"[]",
    "a pickle": lambda _: pickle.dumps(np.zeros(1000)),
    "a zip archive": zipped,
    "half precision": lambda data: with_header(data, lambda header: header["000"].update(dtype="F16")),
    "another kind of number": lambda data: with_header(
        data, lambda header: header["000"].update(dtype="I32")
    ),
    "another shape": lambda data: with_header(data, lambda header: header["000"].update(shape=[6, 9])),
    "a shape that promises more": lambda data: with_header(
        data, lambda header: header["000"].update(shape=[1 << 30])
    ),
    "a negative size": lambda data: with_header(data, lambda header: header["000"].update(shape=[-9, -6])),
    "a size that is not an integer": lambda data: with_header(
        data, lambda header: header["000"].update(shape=[9.0, 6])
    ),
    "overlapping tensors": lambda data: with_header(data, overlapping),
    "a missing tensor": lambda data: with_header(data, renamed),
    "a tensor described by nothing": lambda data: with_header(data, lambda header: header.update({"000": 7})),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_files_are_refused(damage: Callable[[bytes], bytes], update: Path, spec: ModelSpec) -> None:
    """Every way in which a file can be something else is one clean error that names file and client."""
    update.write_bytes(damage(update.read_bytes()))
    with pytest.raises(RoundFilesInvalid, match=r"^client 7: ") as caught:
        read_update(update, spec, owner="client 7")
    assert caught.value.where == str(update)


def test_frozen_weights_are_the_models_own(tmp_path: Path) -> None:
    """By name, in the model's order; other tensors, and a file too many or too few, are refused [P-12.18]."""
    model = (Weight("head.weight", (2, 3)), Weight("base", (4,)))
    path = tmp_path / "frozen.safetensors"
    tensors = {"base": np.arange(4, dtype=np.float32), "head.weight": np.ones((2, 3), np.float32)}
    save_file(tensors, path)
    for weight, read in zip(model, read_frozen(path, model, where="model.json"), strict=True):
        np.testing.assert_array_equal(read, tensors[weight.name])
    assert read_frozen(None, (), where="model.json") == ()
    with pytest.raises(RoundFilesInvalid, match="freezes no weights"):
        read_frozen(path, (), where="model.json")
    with pytest.raises(RoundFilesInvalid, match="freezes 2 tensors, and the round has no file"):
        read_frozen(None, model, where="model.json")
    with pytest.raises(RoundFilesInvalid, match=r"exactly the tensors base\n"):
        read_frozen(path, model[1:], where="model.json")
    save_file(tensors | {"base": np.full(4, np.nan, np.float32)}, path)
    with pytest.raises(RoundFilesInvalid, match="'base' holds a value that is not finite"):
        read_frozen(path, model, where="model.json")


def test_missing_file(tmp_path: Path, spec: ModelSpec) -> None:
    """A file that is not there is an error of the round, not a traceback."""
    with pytest.raises(RoundFilesInvalid, match="No such file"):
        read_update(tmp_path / "none", spec)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 2e6, -2e6])
def test_wild_weights_are_refused(
    value: float, tmp_path: Path, weights: tuple[Array, ...], spec: ModelSpec
) -> None:
    """One weight that is not finite, or beyond the bound, refuses the update and names the tensor [P-12.2]."""
    weights[2][1, 1] = value
    path = tmp_path / "wild"
    write_update(path, weights)
    with pytest.raises(RoundFilesInvalid, match="'002'"):
        read_update(path, spec)


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_test_set_round_trip(kind: type, tmp_path: Path, spec: ModelSpec) -> None:
    """Test sets keep their kind of pixel and their labels [P-12.3]."""
    images: Array = np.arange(45).reshape(5, 3, 3).astype(kind)
    write_test(tmp_path / "test", TestSet(images, np.array([0, 1, 2, 3, 0], np.int32)))
    read = read_test(tmp_path / "test", spec)
    np.testing.assert_array_equal(read.images, images)
    assert read.images.dtype == kind
    assert read.labels.tolist() == [0, 1, 2, 3, 0]


TEST_SETS: dict[str, tuple[Array, Array]] = {
    "no image": (np.zeros((0, 3, 3), np.float32), np.zeros(0, np.int32)),
    "images of another shape": (np.zeros((2, 4, 4), np.float32), np.zeros(2, np.int32)),
    "fewer labels": (np.zeros((2, 3, 3), np.float32), np.zeros(1, np.int32)),
    "a label too high": (np.zeros((1, 3, 3), np.float32), np.full(1, 4, np.int32)),
    "a negative label": (np.zeros((1, 3, 3), np.float32), np.full(1, -1, np.int32)),
    "labels as floats": (np.zeros((1, 3, 3), np.float32), np.zeros(1, np.float32)),
    "images as int32": (np.zeros((1, 3, 3), np.int32), np.zeros(1, np.int32)),
    "a pixel that is NaN": (np.full((1, 3, 3), np.nan, np.float32), np.zeros(1, np.int32)),
    "a scalar": (np.ones((), np.float32), np.zeros(1, np.int32)),
}


@pytest.mark.parametrize(("images", "labels"), TEST_SETS.values(), ids=TEST_SETS.keys())
def test_bad_test_sets_are_refused(images: Array, labels: Array, tmp_path: Path, spec: ModelSpec) -> None:
    """A test set that the model cannot be judged on is refused [P-12.3]."""
    save_file({"x": images, "y": labels}, tmp_path / "test")
    with pytest.raises(RoundFilesInvalid):
        read_test(tmp_path / "test", spec)


def test_a_refused_test_set_is_not_told_to_convert_weights(tmp_path: Path, spec: ModelSpec) -> None:
    """The hint says what a test set is made of."""
    path = tmp_path / "test.safetensors"
    path.write_bytes(b"no test set")
    with pytest.raises(RoundFilesInvalid) as caught:
        read_test(path, spec)
    assert "y (int32, their labels, or float32, real-valued targets)" in str(caught.value.hint)
