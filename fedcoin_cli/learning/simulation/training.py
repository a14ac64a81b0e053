"""K simulated clients: each trains the same initial model on its own part, and sends its weights.

Signing and writing the round's files is the application's work.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.model.backend import deterministic, keras, ops
from fedcoin_cli.learning.model.build import build
from fedcoin_cli.learning.model.model import ModelSpec, seed_spec
from fedcoin_cli.learning.model.weights import Weights
from fedcoin_cli.learning.simulation.datasets import Dataset, as_float
from fedcoin_cli.learning.simulation.splits import split_of
from ledger_store.base.errors import MissingPart

EPOCHS: Final = 10
LEAST_BATCH: Final = 8
MOST_BATCH: Final = 32
LEARNING_RATE: Final = 0.1

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Descent:
    """Plain SGD: at what rate, on how many images a step (None: what `batch_of` says), and from which weights.

    Without weights all clients start from the same freshly drawn ones.
    """

    rate: float = LEARNING_RATE
    batch: int | None = None
    start: Weights | None = None


PLAIN: Final = Descent()


@dataclass(frozen=True, slots=True)
class TrainedUpdate:
    """One client's trained weights, and how many images of each label (or tenth of targets) from 0 on it trained on."""

    weights: Weights
    labelled: tuple[int, ...]

    @property
    def examples(self) -> int:
        """How many images it trained on."""
        return sum(self.labelled)


@dataclass(frozen=True, slots=True)
class Trained:
    """A round's model as `model.json` text, the clients' updates in order, and how many images made a step.

    `initial` are the weights that all began with.
    """

    model_json: str
    updates: tuple[TrainedUpdate, ...]
    batch: int
    initial: Weights


def train_round(
    dataset: Dataset,
    split: str,
    clients: int,
    *,
    epochs: int = EPOCHS,
    descent: Descent = PLAIN,
    seed: int = 0,
    model: ModelSpec | None = None,
    report: Report | None = None,
) -> Trained:
    """Train K updates from one initial model; equal arguments give equal bytes on one machine.

    Args:
        dataset: what to train on; its test part is not looked at.
        split: a case as `splits.split_of` reads it.
        clients: K ≥ 2.
        epochs: passes of each client over its own part.
        descent: how each trains.
        seed: 0 ≤ seed < 2³¹; fixes the division, the initial weights and the order of images.
        model: what is trained, for images as the data set has them; None: the seed model.
        report: called with (client from 0, epochs done by it) after every epoch.

    Raises:
        SettingsError: more clients than training images, or labels that the model does not have.
    """
    # Streams of their own, spawned: a generator seeded with (seed, 0) is the same as one seeded with seed.
    division, *orders = np.random.SeedSequence(seed).spawn(1 + clients)
    parts = split_of(split)(dataset, clients, np.random.default_rng(division))
    deterministic(seed)
    spec = model or seed_spec(dataset.input_shape, dataset.outputs)
    dataset.check_labels(*spec.row)
    network = build(spec)
    # Before compiling: afterwards Keras would add the optimiser, with a counter in its name.
    model_json = network.to_json()
    initial = network.get_weights() if descent.start is None else list(descent.start)
    network.compile(
        optimizer=keras.optimizers.SGD(descent.rate),
        loss=_loss(dataset),
    )
    size = descent.batch or batch_of(sum(len(part.labels) for part in parts), clients)
    one_pass = _trainer(network, size)
    updates = []
    for client, part in enumerate(parts):
        # One compiled model for everybody: only weights are reset, plain SGD keeps no state between clients.
        network.set_weights(initial)
        rng = np.random.default_rng(orders[client])
        images, labels = ops.convert_to_tensor(as_float(part.images)), ops.convert_to_tensor(part.labels)
        for epoch in range(epochs):
            one_pass(images, labels, rng.permutation(len(part.labels)))
            if report:
                report(client, epoch + 1)
        labelled = np.bincount(part.strata, minlength=dataset.classes)
        updates.append(TrainedUpdate(tuple(network.get_weights()), tuple(labelled.tolist())))
    return Trained(model_json, tuple(updates), size, tuple(initial))


def _loss(dataset: Dataset) -> Any:
    if dataset.real:
        return keras.losses.MeanSquaredError()
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def batch_of(images: int, clients: int) -> int:
    """Images a step where nobody says: about 100 steps a pass of the average client, within bounds.

    70 digits a client make a useful model in 10 passes then, as 3,000 images do. One number for all clients: two that
    hold 899 and 900 images take steps of one length.
    """
    return min(MOST_BATCH, max(LEAST_BATCH, images // clients // 100))


def in_batches(
    order: npt.NDArray[np.intp], size: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """One pass as steps of `size` positions, and what each counts: the last step is filled up with nothing.

    A step moves the weights by the rate times the gradients' sum over `size`, so every image counts alike wherever it
    falls. Keras' mean over a leftover of one image would count it `size` times: at a rate that suits batches such a
    last step can undo ten passes.
    """
    missing = -len(order) % size
    counts = np.ones(len(order), np.float32)
    filled = np.pad(order, (0, missing)), np.pad(counts, (0, missing))
    return filled[0].reshape(-1, size), filled[1].reshape(-1, size)


def _trainer(model: Any, size: int) -> Callable[[Any, Any, npt.NDArray[np.intp]], None]:
    """A function that takes one pass of SGD over one client's images, in the given order.

    A whole pass is one TensorFlow graph: `fit` spends 4 to 30 times as long around steps as small as these.
    """
    if keras.backend.backend() != "tensorflow":
        raise MissingPart(
            "training runs on Keras' TensorFlow backend only",
            where=f"KERAS_BACKEND is {keras.backend.backend()}",
            hint="unset KERAS_BACKEND, or set it to tensorflow",
        )
    tensorflow = import_module("tensorflow")

    @tensorflow.function(reduce_retracing=True)  # type: ignore[untyped-decorator]  # TensorFlow ships no types
    def steps(images: Any, labels: Any, batches: Any, counts: Any) -> None:
        for step in tensorflow.range(tensorflow.shape(batches)[0]):
            batch = batches[step]
            model.train_step(
                (tensorflow.gather(images, batch), tensorflow.gather(labels, batch), counts[step])
            )

    def one_pass(images: Any, labels: Any, order: npt.NDArray[np.intp]) -> None:
        steps(images, labels, *map(tensorflow.constant, in_batches(order, size)))

    return one_pass
