"""A round's arrays as a person has them in Python: checked as those from files are, with words for who made them.

NumPy arrays, tensors of PyTorch and TensorFlow, nested lists: whatever NumPy makes an array of. Numbers become float32,
as they do in a file. Nothing here needs Keras.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.graph.graph import Input, Kind
from fedcoin_cli.learning.model.interface import Model
from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.model.truth import Unfit, check_shape, check_values
from fedcoin_cli.learning.model.weights import MAX_IMAGES, MAX_PIXEL, MAX_WEIGHT, TestSet, Weights
from ledger_store.base.errors import RoundFilesInvalid
from ledger_store.transaction import AGGREGATIONS

Array = npt.ArrayLike
"""What NumPy makes an array of."""
Images = Array | Mapping[str, Array]
"""What a model is given of all test images; of one with several inputs an array of each name."""
Update = Sequence[npt.ArrayLike] | Mapping[str, npt.ArrayLike]
"""One client's weights: an array a tensor, in the order of Keras' `model.get_weights()`; of a graph by name."""

_TENSOR_HINT: Final = "give NumPy arrays; of PyTorch: tensor.detach().cpu().numpy()"
_TRANSPOSED_HINT: Final = (
    "kernels are (inputs, units): PyTorch's Linear holds them the other way round, so give .T"
)


def images_and_labels(test: object) -> tuple[Images, Array]:
    """The two halves of a test set; raises `RoundFilesInvalid` for anything but a pair."""
    if not isinstance(test, tuple | list) or len(test) != 2:
        hint = "(images, labels), an array each; of a DataLoader put the batches together first"
        raise RoundFilesInvalid(f"{type(test).__name__} is no pair of arrays", where="test", hint=hint)
    return test[0], test[1]


def updates_of(updates: Sequence[Update], model: Model) -> tuple[Weights, ...]:
    """Updates for a model, one a client.

    Raises:
        RoundFilesInvalid: fewer than two clients, or arrays that are not finite numbers of the model's shapes.
    """
    if len(updates) < 2:
        hint = "a value compares a client with the others: give an update of each of two or more"
        raise RoundFilesInvalid(f"{len(updates)} updates are too few", where="updates", hint=hint)
    return tuple(update_of(update, model, f"updates[{number}]") for number, update in enumerate(updates))


def examples_of(examples: Sequence[int] | None, clients: int) -> tuple[int, ...]:
    """How many examples each client trained on; 1 each where nobody says. Raises `RoundFilesInvalid`."""
    if examples is None:
        return (1,) * clients
    counts = tuple(int(count) for count in examples)
    if len(counts) != clients or min(counts) < 1 or counts != tuple(examples):
        message = f"examples must be {clients} whole numbers from 1 on, one a client"
        raise RoundFilesInvalid(message, where="examples")
    return counts


def owners_of(groups: Sequence[Sequence[int]], clients: int) -> tuple[tuple[int, ...], ...]:
    """For each owner the numbers of its updates, from 0, by the first; who is in no group has one.

    Raises `RoundFilesInvalid` for groups that overlap, are of fewer than two, name nobody, or leave one owner alone.
    """
    named = [number for group in groups for number in group]
    hint = f"give lists of two or more of 0 to {clients - 1}, each number once"
    if any(len(group) < 2 for group in groups) or len(set(named)) != len(named):
        raise RoundFilesInvalid("groups are of two or more updates, each in one", where="groups", hint=hint)
    if not set(named) <= set(range(clients)):
        raise RoundFilesInvalid("a group names an update that is not there", where="groups", hint=hint)
    owned = [tuple(sorted(group)) for group in groups]
    owned += [(number,) for number in range(clients) if number not in named]
    if len(owned) < 2:
        raise RoundFilesInvalid("all updates are one owner's", where="groups", hint="values compare owners")
    return tuple(sorted(owned))


def aggregation_of(aggregation: str | None, examples: Sequence[int] | None) -> str:
    """How updates are averaged: "fedavg" where examples are told and nothing else is said, else "mean".

    Raises `RoundFilesInvalid` for another word, and for FedAvg of nobody's examples.
    """
    if aggregation is None:
        return "mean" if examples is None else "fedavg"
    if aggregation not in AGGREGATIONS:
        hint = f"one of: {', '.join(AGGREGATIONS)}"
        raise RoundFilesInvalid(f"no aggregation {aggregation!r}", where="aggregation", hint=hint)
    if aggregation == "fedavg" and examples is None:
        hint = "examples= tells how many examples each client trained on"
        raise RoundFilesInvalid("fedavg weights by examples", where="examples", hint=hint)
    return aggregation


def as_test_set(images: Images, labels: Array, model: Model) -> TestSet:
    """A test set for a model: uint8 stays and means x / 255, other real numbers become float32, token ids int32.

    Labels are whole numbers; real ones are targets.

    Raises:
        RoundFilesInvalid: shapes that do not fit each other or the model, numbers out of bounds, unknown labels.
    """
    numbers = _array(labels, "test labels")
    first, *more = (_input(values, wanted) for values, wanted in _by_input(images, model))
    if any(len(each) != len(first) for each in more):
        raise RoundFilesInvalid("inputs of unlike numbers of images", where="test images")
    real = numbers.dtype.kind == "f"
    try:
        check_shape(numbers.shape, model, len(first), real=real)
        check_values(numbers, model)
    except Unfit as error:
        raise RoundFilesInvalid(str(error), where="test labels", hint=error.hint) from error
    return TestSet(first, numbers.astype(np.float32 if real else np.int32), tuple(more))


def _by_input(images: Images, model: Model) -> list[tuple[Array, Input]]:
    names = [wanted.name for wanted in model.inputs]
    if isinstance(images, Mapping):
        if set(images) != set(names):
            message = f"images of {', '.join(sorted(images))[:80]}, the model is given {', '.join(names)}"
            raise RoundFilesInvalid(message, where="test images")
        return [(images[wanted.name], wanted) for wanted in model.inputs]
    if len(names) > 1:
        hint = f"give a mapping with an array each of: {', '.join(names)}"
        raise RoundFilesInvalid("the model is given several tensors", where="test images", hint=hint)
    return [(images, model.inputs[0])]


def _input(values: Array, wanted: Input) -> npt.NDArray[Any]:
    pixels = _array(values, "test images")
    _check_images(pixels, wanted)
    if wanted.kind is not Kind.float32:
        small = (
            pixels.dtype.kind in "iu"
            and -MAX_PIXEL <= pixels.min(initial=0) <= pixels.max(initial=0) <= MAX_PIXEL
        )
        if not small:
            message = f"{pixels.dtype}, the model reads whole numbers up to {MAX_PIXEL:g} as {wanted.name}"
            raise RoundFilesInvalid(message, where="test images")
        return np.ascontiguousarray(pixels.astype(np.int32))
    kept = pixels if pixels.dtype == np.uint8 else _bounded(pixels, MAX_PIXEL, "test images")
    return np.ascontiguousarray(kept)


def _check_images(pixels: npt.NDArray[Any], wanted: Input) -> None:
    if pixels.ndim == 0 or not 1 <= len(pixels) <= MAX_IMAGES:
        raise RoundFilesInvalid(f"a test set has 1 to {MAX_IMAGES} images", where="test images")
    if pixels.shape[1:] != wanted.shape:
        message = f"images are {pixels.shape[1:]}, the model reads {wanted.shape}"
        hint = "reshape them; channels that come first are moved by numpy.moveaxis(x, 1, -1)"
        raise RoundFilesInvalid(message, where="test images", hint=hint)


def update_of(update: Update, model: Model, where: str) -> Weights:
    """Weights for a model, of which messages say `where` they stand; raises `RoundFilesInvalid`."""
    shapes = model.weight_shapes
    arrays = _named(update, model, where) if isinstance(update, Mapping) else update
    if len(arrays) != len(shapes):
        message = f"{len(arrays)} arrays, the model has {len(shapes)}: {_listed(shapes)}"
        hint = (
            f"leave out the {len(model.frozen)} that it freezes, or give them by name" if model.frozen else ""
        )
        raise RoundFilesInvalid(message, where=where, hint=hint)
    return tuple(
        weight_of(values, shape, f"{where}[{place}]")
        for place, (values, shape) in enumerate(zip(arrays, shapes, strict=True))
    )


def _named(update: Mapping[str, Array], model: Model, where: str) -> Sequence[Array]:
    """The arrays of a mapping in the model's order; counters that nothing computes with, and frozen ones, are left."""
    if isinstance(model, ModelSpec):
        hint = "give a list of arrays in the order of Keras' get_weights(): kernel, bias, kernel, bias, …"
        raise RoundFilesInvalid("an update is not a mapping", where=where, hint=hint)
    names = model.weight_names
    if missing := [name for name in names if name not in update]:
        hint = f"the model's weights are called {', '.join(names)}"[:400]
        raise RoundFilesInvalid(f"there is no weight {missing[0]!r}", where=where, hint=hint)
    known = {*names, *(weight.name for weight in model.frozen)}
    for name in update:
        if name not in known and _array(update[name], f"{where}[{name!r}]").dtype.kind == "f":
            raise RoundFilesInvalid(f"the model has no weight {name[:80]!r}", where=where)
    return [update[name] for name in names]


