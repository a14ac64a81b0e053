import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chains import ChainMaker

from fedcoin_cli.application.miner.child import Child
from fedcoin_cli.application.miner.work import Answer, Configure, Inspect, Inspected, Ready
from fedcoin_cli.network.store import Store

PATIENCE_S = 60.0


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """A real mining child over an empty store."""
    chain = ChainMaker(1)
    store = Store(tmp_path / "store")
    child = Child(Configure(str(store.folder), chain.miners[0].address, 1, "auto"), tmp_path / "miner.log")
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
    child = Child(
        Configure(str(folder / "store"), ChainMaker(1).miners[0].address, 1, "auto"), tmp_path / "log"
    )
    try:
        assert isinstance(heard(child, lambda answers: len(answers) == 1)[0], Ready)
    finally:
        child.close()
