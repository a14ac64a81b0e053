"""The loaded problem: a model, a test set and K updates; who adds what to an aggregate.

A coalition is a mask, a Python integer in which client j is bit j. How its utility is computed lives in `engine`
(fast, float32) and `reference` (float64, with bounds).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.contract.metric import ACCURACY, Metric
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.interface import Model
from fedcoin_cli.learning.model.lowering import chain_of, widened
from fedcoin_cli.learning.model.model import MAX_MODEL_BYTES, ModelSpec
from fedcoin_cli.learning.model.reading import read_model
from fedcoin_cli.learning.model.weights import TestSet, Weights, average, read_frozen, read_test, read_update
from ledger_store.base.errors import RoundFilesInvalid

MAX_ACTIVATION_BYTES: Final = 6 << 30
"""What a game holds at one time: all clients' pre-activations, or what a graph makes of weights or of an image."""
MAX_WINDOW_BYTES: Final = 4 << 30
"""What a convolution or pooling lays out at once, in float64, of a chunk of images."""
CHUNK_IMAGES: Final = 256
GRAPH_IMAGES: Final = 64
"""Images of a graph that are computed together at most: their values stay in a core's cache."""
MAX_WEIGHTS: Final = 1 << 30
"""Of all updates together, which a miner holds twice or thrice: 4 GiB a time. (docs/adr/0045)"""
MAX_COALITION_FLOP: Final = 2 * 10**12
"""The work of one coalition, first layer excepted; ResNet-18 on 300 pictures of 64 by 64 takes 0.09·10¹²."""
MAX_FIRST_LAYER_FLOP: Final = 5 * 10**12
"""The work of all first layers and of what is frozen, done once; 20 clients' MNIST updates take 0.04·10¹²."""
MAX_IMAGE_FLOP: Final = 10**10
"""The work of one image in one model: nothing interrupts it, not the reference's six passes either."""
MAX_IMAGE_VALUES: Final = 10**8
"""What all layers give for one image: moving so many as rounding may takes seconds, and nothing interrupts it."""
MAX_CHUNK_FLOP: Final = 20 * 10**9
"""The work of all first layers on the images that are taken together, a second or two."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RoundFiles:
    """Where a round's files are; `updates` in client order, `baseline` and `frozen` where the round has them."""

    model: Path
    test: Path
    updates: tuple[Path, ...]
    baseline: Path | None = None
    frozen: Path | None = None


@dataclass(frozen=True, slots=True)
class Game:
    """Everything that a utility depends on.

    `weights` are the integer weights of the clients in an aggregate: 1 each for `mean`, the example counts for
    `fedavg`. `empty` is u(∅) as the task states it: what `baseline` is worth where there is one, else what a constant
    output is where that is `chance`, else 0. `frozen` are the weights that no client trains.
    """

    model: Model
    test: TestSet
    updates: tuple[Weights, ...]
    weights: tuple[int, ...]
    empty: int = 0
    baseline: Weights | None = None
    metric: Metric = ACCURACY
    chance: bool = False
    frozen: Weights = ()

    @classmethod
    def load(cls, files: RoundFiles, weights: Sequence[int] | None = None, empty: int = 0) -> "Game":
        """Read and check a round's files, to be judged by accuracy; `weights` is None for `mean`.

        Raises:
            RoundFilesInvalid: a file is missing or is not what the model demands (the message names the client), or
                the game as a whole asks for more memory or work than a miner gives to one task.
        """
        model = read_model(_text(files.model), where=str(files.model))
        test = read_test(files.test, model)
        _refuse_excess(model, len(files.updates), len(test), str(files.model))
        frozen = read_frozen(files.frozen, model.frozen, where=str(files.model))
        updates = tuple(
            read_update(path, model, owner=f"client {number}") for number, path in enumerate(files.updates, 1)
        )
        baseline: Weights | None = None
        if files.baseline is not None:
            baseline = read_update(files.baseline, model, owner="the baseline")
        counts = tuple(weights or (1,) * len(updates))
        return cls(model, test, updates, counts, empty, baseline, frozen=frozen)

    @property
    def graph(self) -> GraphModel:
        """The model, for what computes graphs alone."""
        assert isinstance(self.model, GraphModel)
        return self.model

    @property
    def chain(self) -> ModelSpec:
        """The model, for what computes chains of layers alone."""
        assert isinstance(self.model, ModelSpec)
        return self.model

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """A label an image, for what counts by labels alone."""
        return self.test.classes

    @property
    def clients(self) -> int:
        return len(self.updates)

    @property
    def images(self) -> int:
        return len(self.test)

    @property
    def full(self) -> int:
        """The mask of all clients."""
        return (1 << self.clients) - 1

    def played(self) -> "Game":
        """The same game as it is computed: a graph that is a chain of dense layers becomes one, a lone output two."""
        chain = chain_of(self.model) if isinstance(self.model, GraphModel) else widened(self.chain)
        if chain is None:
            return self
        baseline = None if self.baseline is None else chain.weights(self.baseline)
        updates = tuple(map(chain.weights, self.updates))
        return replace(self, model=chain.spec, updates=updates, baseline=baseline)

    def of_update(self, update: Weights) -> "Game":
        """The game of one lone update, whose only coalition is mask 1: how a named baseline is judged."""
        return replace(self, updates=(update,), weights=(1,), empty=0, baseline=None, chance=False)

    def merged(self, members: Iterable[Sequence[int]]) -> "Game":
        """The game of owners, each of whom has made some of the updates (numbers from 0).

        An owner's update is the average of its updates by their weights, rounded to float32, and has all these weights:
        the aggregate of all is the same. (docs/adr/0039) [P-6.21]

        Raises:
            RoundFilesInvalid: the model averages products, so that no one update is what several are together.
        """
        owned = [list(numbers) for numbers in members]
        if len(owned) == len(self.updates):
            return self
        if products(self.model):
            hint = "leave the groups out, or import the model with factors that are averaged"
            raise RoundFilesInvalid(
                "updates of a model with products have no average", where="groups", hint=hint
            )
        weights = [[self.weights[number] for number in numbers] for numbers in owned]
        updates = tuple(
            average([self.updates[number] for number in numbers], own)
            for numbers, own in zip(owned, weights, strict=True)
        )
        return replace(self, updates=updates, weights=tuple(map(sum, weights)))

    def shares(self, masks: Sequence[int]) -> Floats:
        """What each client contributes to each aggregate, (masks, K): rows sum to 1. No mask may be empty."""
        return self.shares_of(member_bits(masks, self.clients))

    def shares_of(self, members: npt.NDArray[np.uint8]) -> Floats:
        """The same of coalitions given as rows of zeros and ones, (masks, K) [P-6.1]."""
        weighted = members * np.array(self.weights, np.float64)
        shares: Floats = weighted / weighted.sum(axis=1, keepdims=True)
        return shares


