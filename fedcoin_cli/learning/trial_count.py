"""How long a coalition takes on a machine like this one, tried on a few images before anybody mines.

Without Keras, which takes longer to load than the trial: where miners have it they may be quicker.
"""

import time
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from fedcoin_cli.learning.coalitions.partition import Partition, partition
from fedcoin_cli.learning.coalitions.walks import Orders, orders
from fedcoin_cli.learning.engines.choice import by_kernels, walker_without_keras_for
from fedcoin_cli.learning.engines.kernel import suits, takes
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.game.utility import Apart, Walker
from fedcoin_cli.learning.reference.update_admission import sampled

_IMAGES: Final = 64
_SECONDS: Final = 0.2
_RANKINGS: Final = 10


@dataclass(frozen=True, slots=True)
class Trial:
    """What one coalition on all images takes on one core, in seconds; `compiled`: the C kernel counted it."""

    seconds: float
    compiled: bool


def trial_count(game: Game, task_id: str, block_images: int) -> Trial | None:
    """Count on some of the images, as along rankings of blocks, for about a fifth of a second of a processor.

    None where miners have a C kernel for this game, and this machine has no compiler for it.
    """
    if by_kernels(game) and takes(game) and not suits(game):
        return None
    few = _few(game, task_id)
    walker = walker_without_keras_for(few, blocks := partition(few.test.strata, block_images, bytes(32)))
    # Laid out before: a miner lays out many at once, which takes little beside counting.
    walked = orders(bytes(32), bytes(32), range(len(blocks)), range(_RANKINGS), few.clients)
    _counted(walker, blocks, walked)  # at the first call a library gets ready, once for all that follows
    counted, began = 0, time.process_time()
    while (taken_s := time.process_time() - began) < _SECONDS or not counted:
        counted += _counted(walker, blocks, walked)
    return Trial(taken_s / counted * game.images, not isinstance(walker, Apart))


def _counted(walker: Walker, blocks: Partition, walked: Orders) -> int:
    """Count a few coalitions, on the first block where they are counted apart; returns how many times images."""
    clients = int(walked.shape[2])
    if isinstance(walker, Apart):
        walker.count(0, np.ones((walker.coalitions, clients), np.uint8))
        return walker.coalitions * int(blocks.sizes[0])
    walker.walk(range(len(blocks)), walked)
    rankings = int(walked.shape[1])
    return rankings * max(1, clients - 1) * len(blocks.images)


def _few(game: Game, task_id: str) -> Game:
    return replace(game, test=game.test.taken(sampled(game.test.classes, min(_IMAGES, game.images), task_id)))
