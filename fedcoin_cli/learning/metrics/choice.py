"""Which scorer a metric has on a test set; metrics that do not fit the labels or the model's outputs are refused."""

from typing import NoReturn

import numpy as np

from fedcoin_cli.contract.metric import Family, Metric
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.metrics.labelling import Labelling, Labels, balanced_weights
from fedcoin_cli.learning.metrics.losses import Losses, brier_loss, log_loss
from fedcoin_cli.learning.metrics.ordering import Ordering
from fedcoin_cli.learning.metrics.ratios import MOST_CLASSES, Ratios
from fedcoin_cli.learning.metrics.scorer import Scorer
from ledger_store.base.errors import RoundFilesInvalid

_LOSSES = {"neg_log_loss": log_loss, "neg_brier_score": brier_loss}


def scorer_of(game: Game) -> Scorer:
    """What a game's outputs are scored by."""
    return scorer(game.metric, game.test.labels, game.model.classes)


def scorer(metric: Metric, labels: Labels, classes: int) -> Scorer:
    """A metric on these labels, of a model with so many classes; raises `RoundFilesInvalid` [P-6.19]."""
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


def _refuse(metric: Metric, why: str) -> NoReturn:
    hint = "choose a metric that fits model and test set; docs/metrics.md tells which do"
    raise RoundFilesInvalid(f"{metric.name} does not fit: {why}", where="metric", hint=hint)
