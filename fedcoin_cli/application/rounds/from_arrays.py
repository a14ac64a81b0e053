"""A round of arrays that a person has in Python: checked, then written as the files that `publish` reads."""

from collections.abc import Sequence
from pathlib import Path

from fedcoin_cli.application.rounds.files import read_round
from fedcoin_cli.application.rounds.new_round import new_round
from fedcoin_cli.application.rounds.writing import Parts, write_round
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.learning.exchange.description import Model, described
from fedcoin_cli.learning.model.arrays import (
    Array,
    Update,
    aggregation_of,
    as_test_set,
    examples_of,
    images_and_labels,
    updates_of,
)


def round_from_arrays(
    workspace: Workspace,
    model: Model,
    test: tuple[Array, Array],
    updates: Sequence[Update],
    examples: Sequence[int] | None,
    aggregation: str | None,
) -> Path:
    """Write the next round of a workspace; returns its folder. Nothing stays behind what is refused.

    Raises:
        RoundFilesInvalid: what the model, the test set or an update has wrong, or more than this network takes.
    """
    combined = aggregation_of(aggregation, examples)
    images, labels = images_and_labels(test)
    told = described(model, images, labels)
    weights, judged = updates_of(updates, told.model), as_test_set(images, labels, told.model)
    counts = examples_of(examples, len(weights))
    parts = Parts(told.text, judged, list(zip(weights, counts, strict=True)), combined, frozen=told.frozen)
    with new_round(workspace, None) as folder:
        write_round(workspace, folder, parts)
        read_round(folder, workspace.genesis())
    return folder
