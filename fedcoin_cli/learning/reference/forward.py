"""The model in NumPy float64: activations, first pre-activations of every client, and the layers above them.

The first layer is linear in its weights, so the aggregate's first pre-activation is the average of the clients.
They are computed here in float64 for the float32 engine as well: whatever cancels inside one client's
first layer then costs no precision anywhere. Margins and intervals live in `reference`.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.game.game import CHUNK_IMAGES, MAX_CHUNK_FLOP, Floats, Game
from fedcoin_cli.learning.model.features import Conv, Feature, Pair, Pool, windows
from fedcoin_cli.learning.model.model import ModelSpec

MAX_CACHED_BYTES: Final = 1 << 30
MAX_CHUNK_BYTES: Final = 1 << 27
_WORTH_LEAVING_OUT: Final = 0.8
"""With a smaller share of values that are not 0 in all images of a chunk the others are left out."""

ACTIVATIONS: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "linear": lambda values: values,
    "relu": lambda values: np.maximum(values, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda values: 0.5 * (np.tanh(0.5 * values) + 1.0),
}


class FirstLayer:
    """First pre-activations of all clients, in chunks of images that share one label.

    `chunks` holds (label, positions) with positions into the test set; `block(i)` is the (K, units, images) float64
    array of chunk i. Blocks are kept (`cached`) if all of them fit into `MAX_CACHED_BYTES`, and recomputed otherwise.
    """

    def __init__(self, game: Game) -> None:
        first = game.chain.first
        assert game.chain.row != (1,), "a lone output is played as two"
        self.game = game
        self.chunks = list(_label_chunks(game.test.classes, _most_images(game)))
        self._cache: dict[int, Floats] = {}
        self.cached = 8 * game.clients * game.images * game.chain.first_values <= MAX_CACHED_BYTES
        # One product for all clients: (values, K·units), or for a convolution (values of a window, K·filters).
        kernels = np.empty((game.clients, game.updates[0][0].size // first.inputs, first.inputs))
        for own, update in zip(kernels, game.updates, strict=True):
            own[...] = update[0].reshape(first.inputs, -1).T
        self._kernels = np.ascontiguousarray(kernels.reshape(-1, first.inputs).T)
        self._biases = np.zeros(kernels.shape[:2])
        if first.use_bias:
            self._biases[:] = [update[1] for update in game.updates]

        self.norms = np.stack([np.linalg.norm(own, axis=1) for own in kernels]), np.abs(self._biases)
        """Of each client's units (K, units), or filters: the lengths of their weights, and their biases' sizes."""

    def lengths(self, positions: npt.NDArray[np.intp]) -> Floats:
        """The lengths of images; no window of an image is longer."""
        images = pixels(self.game, positions)
        lengths: Floats = np.linalg.norm(images.reshape(len(images), -1), axis=1)
        return lengths

    def block(self, index: int) -> Floats:
        """First pre-activations of chunk `index`, (K, units, images)."""
        if index not in self._cache:
            block = self._compute(self.chunks[index][1])
            if not self.cached:
                return block
            self._cache[index] = block
        return self._cache[index]

    def of(self, positions: npt.NDArray[np.intp]) -> Floats:
        """First pre-activations of any few images, (K, units, images)."""
        if not self.cached:
            return self._compute(positions)
        chunks, columns = self._places[positions].T
        found = np.empty((self.game.clients, self.game.chain.first_values, len(positions)))
        for chunk in np.unique(chunks).tolist():
            here = chunks == chunk
            found[:, :, here] = self.block(chunk)[:, :, columns[here]]
        return found

    @cached_property
    def _places(self) -> npt.NDArray[np.intp]:
        """Chunk and column of each image, (images, 2)."""
        places = np.empty((self.game.images, 2), np.intp)
        for chunk, (_, positions) in enumerate(self.chunks):
            places[positions, 0], places[positions, 1] = chunk, np.arange(len(positions))
        return places

    def _compute(self, positions: npt.NDArray[np.intp]) -> Floats:
        first, images = self.game.chain.first, pixels(self.game, positions)
        if isinstance(first, Conv):
            rows = patches(images, first) @ self._kernels
            split = rows.reshape(*rows.shape[:-1], *self._biases.shape) + self._biases
            # (images, rows, columns, K, filters) → (K, units, images)
            moved = split.transpose(3, 1, 2, 4, 0)
            return np.ascontiguousarray(moved).reshape(self.game.clients, -1, len(positions))
        values, kernels = images.reshape(len(positions), -1), self._kernels
        # Where images are dark at the same places, up to half of the work falls away.
        seen = values.any(axis=0)
        if seen.mean() < _WORTH_LEAVING_OUT:
            values, kernels = values[:, seen], kernels[seen]
        product = kernels.T @ values.T
        return product.reshape(*self._biases.shape, -1) + self._biases[:, :, None]


def pixels(game: Game, positions: npt.NDArray[np.intp]) -> Floats:
    """The images at these positions; uint8 means x/255."""
    images = game.test.images[positions].astype(np.float64)
    return images / 255.0 if game.test.images.dtype == np.uint8 else images


def patches(values: Floats, conv: Conv) -> Floats:
    """What each window of a convolution holds: (…, rows, columns, channels) → (…, rows, columns, values)."""
    padding: list[Pair] = [(0, 0)] * (values.ndim - 3) + [*conv.pads, (0, 0)]
    return np.concatenate(list(windows(np.pad(values, padding), conv.kernel, conv.strides)), axis=-1)


def pooled(values: Floats, pool: Pool) -> Floats:
    """The pooling of (…, rows, columns, channels)."""
    parts = list(windows(values, pool.size, pool.strides))
    whole: Floats = np.maximum.reduce(parts) if pool.largest else np.add.reduce(parts) / len(parts)
    return whole


def convolved(values: Floats, conv: Conv, kernels: Floats, biases: Floats) -> Floats:
    """Batches of images (b, images, …) by a kernel each, (b, values of a window, filters), and biases (b, filters)."""
    found = patches(values, conv)
    flat = found.reshape(len(values), -1, found.shape[-1]) @ kernels + biases[:, None, :]
    return flat.reshape(*found.shape[:-1], conv.filters)


def own_logits(game: Game, client: int) -> Floats:
    """The logits of one client's own model on the test images, (n, classes)."""
    update = [weight.astype(np.float64) for weight in game.updates[client]]
    chunks = np.array_split(np.arange(game.images), -(-game.images // CHUNK_IMAGES))
    return np.concatenate([_own_chunk(game.chain, pixels(game, chunk), iter(update)) for chunk in chunks])


def _own_chunk(spec: ModelSpec, values: Floats, weights: Iterator[Floats]) -> Floats:
    for feature in spec.features:
        values = _own_feature(values, feature, weights)
    values = values.reshape(len(values), -1)
    for layer in spec.layers:
        values = values @ next(weights)
        values = ACTIVATIONS[layer.activation](values + next(weights) if layer.use_bias else values)
    return values


def _own_feature(values: Floats, feature: Feature, weights: Iterator[Floats]) -> Floats:
    if isinstance(feature, Pool):
        return pooled(values, feature)
    kernel = next(weights).reshape(1, feature.inputs, feature.filters)
    bias = next(weights)[None] if feature.use_bias else np.zeros((1, feature.filters))
    return ACTIVATIONS[feature.activation](convolved(values[None], feature, kernel, bias)[0])


def _most_images(game: Game) -> int:
    """How many images of a label are taken together.

    About `CHUNK_IMAGES`, more in very large sets, so that there are about 100 chunks, and fewer where the first layers
    of all clients give or cost much.
    """
    first, values = game.chain.first, game.clients * game.chain.first_values
    fitting = min(MAX_CHUNK_BYTES // (8 * values), MAX_CHUNK_FLOP // (2 * first.inputs * values))
    return max(1, min(max(CHUNK_IMAGES, game.images // 100), fitting))


def _label_chunks(labels: npt.NDArray[np.int32], wanted: int) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Chunks of about so many images of one label."""
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        for part in np.array_split(positions, -(-len(positions) // wanted)):
            yield int(label), part
