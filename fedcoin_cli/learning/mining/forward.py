"""The model in NumPy float64: activations, first pre-activations of every client, and the layers above them.

The first layer is linear in its weights, so the aggregate's first pre-activation is the average of the clients.
They are computed here in float64 for the float32 engine as well: whatever cancels inside one client's
first layer then costs no precision anywhere. Margins and intervals live in `reference`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.mining.game import Floats, Game

MAX_CACHED_BYTES: Final = 1 << 30
CHUNK_IMAGES: Final = 256

ACTIVATIONS: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "linear": lambda values: values,
    "relu": lambda values: np.maximum(values, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda values: 0.5 * (np.tanh(0.5 * values) + 1.0),
}


class FirstLayer:
    """First pre-activations of all clients, in chunks of images that share one label.

    `chunks` holds (label, positions) with positions into the test set; `block(i)` is the (K, units, images) float64
    array of chunk i. Blocks are kept as long as all of them fit into `MAX_CACHED_BYTES`, and recomputed otherwise.
    """

    def __init__(self, game: Game) -> None:
        first = game.spec.layers[0]
        self.game = game
        self.chunks = list(_label_chunks(game.test.labels))
        self._cache: dict[int, Floats] = {}
        self._cached = 8 * game.clients * game.images * first.units <= MAX_CACHED_BYTES
        # One product for all clients: (K·units, values).
        self._kernels = np.concatenate([update[0].T for update in game.updates]).astype(np.float64)
        self._biases = np.zeros((game.clients, first.units))
        if first.use_bias:
            self._biases[:] = [update[1] for update in game.updates]

    def block(self, index: int) -> Floats:
        """First pre-activations of chunk `index`, (K, units, images)."""
        if index not in self._cache:
            block = self._compute(self.chunks[index][1])
            if not self._cached:
                return block
            self._cache[index] = block
        return self._cache[index]

    def _compute(self, positions: npt.NDArray[np.intp]) -> Floats:
        product = self._kernels @ pixels(self.game, positions).T
        return product.reshape(*self._biases.shape, -1) + self._biases[:, :, None]


def pixels(game: Game, positions: npt.NDArray[np.intp]) -> Floats:
    """The images at these positions, flattened to (images, values); uint8 means x/255."""
    images = game.test.images[positions].reshape(len(positions), -1).astype(np.float64)
    return images / 255.0 if game.test.images.dtype == np.uint8 else images


def own_logits(game: Game, client: int) -> Floats:
    """The logits of one client's own model on the test images, (n, classes)."""
    positions = np.arange(game.images)
    weights = iter(game.updates[client])
    values = pixels(game, positions)
    for layer in game.spec.layers:
        values = values @ next(weights).astype(np.float64)
        values = ACTIVATIONS[layer.activation](values + next(weights) if layer.use_bias else values)
    return values


def _label_chunks(labels: npt.NDArray[np.int32]) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Chunks of about `CHUNK_IMAGES` images of one label (more in very large sets: at most about 100 chunks)."""
    wanted = max(CHUNK_IMAGES, len(labels) // 100)
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        for part in np.array_split(positions, -(-len(positions) // wanted)):
            yield int(label), part
