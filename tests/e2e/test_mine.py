"""Watching miners at work: deaths and restarts are told, and --once ends with the task."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from live import Watched, events_of, ledgers, processes_in, runtime_of, wait_until, watched, workspace_of
from rounds import make_round
from shell import fedcoin

from fedcoin_cli.runtime.process import keeper_of, named_process

FEW = ("--clients", "3", "--set", "task.runtime=1")


def until_ready(mine: Watched, miners: int) -> None:
    """Wait until `mine` has seen every miner's mining process."""
    wait_until(lambda: mine.out.count("ready") == miners)


def of_kind(out: str, kind: str) -> list[dict[str, Any]]:
    """The events of one kind among the lines of `mine --json`."""
    return [event for line in out.splitlines() if (event := json.loads(line))["event"] == kind]


def test_one_that_falls_is_started_again(tmp_path: Path) -> None:
    """A killed miner is told to have fallen, is back by itself, and the round settles for all; status says so."""
    with workspace_of(tmp_path / "net", 4, *FEW) as workspace:
        make_round(workspace)
        with watched("mine", "--once", "--json", folder=workspace.root) as mine:
            until_ready(mine, 4)
            killed = runtime_of(workspace).pid(4)
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            until_ready(mine, 5)
            status = fedcoin("status", "--json", folder=workspace.root).json["miners"]
            falls = [
                (one["name"], one["restarts"], one["last_fall"]["how"]) for one in status if "restarts" in one
            ]
            assert falls == [("miner-4", 1, "signal 9")]

            published = fedcoin("publish", "--json", folder=workspace.root)
            assert published.code == 0, published.err
            assert mine.ended() == 0, mine.err

        fallen = [(event["miner"], event["how"]) for event in of_kind(mine.out, "restarted")]
        assert fallen == [(4, "signal 9")]
        ended = [(event["miner"], event["code"], event["clean"]) for event in of_kind(mine.out, "ended")]
        assert sorted(ended) == [(number, 0, True) for number in range(1, 5)]
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
    """When the last miner and its keeper die there is nothing to watch: exit code 6, saying what to do."""
    with workspace_of(tmp_path / "net", 1, *FEW) as workspace:
        with watched("mine", folder=workspace.root) as mine:
            until_ready(mine, 1)
            keeper = named_process(keeper_of(workspace.miner(1).process))
            assert keeper is not None
            os.kill(keeper, signal.SIGKILL)
            assert mine.ended() == 6
        assert "nothing becomes final until 1 more miner runs" in mine.err
        assert "error: no miner of this workspace runs any more\n" in mine.err


def test_a_detached_one_is_started_again_until_stop(tmp_path: Path) -> None:
    """Killed twice it is back twice, in a process of another number; `stop` ends it for good."""
    with workspace_of(tmp_path / "net", 1, *FEW) as workspace:
        assert fedcoin("mine", "--detach", folder=workspace.root).code == 0
        for times in (1, 2):
            killed = runtime_of(workspace).pid(1)
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda ready=times + 1: len(events_of(workspace, 1, "ready")) == ready)  # type: ignore[misc]
        assert [event["restarts"] for event in events_of(workspace, 1, "restarted")] == [1, 2]
        assert "miner-1 fell and was started again 2 times" in fedcoin("status", folder=workspace.root).out
        assert fedcoin("stop", "--json", folder=workspace.root).json["stopped"] == [1]
        wait_until(lambda: not processes_in(workspace.root))


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
