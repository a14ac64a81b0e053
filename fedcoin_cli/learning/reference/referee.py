"""What says which counts are right, for models of either kind; and what is computed once a client for all that count.

A node makes both when it reads a task: engines, walkers and the reference then share what they begin with.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.game.game import GRAPH_IMAGES, Floats, Game
from fedcoin_cli.learning.graph.namespace import NUMPY
from fedcoin_cli.learning.graph.passes import Passes
from fedcoin_cli.learning.metrics.scorer import Scorer
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.reference.forward import FirstLayer, own_logits
from fedcoin_cli.learning.reference.graph_reference import GraphReference
from fedcoin_cli.learning.reference.reference import Interval, Reference
from fedcoin_cli.learning.reference.staged import Staged, inputs_of

Prepared = FirstLayer | Staged
"""What is computed once a client."""


class Referee(Protocol):
    """The float64 reference of one game; `reference.Reference` says what each method gives."""

    game: Game
    scorer: Scorer
    proven: bool
    """Whether no engine that keeps to its order of summation leaves an interval, whoever made the round."""

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
    return Staged(game) if isinstance(game.model, GraphModel) else FirstLayer(game)


def reference_for(game: Game, ready: Prepared | None = None) -> Referee:
    """What is right in this game."""
    known = prepared(game) if ready is None else ready
    return GraphReference(game, known) if isinstance(known, Staged) else Reference(game, known)


def own_outputs(game: Game, client: int) -> Floats:
    """The outputs of one client's own model on the test images, (n, classes); of tokens, rows in a row."""
    if not isinstance(game.model, GraphModel):
        outputs = own_logits(game, client)
        return outputs if outputs.shape[1] > 1 else np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    model, tensors = game.graph, (*game.updates[client], *game.frozen)
    names = (*model.weight_names, *(one.name for one in model.frozen))
    weights = {name: NUMPY.constant(tensor) for name, tensor in zip(names, tensors, strict=True)}
    passes, every = Passes(model.graph, NUMPY), np.arange(game.images)
    parts = (every[start : start + GRAPH_IMAGES] for start in range(0, game.images, GRAPH_IMAGES))
    return np.concatenate([passes.outputs(weights, inputs_of(game, part)) for part in parts])
