"""What paying costs a Flower server: `python -m benchmarks.federation [--rounds N] [--json]`, with flwr installed.

Processor time of the server a round, all clients signing, without mining: with `Paid`, with a strategy that saves every
client's update by hand (`safetensors.numpy.save_file`), and bare; in turns in one process, medians of the rounds. What
the clients do is taken out and told apart. The goal at 100 clients: 50 ms and twice the time to hash the updates. Then
what a whole round of examples/flower-hospital takes, training included, and what paying adds to that: at most 5 percent
is the goal; and the peak of memory of each way, in processes of their own, in models a client.
`--settle` runs two miners beside it and tells how long after the last round the coins are there, and how long
`make_round` and `publish` take by hand.
"""

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from flowers import Loop
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from safetensors.numpy import save_file

import fedcoin
from benchmarks.machine import finish, machine, peak_mib
from benchmarks.network import free_ports
from fedcoin.flower import Paid, paid

CASES: Final = {"8 clients, 10 kB": (8, (64, [32], 10)), "100 clients, 0.4 MB": (100, (784, [128], 10))}


class Timed(Loop):
    """Hands messages on, and counts what the clients take."""

    spent_s = 0.0

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        start = time.process_time()
        replies = super().send_and_receive(sent, timeout=timeout)
        self.spent_s += time.process_time() - start
        return replies


class ByHand(FedAvg):
    """FedAvg that keeps every client's update as a file, as people do who value them later."""

    folder = Path()

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        received = list(replies)
        for number, reply in enumerate(received):
            (record,) = reply.content.array_records.values()
            tensors = {f"{place:03d}": array for place, array in enumerate(record.to_numpy_ndarrays())}
            save_file(tensors, self.folder / f"{number:05d}.safetensors")
        return super().aggregate_train(server_round, received)


