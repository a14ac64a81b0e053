"""The first pre-activations of a test set's blocks, laid out in rows of images of mixed labels."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.engines.blocks import aligned
from fedcoin_cli.learning.reference.forward import FirstLayer

NO_IMAGE: Final = -1
"""The label of a lane without an image."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Each client's first pre-activations times its weight in an aggregate, the largest of which is 1.

    `values` (rows, K, units, lanes), `labels` (rows, lanes); block b is the rows `starts[b]` to `starts[b + 1]`.
    """

    values: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int32]

    @property
    def lanes(self) -> int:
        return int(self.labels.shape[1])


def weighted_rows(partition: Partition, first: FirstLayer, lanes: int) -> Rows:
    """Lay out the blocks in rows of so many images; products with weights are rounded once."""
    game, sizes = first.game, partition.sizes
    starts = np.concatenate([[0], np.cumsum(-(-sizes // lanes))])
    within = np.arange(len(partition.images)) - np.repeat(partition.starts[:-1], sizes)
    row = np.empty(len(partition.images), np.int64)
    row[partition.images] = np.repeat(starts[:-1], sizes) + within // lanes
    lane = np.empty_like(row)
    lane[partition.images] = within % lanes
    labels = np.full((starts[-1], lanes), NO_IMAGE, np.int32)
    labels[row, lane] = game.labels
    values = aligned((int(starts[-1]), game.clients, game.chain.first_values, lanes), np.float32)
    weights = np.array(game.weights, np.float64)[:, None, None] / max(game.weights)
    for index, (_, positions) in enumerate(first.chunks):
        scaled = (first.block(index) * weights).astype(np.float32)
        values[row[positions], :, :, lane[positions]] = scaled.transpose(2, 0, 1)
    return Rows(values, labels, starts.astype(np.int32))
