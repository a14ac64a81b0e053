"""Watching miners at work: deaths and restarts are told, and --once ends with the task."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from live import Watched, ledgers, processes_in, runtime_of, wait_until, watched, workspace_of
from rounds import make_round
from shell import fedcoin

FEW = ("--clients", "3", "--set", "task.runtime=1")


def until_ready(mine: Watched, miners: int) -> None:
    """Wait until `mine` has seen every miner's mining process."""
    wait_until(lambda: mine.out.count("ready") == miners)


def of_kind(out: str, kind: str) -> list[dict[str, Any]]:
    """The events of one kind among the lines of `mine --json`."""
    return [event for line in out.splitlines() if (event := json.loads(line))["event"] == kind]


def test_one_may_die(tmp_path: Path) -> None:
    """With four miners a killed one is reported, started again by another `mine`, and the round settles for all."""
    with workspace_of(tmp_path / "net", 4, *FEW) as workspace:
        make_round(workspace)
        with watched("mine", "--once", "--json", folder=workspace.root) as mine:
            until_ready(mine, 4)
            killed = runtime_of(workspace).pid(4)
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: mine.err == "warning: miner 4 has ended; no more may end\n")

            again = fedcoin("mine", "--detach", "--json", folder=workspace.root)
            assert again.json["started"] == [4]
            published = fedcoin("publish", "--json", folder=workspace.root)
            assert published.code == 0, published.err
            assert mine.ended() == 0, mine.err

        ended = [(event["miner"], event["code"], event["clean"]) for event in of_kind(mine.out, "ended")]
        assert ended[0] == (4, -signal.SIGKILL, False)
        assert sorted(ended[1:])[:3] == [(1, 0, True), (2, 0, True), (3, 0, True)]
        states = [event for event in of_kind(mine.out, "task") if event["task"] == published.json["task"]]
        assert {event["miner"] for event in states if event["state"] == "SETTLED"} == {1, 2, 3, 4}
        assert len(set(ledgers(workspace))) == 1
        wait_until(lambda: not processes_in(workspace.root))


def test_a_refund_is_told(tmp_path: Path) -> None:
    """When the task that --once waits for is refunded the exit code is 6, naming the task."""
    # A single ranking each of 720, and no distance allowed: nobody is near enough.
    sampled = ("--clients", "6", "--set", "task.runtime=1", "--set", "mining.estimator=balanced")
    with workspace_of(tmp_path / "net", 2, *sampled) as workspace:
        make_round(workspace, 6)
        with watched("mine", "--once", folder=workspace.root) as mine:
            until_ready(mine, 2)
            strict = ("--difficulty", "0", "--attempts", "1", "--set", "task.most-rankings=1")
            published = fedcoin("publish", "--json", *strict, folder=workspace.root)
            assert published.code == 6, published.err
            assert mine.ended() == 6
        task = published.json["task"]
        assert f"task {task[:12]}  refunded, attempt 1" in mine.out
        assert f"error: the task was refunded\n  task {task}\n" in mine.err


def test_no_miner_is_left(tmp_path: Path) -> None:
    """When the last miner dies there is nothing to watch: exit code 6, saying what to do."""
    with workspace_of(tmp_path / "net", 1, *FEW) as workspace:
        with watched("mine", folder=workspace.root) as mine:
            until_ready(mine, 1)
            pid = runtime_of(workspace).pid(1)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            assert mine.ended() == 6
        assert "nothing becomes final until 1 more miner runs" in mine.err
        assert "error: no miner of this workspace runs any more\n" in mine.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watching_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C, or being terminated, stops the miners that were started here and is no failure."""
    with workspace_of(tmp_path / "net", 1, *FEW) as workspace:
        with watched("mine", folder=workspace.root) as mine:
            until_ready(mine, 1)
            mine.process.send_signal(number)
            assert mine.ended() == 0
        assert mine.err == "stopping; Ctrl-C kills\n"
        assert mine.out.endswith("miner 1  stopped\n")
        assert not runtime_of(workspace).alive(1)
