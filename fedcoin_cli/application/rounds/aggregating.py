"""The model that clients of a round make together: the average that miners judge, as a file to go on from.

Only Keras' own format needs Keras.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcoin_cli.application.rounds.files import Round
from fedcoin_cli.learning.game.game import Game, products
from fedcoin_cli.learning.metrics.plain import named, plain, told
from fedcoin_cli.learning.model.interface import Model
from fedcoin_cli.learning.model.model import ModelSpec
from fedcoin_cli.learning.model.weights import Weights, average, write_update
from fedcoin_cli.learning.reference.referee import own_outputs
from ledger_store.base.errors import NotFound, RoundFilesInvalid

AGGREGATE_NAME = "aggregate.safetensors"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The average of some clients' weights, of which model, and how good it is, by name and in words."""

    weights: Weights
    members: tuple[int, ...]
    measure: tuple[str, str]
    words: str
    model: Model


def aggregate(made: Round, members: Sequence[int] = ()) -> Aggregate:
    """The average of clients `members` (numbers from 1; none: all), weighted as the round says; raises `NotFound`."""
    numbers = tuple(sorted(set(members))) or tuple(range(1, len(made.updates) + 1))
    if not 1 <= numbers[0] <= numbers[-1] <= len(made.updates):
        hint = f"its clients are numbered 1 to {len(made.updates)}"
        raise NotFound("no such client in this round", where=str(made.folder), hint=hint)
    updates = [made.updates[number - 1] for number in numbers]
    files = tuple(made.paths[update.digest] for update in updates)
    game = Game.load(made.files(files))
    if len(updates) > 1 and products(game.model):
        hint = "add the mean of the clients' products to the frozen weights; --clients N writes one client's update"
        message = "products of weights are averaged, and no factors give that average"
        raise RoundFilesInvalid(message, where=str(made.folder), hint=hint)
    shares = [update.examples if made.aggregation == "fedavg" else 1 for update in updates]
    weights = average(game.updates, shares)
    measure = plain(game.test, own_outputs(game.of_update(weights), 0))
    return Aggregate(weights, numbers, named(game.test, measure), told(game.test, measure), game.model)


def write_aggregate(found: Aggregate, target: Path) -> None:
    """Write the weights as an update is written, or a whole model where `target` is called .keras."""
    if target.suffix == ".safetensors":
        write_update(target, found.weights, found.model.weight_names)
        return
    if target.suffix != ".keras":
        hint = (
            "call it .safetensors, which train --start reads, or .keras, which keras.models.load_model does"
        )
        raise RoundFilesInvalid("no such kind of model file", where=str(target), hint=hint)
    if not isinstance(found.model, ModelSpec):
        hint = "call it .safetensors: its tensors have the names that the model's own framework gives them"
        raise RoundFilesInvalid("a graph is no model of Keras", where=str(target), hint=hint)
    from fedcoin_cli.learning.model.build import build

    model = build(found.model)
    model.set_weights(list(found.weights))
    model.save(target)
