"""What nobody is worth where no update is named: nothing, or what one output for all images is.

That output are the logarithms of how frequent the labels are: the most frequent label is said of every image, with the
certainty that this frequency gives, and all images tie. scikit-learn calls it the prior. All tokens have one, too. Of
real-valued targets it is the number that loses least.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.contract.metric import Truth
from fedcoin_cli.learning.coalitions.partition import Partition
from fedcoin_cli.learning.game.game import Floats, Game
from fedcoin_cli.learning.metrics.choice import scorer_of
from fedcoin_cli.learning.metrics.scorer import Counts, Places
from fedcoin_cli.learning.model.truth import IGNORED

# A label that is not there: rarer than any that can be.
_ABSENT: Final = 2.0**-64
# Outputs whose marks are found at one time.
_TOGETHER: Final = 1 << 22


def by_chance(labels: npt.NDArray[np.integer], classes: int) -> Floats:
    """The outputs of whoever knows no image, (classes,)."""
    shares = np.bincount(labels, minlength=classes) / len(labels)
    outputs: Floats = np.log(np.maximum(shares, _ABSENT))
    return outputs


def constant_target(targets: npt.NDArray[np.floating], cap: float) -> float:
    """The number c for which Σ min((target − c)², cap) is least, of equals the lowest.

    c is the mean of the targets within √cap of it. Which those are changes where c passes a target ± √cap: between two
    such places they are a run of the sorted targets, and the mean of each run is tried.
    """
    middle = float(np.sort(targets)[len(targets) // 2])
    ordered = np.sort(targets.astype(np.float64)) - middle  # near 0 squares do not cancel
    sums, squares = (np.concatenate([[0.0], np.cumsum(ordered**power)]) for power in (1, 2))
    reach = math.sqrt(cap)
    places = np.sort(np.concatenate([ordered - reach, ordered + reach]))

    def run(centre: Floats) -> tuple[Places, Places]:
        return np.searchsorted(ordered, centre - reach), np.searchsorted(ordered, centre + reach, "right")

    first, last = run((places[1:] + places[:-1]) / 2)
    some = last > first
    means = (sums[last] - sums[first])[some] / (last - first)[some]
    first, last = run(means)
    number = last - first
    losses = squares[last] - squares[first] - 2 * means * (sums[last] - sums[first]) + number * means**2
    return middle + float(means[np.argmin(losses + cap * (len(ordered) - number))])


def of_blocks(game: Game, blocks: Partition) -> Counts:
    """u(∅) of each block, where no update is named [P-6.3]."""
    return bounds_of(game, [blocks.block(number) for number in range(len(blocks))])[:, 1]


def bounds_of(game: Game, parts: Sequence[Places]) -> Counts:
    """lo, u(∅) and hi of each of these parts of the test set, (parts, 3), where no update is named."""
    if not game.chance:
        return np.zeros((len(parts), 3), np.int64)
    scorer, outputs = scorer_of(game), _constant(game)
    size, found = max(1, _TOGETHER // len(outputs)), []
    for part in parts:
        marks = [
            scorer.reaches(same, np.zeros(same.shape[1:]), some)
            for some in (part[start : start + size] for start in range(0, len(part), size))
            for same in [np.repeat(outputs[None, :, None], len(some), axis=2)]
        ]
        found.append(scorer.worth(np.concatenate(marks, axis=2), part))
    return np.array(found, np.int64).reshape(-1, 3)


def _constant(game: Game) -> Floats:
    """The one output for all images, as a game's outputs are [P-6.3]."""
    labels = game.test.labels
    match game.metric.truth:
        case Truth.labels:
            return by_chance(labels, game.model.classes)
        case Truth.tokens:
            return np.tile(by_chance(labels[labels != IGNORED], game.model.classes), labels.shape[1])
        case Truth.targets:
            return np.array([0.0, constant_target(labels, float(game.metric.parameter))])
