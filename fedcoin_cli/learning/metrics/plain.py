"""How good a model is by the plainest measure of its test set: for people, nobody is paid by it.

The share of labels that are right, of tokens likewise; of real-valued targets scikit-learn's R², the share of their
variance that outputs explain.
"""

import numpy as np

from fedcoin_cli.contract.metric import Truth
from fedcoin_cli.learning.metrics.scorer import Floats
from fedcoin_cli.learning.model.truth import IGNORED, truth_of
from fedcoin_cli.learning.model.weights import TestSet


def plain(test: TestSet, outputs: Floats) -> float:
    """The measure of outputs (examples, …) as `own_outputs` gives them."""
    said = test.labels
    match truth_of(said):
        case Truth.labels:
            return float((outputs.argmax(axis=1) == said).mean())
        case Truth.tokens:
            given = outputs.reshape(*said.shape, -1).argmax(axis=2)
            return float((given == said)[said != IGNORED].mean())
        case Truth.targets:
            given = outputs[:, 1] if said.ndim == 1 else outputs
            wanted = said.astype(np.float64)
            spread = ((wanted - wanted.mean(axis=0)) ** 2).sum()
            return float(1 - ((given - wanted) ** 2).sum() / max(spread, np.finfo(np.float64).tiny))


def plain_chance(test: TestSet) -> float:
    """The same of one output for all."""
    said = test.labels
    if truth_of(said) is Truth.targets:
        return 0.0
    judged = said[said != IGNORED]
    return float(np.unique(judged, return_counts=True)[1].max() / judged.size)


def named(test: TestSet, measure: float) -> tuple[str, str]:
    """What the measure is called, and itself for programs: percent, or R²."""
    match truth_of(test.labels):
        case Truth.labels:
            return "accuracy", f"{100 * measure:.4f}"
        case Truth.tokens:
            return "token_accuracy", f"{100 * measure:.4f}"
        case Truth.targets:
            return "r2", f"{measure:.6f}"


def told(test: TestSet, measure: float) -> str:
    """The measure in words."""
    match truth_of(test.labels):
        case Truth.labels:
            return f"{100 * measure:.1f}% right"
        case Truth.tokens:
            return f"{100 * measure:.1f}% of tokens right"
        case Truth.targets:
            return f"R² {measure:.4f}"
