"""The mining child under its node's eyes: a real process that is killed, and another in its place."""

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

from chains import ChainMaker

from fedcoin_cli.application.node.supervised_child import CHILD_RESTART_MS, SupervisedChild
from fedcoin_cli.replica import jobs
from ledger_store.base.names import Address

PATIENCE_S = 120.0


def until(child: SupervisedChild, done: Callable[[], bool]) -> None:
    """Wait for the child's pipe until something is so."""
    while not done():
        readable, _, _ = select.select(child.fds, [], [], PATIENCE_S)
        assert readable, "the child says nothing"


def is_ready(child: SupervisedChild) -> bool:
    """Whether it has just said what counts coalitions."""
    return any(isinstance(answer, jobs.Ready) for answer in child.answers())


def test_a_killed_child_is_replaced_after_its_time(tmp_path: Path) -> None:
    """Its end is told once; until another is there nothing is heard or ordered; the new one is told the settings."""
    child = SupervisedChild(jobs.Configure(str(tmp_path), Address("a" * 64), 1, "auto"))
    try:
        until(child, lambda: is_ready(child))
        assert (child.has_fallen(0), child.is_back(10**9)) == (False, False)
        first = child.fds
        assert child._child is not None
        os.kill(child._child.pid, signal.SIGKILL)
        until(child, lambda: child.has_fallen(5_000))
        assert not child.has_fallen(5_000), "told twice"
        assert (child.fds, child.answers()) == ([], [])
        child.order(jobs.Forget(ChainMaker(1).task()))
        assert not child.is_back(5_000 + CHILD_RESTART_MS - 1)
        assert child.is_back(5_000 + CHILD_RESTART_MS)
        assert not child.is_back(5_000 + CHILD_RESTART_MS), "started twice"
        assert len(child.fds) == len(first)
        until(child, lambda: is_ready(child))
    finally:
        child.close()
