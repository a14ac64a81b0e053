"""Making a round: K simulated clients train; the files that `publish` reads are written.

The training itself is `learning.simulation.training`'s business, the files `writing`'s.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedcoin_cli.application.rounds.recipe import Recipe, told
from fedcoin_cli.application.rounds.writing import Parts, write_round
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.learning.simulation.training import Descent, train_round


def make_round(
    workspace: Workspace, folder: Path, recipe: Recipe, report: Callable[[int, int], None] | None = None
) -> dict[str, Any]:
    """Train and write a round into the empty `folder`; returns what `round.json` holds.

    Equal recipes give equal files on one machine.
    """
    trained = train_round(
        recipe.dataset,
        recipe.split,
        recipe.clients,
        epochs=recipe.epochs,
        descent=Descent(recipe.rate, recipe.batch, recipe.start),
        seed=recipe.seed,
        model=recipe.model,
        report=report,
    )
    parts = Parts(
        model_json=trained.model_json,
        test=recipe.dataset.test,
        updates=[(update.weights, update.examples) for update in trained.updates],
        aggregation=recipe.aggregation,
        recipe=told(recipe, trained),
        initial=trained.initial,
    )
    return write_round(workspace, folder, parts)
