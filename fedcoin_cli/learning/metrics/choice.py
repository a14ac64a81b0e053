"""Which scorer a metric has on a test set; metrics that do not fit the labels or the model's outputs are refused."""

from collections.abc import Mapping
from functools import partial
from typing import Final, NoReturn

import numpy as np

from fedcoin_cli.contract.metric import Family, Metric, Truth, forms
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.metrics.labelling import Labelling, Labels, balanced_weights
from fedcoin_cli.learning.metrics.losses import Loss, Losses, brier_loss, log_loss, square_loss
from fedcoin_cli.learning.metrics.ordering import Ordering
from fedcoin_cli.learning.metrics.ratios import MOST_CLASSES, Ratios
from fedcoin_cli.learning.metrics.scorer import Scorer
from fedcoin_cli.learning.metrics.tokens import Tokens
from fedcoin_cli.learning.model.truth import Said, truth_of
from ledger_store.base.errors import RoundFilesInvalid

_LOSSES: Final[Mapping[str, Loss]] = {
    "neg_log_loss": log_loss,
    "neg_brier_score": brier_loss,
    "neg_mean_squared_error": square_loss,
    "neg_log_perplexity": log_loss,
}
_HELD: Final = {
    Truth.labels: "whole numbers (int32), one an image (of one-hot rows labels.argmax(axis=1))",
    Truth.targets: "real numbers (float32)",
    Truth.tokens: "whole numbers (int32), one for each token",
}
"""What y of a test set holds."""


def scorer_of(game: Game) -> Scorer:
    """What a game's outputs are scored by; raises `RoundFilesInvalid` where metric or baseline do not fit."""
    if game.chance and game.metric.truth is Truth.targets and game.test.labels.ndim > 1:
        message = f"chance is not defined for {game.test.labels.shape[1]} targets an example"
        hint = "zero, or a file of weights, as a model that gives each its mean"
        raise RoundFilesInvalid(message, where="baseline", hint=hint)
    return scorer(game.metric, game.test.labels, game.model.classes)


def scorer(metric: Metric, labels: Said, classes: int) -> Scorer:
    """A metric on these labels or targets, of a model with so many classes; raises `RoundFilesInvalid` [P-6.19]."""
    if truth_of(labels) is not metric.truth:
        _refuse_truth(metric, truth_of(labels))
    match metric.family:
        case Family.counts:
            if metric.parameter >= classes:
                _refuse(
                    metric,
                    f"the model has {classes} outputs, all of which are among the first {metric.parameter}",
                )
            return Labelling(labels, int(metric.parameter))
        case Family.weights:
            return Labelling(labels, weights=balanced_weights(labels, classes))
        case Family.steps:
            return Losses(labels, _LOSSES[metric.name], float(metric.parameter))
        case Family.tokens:
            return Tokens(labels, Labelling)
        case Family.losses:
            return Tokens(labels, partial(Losses, loss=_LOSSES[metric.name], cap=float(metric.parameter)))
        case Family.pairs:
            return _ordering(metric, labels, classes)
        case Family.ratios:
            return _ratios(metric, labels, classes)


def _ordering(metric: Metric, labels: Labels, classes: int) -> Ordering:
    if classes != 2:
        _refuse(metric, f"it ranks images by two outputs, and the model has {classes}")
    if len(np.unique(labels)) < 2:
        _refuse(metric, f"all {len(labels)} test images have label {labels[0]}: there is no pair to order")
    return Ordering(labels)


def _ratios(metric: Metric, labels: Labels, classes: int) -> Ratios:
    present = np.unique(labels).tolist()
    if metric.name == "f1_macro":
        if classes > MOST_CLASSES:
            _refuse(metric, f"it takes up to {MOST_CLASSES} classes, and the model has {classes}")
        return Ratios(labels, classes, present)
    if classes != 2:
        _refuse(
            metric, f"it is of label 1 against 0, and the model has {classes} outputs: f1_macro takes more"
        )
    if 1 not in present:
        _refuse(metric, f"none of {len(labels)} test images has label 1")
    return Ratios(labels, classes, [1])


def _refuse_truth(metric: Metric, found: Truth) -> NoReturn:
    held = _HELD[found].partition(" (of")[0]
    message = f"{metric.name} does not fit: it judges by {metric.truth}, y of the test set holds {held}"
    hint = f"choose {' or '.join(forms(found))}, or give y as {_HELD[metric.truth]}"
    raise RoundFilesInvalid(message, where="metric", hint=hint)


def _refuse(metric: Metric, why: str) -> NoReturn:
    hint = "choose a metric that fits model and test set; docs/metrics.md tells which do"
    raise RoundFilesInvalid(f"{metric.name} does not fit: {why}", where="metric", hint=hint)
