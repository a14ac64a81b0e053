"""What says which counts are right, for models of either kind; and what is computed once a client for all that count.

A node makes both when it reads a task: engines, walkers and the reference then share what they begin with.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.game.game import Floats, Game
from fedcoin_cli.learning.metrics.scorer import Scorer
from fedcoin_cli.learning.reference.forward import FirstLayer, own_logits
from fedcoin_cli.learning.reference.reference import Interval, Reference

Prepared = FirstLayer
"""What is computed once a client."""


class Referee(Protocol):
    """The float64 reference of one game; `reference.Reference` says what each method gives."""

    game: Game
    scorer: Scorer

    @property
    def kept(self) -> bool:
        """Whether what is computed once a client is kept: else coalitions are quickest all together."""
        ...

    def count(self, mask: int) -> int: ...

    def intervals(self, masks: Sequence[int], factor: int = 1) -> list[Interval]: ...

    def block_intervals(
        self, positions: npt.NDArray[np.intp], members: npt.NDArray[np.uint8], factor: int = 1
    ) -> npt.NDArray[np.int64]: ...

    def steps(
        self, masks: Sequence[int], factor: int, totals: npt.NDArray[np.int64]
    ) -> Iterator[tuple[int, int]]: ...

    def magnitude(self, client: int) -> float: ...


def prepared(game: Game) -> Prepared:
    """What is computed once a client, for everything that counts this game."""
    return FirstLayer(game)


def reference_for(game: Game, ready: Prepared | None = None) -> Referee:
    """What is right in this game."""
    return Reference(game, ready)


def own_outputs(game: Game, client: int) -> Floats:
    """The outputs of one client's own model on the test images, (n, classes)."""
    return own_logits(game, client)
