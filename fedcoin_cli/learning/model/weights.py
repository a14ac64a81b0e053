"""A round's arrays on disk: client updates and the test set.

Reading checks names, shapes and kinds of numbers from the header alone, then the numbers themselves (finite, within
bounds). Nothing here needs Keras, so nodes and auditors may import it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.model.tensorfile import TensorFile, tensor_bytes, write_tensors
from ledger_store.genesis import WEIGHT_MAX

# Every genesis promises these two.
MAX_WEIGHT: Final = WEIGHT_MAX
MAX_PIXEL: Final = 1e6
MAX_IMAGES: Final = 1_000_000

_TEST_HINT: Final = (
    "a test set is a safetensors file of x (float32 or uint8, images of the model's input) "
    "and y (int32, their labels)"
)

Weights = tuple[npt.NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True)
class TestSet:
    """Images (n, …) as float32, or uint8 that means x/255, and labels (n,) int32 in 0..classes−1."""

    __test__ = False

    images: npt.NDArray[np.float32] | npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)


def write_update(path: Path, weights: Sequence[npt.NDArray[np.float32]]) -> None:
    """Write one client's weights, in the order of `model.get_weights()`."""
    path.write_bytes(update_bytes(weights))


def update_bytes(weights: Sequence[npt.NDArray[np.float32]]) -> bytes:
    """What the file of these weights holds; equal weights give equal bytes."""
    named = {f"{index:03d}": weight.astype("<f4", copy=False) for index, weight in enumerate(weights)}
    return tensor_bytes(named)


def average(updates: Sequence[Weights], shares: Sequence[int]) -> Weights:
    """The mean of some clients' weights, each counted by its share; summed in float64."""
    return tuple(
        np.average(np.array(parts, np.float64), axis=0, weights=shares).astype(np.float32)
        for parts in zip(*updates, strict=True)
    )


def read_update(path: Path, spec: ModelSpec, *, owner: str = "") -> Weights:
    """One client's weights for the model `spec` [P-12.2].

    Args:
        path: a safetensors file with tensors "000", "001", ….
        spec: the model that the weights must fit.
        owner: whose update this is, for messages ("client 3").

    Raises:
        RoundFilesInvalid: anything but float32 tensors of exactly the model's shapes, finite, |w| ≤ 10⁶.
    """
    file = TensorFile(path, owner)
    expected = {f"{index:03d}": shape for index, shape in enumerate(spec.weight_shapes)}
    _require(file, {name: ("<f4", shape) for name, shape in expected.items()})
    return tuple(_bounded(file, name, MAX_WEIGHT) for name in expected)


def write_test(path: Path, test: TestSet) -> None:
    """Write a test set as tensors `x` and `y`."""
    write_tensors(path, {"x": test.images, "y": test.labels.astype("<i4")})


def read_test(path: Path, spec: ModelSpec) -> TestSet:
    """The test set for the model `spec` [P-12.3].

    Raises:
        RoundFilesInvalid: no images, more than 10⁶, of another shape than the model's input, not finite or beyond
            ±10⁶, or a label that the model does not have.
    """
    file = TensorFile(path, hint=_TEST_HINT)
    _names(file, {"x", "y"})
    count = file.entries["x"].shape[0] if file.entries["x"].shape else 0
    if not 1 <= count <= MAX_IMAGES:
        file.refuse(f"a test set has 1 to {MAX_IMAGES} images")
    pixels = "u1" if file.entries["x"].dtype == np.uint8 else "<f4"
    _require(file, {"x": (pixels, (count, *spec.input_shape)), "y": ("<i4", (count,))})
    labels = file.read("y")
    if labels.min() < 0 or labels.max() >= spec.classes:
        file.refuse(f"a label lies outside 0..{spec.classes - 1}")
    return TestSet(file.read("x") if pixels == "u1" else _bounded(file, "x", MAX_PIXEL), labels)


def read_labels(path: Path) -> npt.NDArray[np.int32]:
    """The labels of a test set, whatever the model; raises `RoundFilesInvalid`."""
    file = TensorFile(path, hint=_TEST_HINT)
    _names(file, {"x", "y"})
    entry = file.entries["y"]
    if entry.dtype != np.dtype("<i4") or len(entry.shape) != 1 or not 1 <= entry.shape[0] <= MAX_IMAGES:
        file.refuse("its labels are not one int32 an image")
    labels: npt.NDArray[np.int32] = file.read("y")
    if labels.min() < 0:
        file.refuse("a label is below 0")
    return labels


def _names(file: TensorFile, expected: set[str]) -> None:
    if set(file.entries) != expected:
        file.refuse(f"the file must hold exactly the tensors {', '.join(sorted(expected))}")


def _require(file: TensorFile, expected: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
    """Refuse, from the header alone, whatever is not exactly these tensors."""
    _names(file, set(expected))
    for name, (dtype, shape) in expected.items():
        entry = file.entries[name]
        if entry.dtype != np.dtype(dtype):
            file.refuse(f"tensor {name!r} holds {entry.dtype.name}, not {np.dtype(dtype).name}")
        if entry.shape != shape:
            file.refuse(f"tensor {name!r} has shape {entry.shape}, the round needs {shape}")


def _bounded(file: TensorFile, name: str, bound: float) -> npt.NDArray[Any]:
    values = file.read(name)
    # NaN fails every comparison, so one test refuses it together with infinities and large values.
    if not (values.min(initial=0) >= -bound and values.max(initial=0) <= bound):
        file.refuse(f"tensor {name!r} holds a value that is not finite or beyond ±{bound:g}")
    return values
