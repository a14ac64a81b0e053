"""Games of graphs with random weights, and what an engine in float32 makes of them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from graphs import MODELS, drawn_inputs, drawn_weights

from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.graph.graph import Graph
from fedcoin_cli.learning.graph.namespace import Numpy
from fedcoin_cli.learning.graph.passes import Steps
from fedcoin_cli.learning.metrics.choice import scorer_of
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.reference.graph_reference import GraphReference
from fedcoin_cli.learning.reference.staged import Staged


def graph_game(
    model: str | Graph,
    clients: int = 4,
    images: int = 40,
    seed: int = 0,
    drawn: Callable[[Graph, np.random.Generator], dict[str, npt.NDArray[np.float32]]] = drawn_weights,
) -> Game:
    """Clients near one another, as those are who began with the same model."""
    graph, draw = MODELS[model]() if isinstance(model, str) else model, np.random.default_rng(seed)
    first, read = drawn(graph, draw), GraphModel.of(graph)
    updates: list[tuple[npt.NDArray[np.float32], ...]] = []
    for _ in range(clients):
        own = drawn(graph, draw)
        updates.append(
            tuple((first[name] + 0.3 * own[name]).astype(np.float32) for name in graph.weight_names)
        )
    (x,) = drawn_inputs(graph, images, draw).values()
    labels = draw.integers(0, read.classes, images).astype(np.int32)
    frozen = tuple(first[one.name] for one in graph.frozen)
    return Game(read, TestSet(x, labels), tuple(updates), (1,) * clients, frozen=frozen)


def judged(game: Game) -> GraphReference:
    return GraphReference(game, Staged(game))


@np.errstate(all="ignore")
def single_counts(game: Game, masks: list[int]) -> list[int]:
    """What NumPy counts in float32, everything in it rounded."""
    staged, xp = Staged(game), Numpy(np.float32)
    steps, every = Steps(staged.staging.rest, game.graph.graph.output), np.arange(game.images)
    constants, averaged = staged.of_images(every)
    found = []
    for shares in game.shares(masks).astype(np.float32):
        given = {**staged.shared, **constants}
        for name, stack in (*staged.weights.items(), *averaged.items()):
            flat = stack.astype(np.float32).reshape(len(stack), -1)
            given[name] = (shares @ flat).reshape(stack.shape[1:])
        outputs = steps.outputs(given, xp)
        assert outputs.dtype in (np.float32, np.float64)
        scorer = scorer_of(game)
        found.append(int(scorer.worth(scorer.marks(outputs.T[None].astype(np.float64), every), every)[0]))
    return found
