"""What nobody is worth where no update is named: nothing, or what one output for all images is.

That output are the logarithms of how frequent the labels are: the most frequent label is said of every image, with the
certainty that this frequency gives, and all images tie. scikit-learn calls it the prior.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.game.game import Floats, Game
from fedcoin_cli.learning.metrics.choice import scorer_of
from fedcoin_cli.learning.metrics.scorer import Counts, Places

# A label that is not there: rarer than any that can be.
_ABSENT: Final = 2.0**-64


def by_chance(labels: npt.NDArray[np.integer], classes: int) -> Floats:
    """The outputs of whoever knows no image, (classes,)."""
    shares = np.bincount(labels, minlength=classes) / len(labels)
    outputs: Floats = np.log(np.maximum(shares, _ABSENT))
    return outputs


def of_blocks(game: Game, blocks: Partition) -> Counts:
    """u(∅) of each block, where no update is named [P-6.3]."""
    return bounds_of(game, [blocks.block(number) for number in range(len(blocks))])[:, 1]


def bounds_of(game: Game, parts: Sequence[Places]) -> Counts:
    """lo, u(∅) and hi of each of these parts of the test set, (parts, 3), where no update is named."""
    if not game.chance:
        return np.zeros((len(parts), 3), np.int64)
    scorer, outputs = scorer_of(game), by_chance(game.test.labels, game.model.classes)
    found = []
    for part in parts:
        same = np.repeat(outputs[None, :, None], len(part), axis=2)
        found.append(scorer.worth(scorer.reaches(same, np.zeros(same.shape[1:]), part), part))
    return np.array(found, np.int64).reshape(-1, 3)
