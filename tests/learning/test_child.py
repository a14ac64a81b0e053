import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chains import ChainMaker
from evidenced import evidenced

from fedcoin_cli.application.node.child import Child
from fedcoin_cli.contract.possession import held_by
from fedcoin_cli.learning.model.model import parse_model
from fedcoin_cli.learning.model.weights import TestSet, write_test, write_update
from fedcoin_cli.learning.worker import Problem, RunningInspection
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.replica.jobs import Answer, Configure, Inspect, Inspected, Inspecting, Ready

PATIENCE_S = 60.0


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """A real mining child over an empty store."""
    chain = ChainMaker(1)
    store = Store(tmp_path / "store")
    child = Child(Configure(str(store.folder), chain.miners[0].address, 1, "auto"))
    yield child
    child.close()


def heard(child: Child, enough: Callable[[list[Answer]], bool]) -> list[Answer]:
    """What the child says until it is enough or it has ended."""
    answers: list[Answer] = []
    until = time.monotonic() + PATIENCE_S
    while not enough(answers) and time.monotonic() < until:
        select.select([child.fileno()], [], [], 1.0)
        answers += child.answers()
        if not child.alive:
            break
    return answers


def test_a_child_answers_orders_and_survives_a_bad_round(child: Child, tmp_path: Path) -> None:
    """It says that it is ready; files that are no round are told as such, and it serves the next order."""
    store = Store(tmp_path / "store")
    garbage = store.put_bytes(b"no model, no weights")
    task = ChainMaker(1).task(model=garbage, test=garbage)
    for update in task.updates:
        (store.folder / update.digest).write_bytes(b"nothing either")
    child.order(Inspect(task))
    child.order(Inspect(task))
    answers = heard(child, lambda so_far: len(so_far) == 3)
    assert isinstance(answers[0], Ready)
    assert [type(answer) for answer in answers[1:]] == [Inspected, Inspected]
    assert all(isinstance(answer, Inspected) and answer.error for answer in answers[1:])
    assert child.alive


def test_a_killed_child_is_seen_and_disturbs_nobody(child: Child) -> None:
    """After SIGKILL its pipe becomes readable and says that it is dead; orders to it go nowhere, closing is quick."""
    heard(child, lambda so_far: len(so_far) == 1)
    os.kill(child.pid, signal.SIGKILL)
    assert heard(child, lambda _: not child.alive) == []
    assert not child.alive
    for _ in range(100):
        child.order(Inspect(ChainMaker(1).task()))
    assert child.answers() == []


def test_a_store_lies_wherever_a_person_wants_it(tmp_path: Path) -> None:
    """Letters beyond ASCII in the workspace's folder: the child gets its first order and says that it is ready."""
    folder = tmp_path / "jos\u00e9"
    folder.mkdir()
    child = Child(Configure(str(folder / "store"), ChainMaker(1).miners[0].address, 1, "auto"))
    try:
        assert isinstance(heard(child, lambda answers: len(answers) == 1)[0], Ready)
    finally:
        child.close()


def test_a_free_task_is_not_inspected_without_a_bound(child: Child, tmp_path: Path) -> None:
    """Progress is told, another task is served between slices, and what would take too long is refused early.

    [P-6.12]
    """
    store, rng, side, clients = Store(tmp_path / "store"), np.random.default_rng(0), 16, 30
    document = convolutional(side)
    model = store.put_bytes(json.dumps(document).encode())
    spec = parse_model(json.dumps(document).encode())
    path = tmp_path / "file"
    pictures = rng.integers(0, 255, (400, side, side, 1)).astype(np.uint8)
    write_test(path, TestSet(pictures, rng.integers(0, 2, 400).astype(np.int32)))
    test, updates, chain = store.put_file(path), [], ChainMaker(1)
    for _ in range(clients):
        write_update(path, [rng.normal(0, 0.1, shape).astype(np.float32) for shape in spec.weight_shapes])
        updates.append(replace(chain.update(1), digest=store.put_file(path)))
    free: dict[str, Any] = {"price_micro": 0, "train_micro": 0, "computation_micro": 0, "shapley_micro": 0}
    asked: dict[str, Any] = {"model": model, "test": test}
    asked["held"] = held_by(chain.requester.address, (store.path(model), store.path(test)))
    heavy = chain.task(**asked, updates=tuple(updates), images=400, **free)
    other = chain.task(**asked, images=999)
    for update in other.updates:
        if not store.has(update.digest):
            (store.folder / update.digest).write_bytes(b"nothing")
    child.order(Inspect(heavy))
    child.order(Inspect(other))
    answers = heard(child, lambda so_far: sum(isinstance(one, Inspected) for one in so_far) == 2)
    ended = [one for one in answers if isinstance(one, Inspected)]
    assert [one.task for one in ended] == [other.id, heavy.id], ended
    assert any(isinstance(one, Inspecting) and one.task == heavy.id for one in answers), ended
    assert ended[1].error is not None
    assert "s are allowed at this price" in ended[1].error


def convolutional(side: int) -> dict[str, Any]:
    """A model whose files are small and whose coalitions are costly."""

    def layer(name: str, **config: Any) -> dict[str, Any]:
        return {"module": "keras.layers", "class_name": name, "config": config, "registered_name": None}

    common = {
        "kernel_size": [3, 3],
        "strides": [1, 1],
        "padding": "same",
        "data_format": "channels_last",
        "dilation_rate": [1, 1],
        "groups": 1,
        "activation": "relu",
        "use_bias": True,
    }
    layers = [
        layer("InputLayer", batch_shape=[None, side, side, 1]),
        layer("Conv2D", filters=16, **common),
        layer("Conv2D", filters=64, **common),
        layer("GlobalAveragePooling2D", data_format="channels_last", keepdims=False),
        layer("Dense", units=2, activation="linear", use_bias=True),
    ]
    config = {"name": "m", "layers": layers}
    return {"module": "keras", "class_name": "Sequential", "registered_name": None, "config": config}


class _Work:
    """An inspection of a hundred steps, each of which waits or works for ten milliseconds."""

    total = 100

    def __init__(self, *, busy: bool) -> None:
        self._busy, self._done = busy, 0

    @property
    def share(self) -> float:
        return self._done / self.total

    def advance(self) -> bool:
        until = time.process_time() + 0.01
        while self._busy and time.process_time() < until:
            pass
        if not self._busy:
            time.sleep(0.01)
        self._done += 1
        return self._done < self.total


@pytest.mark.parametrize("busy", [False, True])
def test_an_inspection_is_not_charged_for_other_programs(tmp_path: Path, *, busy: bool) -> None:
    """While the processor works for others an honest round's time stands still; its own work counts [P-6.12]."""
    made = evidenced(tmp_path)
    one = RunningInspection(Problem(made.task, made.store, 1), 0.0)
    one.allowed_s, one.work = 0.5, _Work(busy=busy)  # type: ignore[assignment]
    while one.advance(0.1):
        pass
    assert (one.taken_s > 0.5) is busy