def member_bits(masks: Sequence[int], clients: int) -> npt.NDArray[np.uint8]:
    """Masks as rows of zeros and ones, (masks, K) [P-1.15]."""
    width = (clients + 7) // 8
    packed = b"".join(mask.to_bytes(width, "little") for mask in masks)
    rows = np.frombuffer(packed, np.uint8).reshape(len(masks), width)
    return np.unpackbits(rows, axis=1, count=clients, bitorder="little")


def products(model: Model) -> tuple[str, ...]:
    """What of a model is averaged as products, and so has no average as an update has."""
    return model.graph.products if isinstance(model, GraphModel) else ()


def _refuse_excess(model: Model, clients: int, images: int, where: str) -> None:
    """Files of modest size may describe a game that no miner could play [P-6.13]."""
    once, first, above = model.flop_once, model.flop_first, model.flop_above
    held, chunk = images, min(images, max(CHUNK_IMAGES, images // 100))
    if isinstance(model, GraphModel):  # what does not fit is computed anew, part by part
        held = chunk = min(images, GRAPH_IMAGES)
    weights = sum(map(prod, model.weight_shapes))
    if clients * weights > MAX_WEIGHTS:
        message = f"{clients} updates of {weights} weights need too much memory"
    elif 4 * clients * held * model.widest > MAX_ACTIVATION_BYTES:
        message = (
            f"{clients} clients with layers of {model.widest} units on {held} images need too much memory"
        )
    elif 8 * chunk * model.laid_out > MAX_WINDOW_BYTES:
        message = f"the windows of a layer hold {model.laid_out} values an image: that needs too much memory"
    elif images * above > MAX_COALITION_FLOP:
        message = f"one coalition of this model on {images} images takes too much work"
    elif (
        once + first + above > MAX_IMAGE_FLOP
        or model.values > MAX_IMAGE_VALUES
        or clients * first > MAX_CHUNK_FLOP
    ):
        message = f"one image takes too much work in the models of {clients} clients"
    elif images * (once + clients * first) > MAX_FIRST_LAYER_FLOP:
        message = f"the first layers of {clients} clients on {images} images take too much work"
    else:
        return
    raise RoundFilesInvalid(message, where=where, hint="use a smaller test set or a smaller model")


def _text(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_MODEL_BYTES + 1)  # one more than is taken: never a whole file of any size
    except OSError as error:
        raise RoundFilesInvalid("the model description cannot be read", where=str(path)) from error
