"""Shapley values without a ledger, and models without Keras."""

from collections.abc import Sequence

from fedcoin_cli.learning.exchange.description import Model, description_of, mlp, model_of
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.arrays import (
    Array,
    Update,
    aggregation_of,
    as_test_set,
    examples_of,
    update_of,
    updates_of,
)
from fedcoin_cli.learning.model.reading import read_model
from fedcoin_cli.learning.valuation import How, ShapleyValues, judged, value

__all__ = ["ShapleyValues", "mlp", "model_of", "shapley"]


def shapley(  # noqa: PLR0913 -- what a valuation may be asked for, by name
    model: Model,
    test: tuple[Array, Array],
    updates: Sequence[Update],
    *,
    examples: Sequence[int] | None = None,
    aggregation: str | None = None,
    metric: str = "accuracy",
    baseline: str | Update = "zero",
    seconds: float = 15.0,
    exact: bool | None = None,
    rankings: int | None = None,
    seed: int = 0,
    threads: int = 0,
) -> ShapleyValues:
    """Shapley values of clients' updates: what each adds to the joint model's worth, averaged over all coalitions.

    A coalition's model is the average of its members' weights, its worth by default the part of the test set that it
    labels correctly, in percentage points; nobody's is 0 unless `baseline` says otherwise. No ledger, no miner and no
    file is involved. Models of Dense and ReLU layers are counted by a compiled kernel without TensorFlow where there is
    a C compiler, by accuracy; others need Keras, and other metrics NumPy alone.

    Args:
        model: `mlp(…)`, a Keras model, its `to_json()`, a PyTorch module, what `model_of` gives, or a file.
        test: images (n, …) as float or uint8 (which means x / 255), and one integer label an image.
        updates: each client's weights after training, a list of arrays in the order of Keras' `get_weights()`:
            kernel (inputs, units), bias (units,), … Tensors of PyTorch are taken too; its Linear is transposed. Of a
            PyTorch module each client's `state_dict()`.
        examples: how many examples each client trained on.
        aggregation: "mean", or "fedavg", which weights by examples; default: fedavg where examples are given.
        metric: "accuracy", "balanced_accuracy", "top_k_accuracy:K", "neg_log_loss:CAP", "neg_brier_score:CAP" or
            "roc_auc", as scikit-learn names them; a point is a hundredth of what a perfect model is worth.
        baseline: what nobody is worth: "zero", "chance" (a constant output), or weights, as those that all began with.
        seconds: how long sampling takes at most; exact values are taken where they fit in.
        exact: True counts all 2^K coalitions however long that takes (K up to 24), False none but the sampled ones.
        rankings: sample so many permutations of the clients in each block of images, whatever the time: the same call
            then gives the same values.
        seed: fixes what is drawn.
        threads: cores to use; 0: all.

    Returns:
        Values and errors: it unpacks as `values, errors`, both tuples of floats in the clients' order.

    Raises:
        RoundFilesInvalid: a model, test set or update that cannot be valued; `where` names it, as `updates[2][0]`.
        SettingsError: exact values of too many clients, or numbers out of range.
        MissingPart: Keras is needed for this model and not installed.
    """
    described = read_model(description_of(model, test[0]), where="model")
    images, labels = test
    combined, weights = aggregation_of(aggregation, examples), updates_of(updates, described)
    counts = examples_of(None if combined == "mean" else examples, len(weights))
    played = Game(described, as_test_set(images, labels, described), weights, counts)
    named = baseline if isinstance(baseline, str) else update_of(baseline, described, "baseline")
    return value(judged(played, metric, named).played(), How(seconds, exact, rankings, seed, threads))