def weight_of(values: Array, shape: tuple[int, ...], where: str) -> npt.NDArray[np.float32]:
    """One tensor of a model, float32; raises `RoundFilesInvalid`, which says `where` it stands."""
    array = _array(values, where)
    if array.shape != shape:
        transposed = array.ndim == 2 and array.shape[::-1] == shape
        message = f"shape {array.shape}, the model needs {shape}"
        raise RoundFilesInvalid(message, where=where, hint=_TRANSPOSED_HINT if transposed else "")
    return _bounded(array, MAX_WEIGHT, where)


def _array(values: Array, where: str) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
    # Foreign tensors refuse in ways of their own: one that needs a gradient, one that is on a GPU.
    except Exception as error:
        message = (
            f"no array can be made of it: {str(error).splitlines()[0][:120] if str(error) else type(error)}"
        )
        raise RoundFilesInvalid(message, where=where, hint=_TENSOR_HINT) from error
    if array.dtype.kind not in "fiu":
        raise RoundFilesInvalid(f"{array.dtype} are not real numbers", where=where, hint=_TENSOR_HINT)
    return array


def check_bound(values: npt.NDArray[Any], bound: float, where: str) -> None:
    """Refuse values that are not finite or beyond a bound; raises `RoundFilesInvalid`, saying `where` they stand."""
    # Of Python's floats: in half precision the bound itself would be infinite. NaN fails every comparison.
    least, most = float(values.min(initial=0)), float(values.max(initial=0))
    if not (least >= -bound and most <= bound):
        message = f"a value is not finite or beyond ±{bound:g}"
        raise RoundFilesInvalid(message, where=where, hint="a training that diverged leaves such values")


def _bounded(values: npt.NDArray[Any], bound: float, where: str) -> npt.NDArray[np.float32]:
    check_bound(values, bound, where)
    return values.astype(np.float32)


def _listed(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(map(str, shapes))
