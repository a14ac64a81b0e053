"""Values of updates without a ledger, what updates look like, and models without Keras."""

from collections.abc import Mapping, Sequence

from fedcoin_cli.learning.exchange.description import Model, described, mlp, model_of
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.arrays import (
    Array,
    Update,
    aggregation_of,
    as_test_set,
    examples_of,
    images_and_labels,
    owners_of,
    update_of,
    updates_of,
)
from fedcoin_cli.learning.scrutiny.look import Looked
from fedcoin_cli.learning.scrutiny.named import look_at
from fedcoin_cli.learning.shapley.semivalues import Method, Semivalues
from fedcoin_cli.learning.valuation import How, ShapleyValues, judged, value
from fedcoin_cli.learning.valuation import semivalues as valued
from ledger_store.base.errors import SettingsError

__all__ = ["Looked", "Semivalues", "ShapleyValues", "inspect", "mlp", "model_of", "semivalues", "shapley"]


def shapley(  # noqa: PLR0913 -- what a valuation may be asked for, by name
    model: Model,
    test: tuple[Array, Array],
    updates: Sequence[Update],
    *,
    examples: Sequence[int] | None = None,
    aggregation: str | None = None,
    metric: str = "accuracy",
    baseline: str | Update = "zero",
    groups: Sequence[Sequence[int]] = (),
    seconds: float = 15.0,
    exact: bool | None = None,
    rankings: int | None = None,
    seed: int = 0,
    threads: int = 0,
) -> ShapleyValues:
    """Shapley values of clients' updates: what each adds to the joint model's worth, averaged over all coalitions.

    A coalition's model is the average of its members' weights, its worth by default the part of the test set that it
    labels correctly, in percentage points; nobody's is 0 unless `baseline` says otherwise. No ledger, no miner and no
    file is involved. Models of Dense layers are counted by a compiled kernel without TensorFlow where there is a C
    compiler, by accuracy; others by onnxruntime or Keras where they are installed, else by NumPy, as other metrics are.

    Args:
        model: `mlp(…)`, a Keras model, its `to_json()`, a PyTorch module, what `model_of` gives, or a file.
        test: images (n, …) as float or uint8 (which means x / 255), and one integer label an image; labels (n, tokens)
            of a model of tokens, -100 where none is judged; real numbers are targets, one for each output.
        updates: each client's weights after training, a list of arrays in the order of Keras' `get_weights()`:
            kernel (inputs, units), bias (units,), … Tensors of PyTorch are taken too; its Linear is transposed. Of a
            PyTorch module each client's `state_dict()`.
        examples: how many examples each client trained on.
        aggregation: "mean", or "fedavg", which weights by examples; default: fedavg where examples are given.
        metric: "accuracy", "balanced_accuracy", "top_k_accuracy:K", "neg_log_loss:CAP", "neg_brier_score:CAP",
            "roc_auc", "f1" or "f1_macro", as scikit-learn names them; of targets "neg_mean_squared_error:CAP"; of
            tokens "token_accuracy" or "neg_log_perplexity:CAP". A point is a hundredth of what a perfect model is
            worth.
        baseline: what nobody is worth: "zero", "chance" (a constant output), or weights, as those that all began with.
        groups: updates of one owner each, by their numbers from 0: together one client, at the place of the first.
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
    game = _game(model, test, updates, examples, aggregation, metric, baseline, groups)
    return value(game, How(seconds, exact, rankings, seed, threads))


def semivalues(  # noqa: PLR0913 -- as `shapley`
    model: Model,
    test: tuple[Array, Array],
    updates: Sequence[Update],
    method: str,
    *,
    examples: Sequence[int] | None = None,
    aggregation: str | None = None,
    metric: str = "accuracy",
    baseline: str | Update = "zero",
    groups: Sequence[Sequence[int]] = (),
    seconds: float = 15.0,
    exact: bool | None = None,
    rankings: int | None = None,
    seed: int = 0,
    threads: int = 0,
) -> Semivalues:
    """Values of the same game by another method, for comparison: payments are by Shapley's.

    Leave-one-out is always exact, K + 1 coalitions are counted. Banzhaf's values are exact where all coalitions are
    counted, else estimated from the same rankings as Shapley's, each place in them weighted anew.

    Args:
        model: as `shapley` takes it, and so all that follows but the method.
        test: images and labels.
        updates: each client's weights after training.
        method: "shapley", "banzhaf" or "loo".
        examples: how many examples each client trained on.
        aggregation: "mean" or "fedavg".
        metric: what models are judged by.
        baseline: what nobody is worth.
        groups: updates of one owner each.
        seconds: how long sampling takes at most.
        exact: True counts all coalitions, False none but the sampled ones.
        rankings: sample so many permutations of the clients.
        seed: fixes what is drawn.
        threads: cores to use; 0: all.

    Returns:
        Values and errors in percentage points, and whether they are exact; it unpacks as `values, errors`.

    Raises:
        RoundFilesInvalid: as `shapley`.
        SettingsError: as `shapley`, and for another method.
        MissingPart: Keras is needed for this model and not installed.
    """
    if method not in list(Method):
        raise SettingsError(f"no method {method!r}", where="method", hint=f"one of: {', '.join(Method)}")
    game = _game(model, test, updates, examples, aggregation, metric, baseline, groups)
    return valued(game, How(seconds, exact, rankings, seed, threads), [Method(method)])[0]


def inspect(
    updates: Sequence[Update | Mapping[str, Array]],
    *,
    initial: Update | Mapping[str, Array] | None = None,
    examples: Sequence[int] | None = None,
) -> Looked:
    """What updates look like beside each other: copies, free riders, outliers. Signs, no proof (docs/inspection.md).

    No model is run and none needs to be known: an update is a list of arrays, or a mapping of names to arrays as
    PyTorch's `state_dict` is.

    Args:
        updates: each client's weights after training.
        initial: the weights that all began with; without them less can be told.
        examples: how many examples each client claims.

    Returns:
        `signs`, each with `client` (from 0), `kind`, `measure`, `limit`, `other` and `tensor`; and the `measures`.

    Raises:
        RoundFilesInvalid: no update, or one with other tensors than the others.
    """
    return look_at(updates, initial, examples)


def _game(
    model: Model,
    test: tuple[Array, Array],
    updates: Sequence[Update],
    examples: Sequence[int] | None,
    aggregation: str | None,
    metric: str,
    baseline: str | Update,
    groups: Sequence[Sequence[int]],
) -> Game:
    images, labels = images_and_labels(test)
    told = described(model, images, labels)
    combined, weights = aggregation_of(aggregation, examples), updates_of(updates, told.model)
    counts = examples_of(None if combined == "mean" else examples, len(weights))
    played = Game(told.model, as_test_set(images, labels, told.model), weights, counts, frozen=told.frozen)
    named = baseline if isinstance(baseline, str) else update_of(baseline, told.model, "baseline")
    return judged(played.merged(owners_of(groups, len(weights))), metric, named).played()
