"""What it earns to be several clients: one splits its data over m addresses, or copies its update m times.

    python -m benchmarks.sybils [--quick] [--json] [--seeds 5]

Softmax regression on the embedded digits, K clients of equal parts that know different labels (`mix`); the last is the
one that multiplies itself. `paid` is what its addresses get together, as a multiple of what it gets as one client;
`grouped` the same where the task declares them one owner. Exact values up to K + m − 1 = 14, sampled beyond.
"""

import argparse
import json
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any, Final

import numpy as np
import numpy.typing as npt

import fedcoin
from benchmarks.machine import machine
from fedcoin_cli.learning.simulation.datasets import as_float, load
from fedcoin_cli.learning.simulation.splits import Part, mix

CLIENTS: Final = (5, 10, 20)
TIMES: Final = (2, 3, 5)
MOST_EXACT: Final = 14
RANKINGS: Final = 400
EPOCHS: Final = 60
RATE: Final = 0.5

Weights = list[npt.NDArray[np.float32]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sybils", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="K = 5, one seed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    clients, seeds = ((5,), 1) if given.quick else (CLIENTS, given.seeds)
    rows = [
        row
        for number in clients
        for aggregation in ("mean", "fedavg")
        for trick in ("splits", "copies")
        for times in TIMES
        for row in [_row(number, aggregation, trick, times, seeds)]
    ]
    if given.json:
        print(json.dumps({"machine": machine(), "rows": rows}, indent=1))
        return
    print(f"{'K':>3} {'aggregation':12} {'trick':8} {'m':>2} {'paid':>14} {'grouped':>14}")
    for row in rows:
        told = [f"{mean(row[name]):6.2f} ± {_spread(row[name]):4.2f}" for name in ("paid", "grouped")]
        case = f"{row['clients']:3} {row['aggregation']:12} {row['trick']:8} {row['times']:2}"
        print(f"{case} {told[0]:>14} {told[1]:>14}")


def _row(clients: int, aggregation: str, trick: str, times: int, seeds: int) -> dict[str, Any]:
    found = [_gains(clients, aggregation, trick, times, seed) for seed in range(seeds)]
    paid, grouped = zip(*found, strict=True)
    named = {"clients": clients, "aggregation": aggregation, "trick": trick, "times": times}
    return {**named, "paid": list(paid), "grouped": list(grouped)}


def _gains(clients: int, aggregation: str, trick: str, times: int, seed: int) -> tuple[float, float]:
    data, rng = load("digits"), np.random.default_rng(seed)
    parts = mix(data, clients, rng)
    honest = [(_trained(part), len(part.labels)) for part in parts]
    own = parts[-1]
    if trick == "copies":
        sybils = [honest[-1]] * times
    else:
        places = np.array_split(rng.permutation(len(own.labels)), times)
        split = [Part(own.images[one], own.labels[one], own.strata[one]) for one in places]
        sybils = [(_trained(part), len(part.labels)) for part in split]
    group = tuple(range(clients - 1, clients - 1 + times))
    several = [*honest[:-1], *sybils]
    alone = _share(honest, aggregation, (clients - 1,), ())
    return (
        _share(several, aggregation, group, ()) / alone,
        _share(several, aggregation, (clients - 1,), (group,)) / alone,
    )


def _share(
    updates: Sequence[tuple[Weights, int]],
    aggregation: str,
    whose: Sequence[int],
    groups: Sequence[Sequence[int]],
) -> float:
    """What part of TrainPrice these clients get."""
    data = load("digits")
    model = fedcoin.mlp(data.input_shape, [], data.classes)
    players = len(updates) - sum(len(group) - 1 for group in groups)
    exact = players <= MOST_EXACT
    found = fedcoin.shapley(
        model,
        (data.test.images, data.test.labels),
        [weights for weights, _ in updates],
        examples=[examples for _, examples in updates],
        aggregation=aggregation,
        groups=groups,
        exact=exact or None,
        rankings=None if exact else RANKINGS,
    )
    values = np.maximum(found.values, 0.0)
    return float(values[list(whose)].sum() / values.sum())


def _trained(part: Part) -> Weights:
    """Softmax regression by gradient descent on all images at once, from zero."""
    images = as_float(part.images).reshape(len(part.labels), -1).astype(np.float64)
    wanted = np.eye(10)[part.labels]
    kernel, bias = np.zeros((images.shape[1], 10)), np.zeros(10)
    for _ in range(EPOCHS):
        outputs = images @ kernel + bias
        shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        error = (shares - wanted) / len(images)
        kernel, bias = kernel - RATE * images.T @ error, bias - RATE * error.sum(axis=0)
    return [kernel.astype(np.float32), bias.astype(np.float32)]


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