@dataclass(slots=True)
class Case:
    """Clients, a model and a workspace; `steps` is what each client adds in every round."""

    workspace: fedcoin.Workspace
    clients: int
    model: Any
    begun: list[np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    steps: list[list[np.ndarray]] = field(default_factory=list)

    @classmethod
    def of(cls, workspace: fedcoin.Workspace, clients: int, sizes: tuple[int, list[int], int]) -> "Case":
        """Drawn: what arrays hold makes no difference to what they cost."""
        inputs, hidden, classes = sizes
        draw = np.random.default_rng(0)
        widths = [inputs, *hidden, classes]
        shapes = [s for a, b in pairwise(widths) for s in ((a, b), (b,))]
        arrays = [[draw.normal(0, 0.05, s).astype(np.float32) for s in shapes] for _ in range(clients + 1)]
        x = draw.random((397, inputs), dtype=np.float32)
        made = cls(workspace, clients, fedcoin.mlp(*sizes), arrays[0], (x, draw.integers(0, classes, 397)))
        made.steps = arrays[1:]
        return made

    def grid(self) -> Timed:
        """A grid of clients that sign."""
        app = ClientApp(mods=[paid(simulated=self.workspace.path)])

        @app.train()  # type: ignore[untyped-decorator, unused-ignore]  # unknown where Flower is not installed
        def train(message: Message, context: Context) -> Message:
            got = message.content["arrays"].to_numpy_ndarrays()
            step = self.steps[int(context.node_config["partition-id"])]
            arrays = ArrayRecord([a + b for a, b in zip(got, step, strict=True)])
            metrics = MetricRecord({"num-examples": 50})
            return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

        return Timed(app, {node: {"partition-id": node} for node in range(self.clients)})

    def paid(self, **more: Any) -> Paid:
        """FedAvg, paid."""
        terms: dict[str, Any] = {"price": 100, "settings": {"task.runtime": 5}} | more
        return Paid(self.bare(), workspace=self.workspace.path, model=self.model, test=self.test, **terms)

    def bare(self) -> FedAvg:
        """FedAvg over all clients."""
        return FedAvg(fraction_evaluate=0.0, min_train_nodes=self.clients, min_available_nodes=self.clients)

    def by_hand(self, folder: Path) -> ByHand:
        """The same, which keeps files."""
        made = ByHand(fraction_evaluate=0.0, min_train_nodes=self.clients)
        made.folder = folder
        return made

    def updates_s(self) -> float:
        """Processor time to hash all clients' updates once."""
        parts = [b"".join(array.tobytes() for array in step) for step in self.steps]
        start = time.process_time()
        for part in parts:
            sha256(part).hexdigest()
        return time.process_time() - start


WAYS: Final[dict[str, Callable[[Case, Path], Any]]] = {
    "bare": lambda case, _: case.bare(),
    "by hand": lambda case, folder: case.by_hand(folder),
    "paid": lambda case, _: case.paid(),
}
"""Strategies by how clients' updates are kept, in a folder where by hand."""


def opened(root: Path, name: str, some: int | None = None) -> Case:
    """A case, or one like it of some clients, in a folder of its own, with a place to keep files by hand."""
    most, sizes = CASES[name]
    clients = some or most
    (root / "kept").mkdir()
    settings = {"network.port": free_ports(4)}
    workspace = fedcoin.Workspace.create(root / "shop", miners=2, clients=clients, settings=settings)
    return Case.of(workspace, clients, sizes)


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of processor time: the server's in each round but the first, the clients' in all, whatever is left."""

    rounds: list[float]
    clients: float
    rest: float


def run(case: Case, strategy: Any, rounds: int) -> Spent:
    """One run; the first round, which writes the call, counts to the rest."""
    grid, stamps = case.grid(), list[tuple[float, float]]()

    def stamp(_round: int, _arrays: ArrayRecord) -> None:
        stamps.append((time.process_time(), grid.spent_s))

    start = time.process_time()
    strategy.start(grid, ArrayRecord(case.begun), num_rounds=rounds, evaluate_fn=stamp)
    whole = time.process_time() - start
    each = [(b - a) - (d - c) for (a, c), (b, d) in pairwise(stamps[1:])]
    return Spent(each, grid.spent_s, whole - grid.spent_s - sum(each))


def compared(case: Case, rounds: int, folder: Path) -> dict[str, Any]:
    """All three in turns."""
    spent: dict[str, list[Spent]] = {way: [] for way in WAYS}
    for _ in range(3):
        for way, make in WAYS.items():
            spent[way].append(run(case, make(case, folder), rounds))
    each = {
        way: 1000 * statistics.median([s for one in runs for s in one.rounds]) for way, runs in spent.items()
    }
    hashing = 1000 * statistics.median(case.updates_s() for _ in range(9))
    clients = {way: min(one.clients for one in runs) for way, runs in spent.items()}
    return {
        "bare, ms a round": each["bare"],
        "by hand adds": each["by hand"] - each["bare"],
        "Paid adds": each["paid"] - each["bare"],
        "hashing once": hashing,
        "goal": 50 + 2 * hashing,
        "a client adds, ms": 1000 * (clients["paid"] - clients["bare"]) / rounds / case.clients,
        "before and after, ms": 1000 * min(one.rest for one in spent["paid"]),
    }


def of_example(root: Path, rounds: int) -> dict[str, Any]:
    """Whole rounds of the hospitals, 8 of them, with and without their pay, in turns; their shop is `root`'s."""
    os.environ["HOME"] = str(root)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples" / "flower-hospital"))
    from hospital_app import client_app, task

    bare = ClientApp()
    bare.train()(client_app.training)
    nodes: dict[int, dict[str, Any]] = {number: {"partition-id": number} for number in range(8)}
    terms: dict[str, Any] = {"model": task.MODEL, "test": task.tests(), "metric": "roc_auc"}
    spent: dict[str, list[float]] = {"bare": [], "paid": []}
    for _ in range(3):
        for way, app in (("bare", bare), ("paid", client_app.app)):
            inner, stamps = FedAvg(fraction_evaluate=0.0, min_train_nodes=8), list[float]()
            strategy = inner if way == "bare" else Paid(inner, workspace=task.SHOP, price=100, **terms)
            strategy.start(
                Loop(app, dict(nodes), {"hospitals": 8}),
                ArrayRecord(task.beginning()),
                num_rounds=rounds,
                evaluate_fn=lambda *_, stamps=stamps: stamps.append(time.process_time()),
            )
            spent[way] += [b - a for a, b in pairwise(stamps[1:])]
    each = {way: 1000 * statistics.median(found) for way, found in spent.items()}
    added = each["paid"] - each["bare"]
    return {"a round, ms": each["bare"], "Paid adds": added, "percent": 100 * added / each["bare"]}


def peaks(name: str, rounds: int) -> list[dict[str, Any]]:
    """The most memory that server and clients held together, each way in processes of its own.

    What another client takes is told by half of them, so that what is loaded once is not counted.
    """
    clients, (inputs, hidden, classes) = CASES[name]
    model = sum(4 * a * b + 4 * b for a, b in pairwise([inputs, *hidden, classes])) / 2**20
    found = []
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as alone:
        for way in WAYS:
            few, all_ = (
                alone.submit(_peak, name, some, way, rounds).result() for some in (clients // 2, clients)
            )
            more = (all_ - few) / (clients - clients // 2)
            found.append({"way": way, "MiB": all_, "models a client": more / model})
    return found


def _peak(name: str, clients: int, way: str, rounds: int) -> float:
    logging.getLogger("flwr").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as place:
        case = opened(Path(place), name, clients)
        run(case, WAYS[way](case, Path(place) / "kept"), rounds)
        return peak_mib()


def settled(case: Case, rounds: int) -> dict[str, Any]:
    """Seconds from the last round to the payment, and by hand, with two miners at work."""
    last: list[float] = []
    with case.workspace.mining():
        strategy = case.paid()
        result = strategy.start(
            case.grid(),
            ArrayRecord(case.begun),
            num_rounds=rounds,
            evaluate_fn=lambda *_: last.append(time.monotonic()),
        )
        waited = time.monotonic() - last[-1]
        assert result.fedcoin.task, result.fedcoin
        updates = [[a + rounds * b for a, b in zip(case.begun, step, strict=True)] for step in case.steps]
        start = time.monotonic()
        folder = case.workspace.make_round(case.model, case.test, updates, examples=[50] * case.clients)
        case.workspace.publish(folder, price=100, runtime=5)
        return {"Paid, s": waited, "by hand, s": time.monotonic() - start}


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.federation", description=__doc__)
    logging.getLogger("flwr").setLevel(logging.ERROR)
    parser.add_argument("--rounds", type=int, default=6, help="rounds a run")
    parser.add_argument(
        "--settle", action="store_true", help="with miners: seconds until the coins are there"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    rows, after = [], []
    for name in CASES:
        with tempfile.TemporaryDirectory() as place:
            case = opened(Path(place), name)
            rows.append({"case": name, **compared(case, chosen.rounds, Path(place) / "kept")})
            if chosen.settle and case.clients <= 8:
                after.append({"case": name, **settled(case, chosen.rounds)})
    held = peaks(max(CASES, key=lambda name: CASES[name][0]), chosen.rounds)
    with tempfile.TemporaryDirectory() as place:
        fedcoin.Workspace.create(Path(place) / "fedcoin-shop", miners=2)
        whole = of_example(Path(place), chosen.rounds)
    tables = {
        "processor time of the server, ms a round": rows,
        "a whole round of the hospitals, processor time": [whole],
        "memory of server and clients together, most clients": held,
    }
    if after:
        tables["from the last round to the coins"] = after
    result = {
        "schema": 1,
        "rows": rows,
        "example": whole,
        "memory": held,
        "settled": after,
        "machine": machine(),
    }
    finish(result, chosen.json, tables)


if __name__ == "__main__":
    main()
