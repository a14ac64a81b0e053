"""What a round's updates are worth by several methods, without ledger or miners: counted here, paid to nobody."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fedcoin_cli.application.rounds.files import BASELINE_NAME, Round
from fedcoin_cli.application.rounds.judging import baseline_of
from fedcoin_cli.application.workspace.settings import TaskSettings
from ledger_store.base.names import Address

if TYPE_CHECKING:
    from fedcoin_cli.learning.shapley.semivalues import Method, Semivalues
    from fedcoin_cli.learning.valuation import How


def value_round(
    made: Round, settings: TaskSettings, how: "How", methods: "Sequence[Method]"
) -> "tuple[Semivalues, ...]":
    """Values by the metric and baseline of the round's call, else of the settings.

    Raises:
        SettingsError: there is no such metric or baseline, or what is asked for cannot be had.
        RoundFilesInvalid: the metric or the baseline does not fit the round's files.
        MissingPart: Keras counts this model, and is not installed.
    """
    from fedcoin_cli.learning.game.game import Game
    from fedcoin_cli.learning.model.weights import read_update
    from fedcoin_cli.learning.valuation import judged, semivalues

    files = tuple(made.paths[update.digest] for update in made.updates)
    weights = [update.examples for update in made.updates] if made.aggregation == "fedavg" else None
    game = Game.load(made.files(files), weights)
    metric, (baseline, named) = settings.metric, baseline_of(settings)
    if made.call is not None:
        metric, baseline = made.call.metric, made.call.baseline
        named = None if made.call.named is None else made.folder / BASELINE_NAME
    nobody = baseline if named is None else read_update(named, game.model, owner="the baseline")
    return semivalues(judged(game.merged(_members(made).values()), metric, nobody).played(), how, methods)


def owners_of(made: Round) -> tuple[Address, ...]:
    """Whose values those are: the clients, or the owners that they signed for."""
    return tuple(_members(made))


def _members(made: Round) -> dict[Address, tuple[int, ...]]:
    if made.call is None:
        return {update.client: (number,) for number, update in enumerate(made.updates)}
    return replace(made.call, updates=made.updates).members
