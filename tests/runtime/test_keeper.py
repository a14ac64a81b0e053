"""The keeper, over programs that stand for miners: each life is one line in a file."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live import wait_until

from fedcoin_cli.application.node.events import read_events
from fedcoin_cli.runtime.base import MinerFiles, stop
from fedcoin_cli.runtime.falls import falls_of
from fedcoin_cli.runtime.process import ProcessRuntime, keeper_of, named_process

# It names itself as a miner that is up does, says what it was told, and does what the words say.
MINER = """
import os, pathlib, sys, time
from fedcoin_cli.runtime.process import naming_itself
folder = pathlib.Path(sys.argv[1])
with (folder / "lives").open("a") as lives:
    print(sys.stdin.read(), file=lives)
with naming_itself(folder / "node.pid"):
    exec(sys.argv[2])
"""
REFUSES = "os.remove(folder / 'node.pid'); sys.exit(7)"
UNBORN = "os.remove(folder / 'node.pid'); os.abort()"


@contextmanager
def kept(folder: Path, words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A keeper of a miner that does what `words` say; nothing of it is left at the end."""
    program = [sys.executable, "-c", MINER, str(folder), words]
    keeper = [sys.executable, "-P", "-m", "fedcoin_cli.runtime.keeper"]
    command = [*keeper, str(folder / "node.pid"), str(folder / "node.log"), *program]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(b"word")
            process.stdin.close()
            yield process
        finally:
            process.kill()


def lives(folder: Path) -> list[str]:
    """What each life was told."""
    path = folder / "lives"
    return path.read_text().splitlines() if path.exists() else []


def runtime(folder: Path) -> ProcessRuntime:
    return ProcessRuntime(folder, [MinerFiles(1, folder / "node.log", folder / "node.pid")])


def up(folder: Path) -> int:
    """The miner's pid, once it is up."""
    wait_until(lambda: named_process(folder / "node.pid") is not None)
    return named_process(folder / "node.pid") or 0


def test_a_miner_that_falls_is_started_again_and_told(tmp_path: Path) -> None:
    """Killed, it lives again with the same secret; the log and the note say how often and how it fell."""
    with kept(tmp_path, "time.sleep(600)"):
        first = up(tmp_path)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: lives(tmp_path) == ["word", "word"])
        assert up(tmp_path) != first
        events, _ = read_events(tmp_path / "node.log")
        assert [(one["event"], one["how"], one["restarts"]) for one in events] == [
            ("restarted", "signal 9", 1)
        ]
        falls = falls_of(tmp_path / "node.pid")
        assert falls is not None
        assert (falls.restarts, falls.how) == (1, "signal 9")


def test_one_that_goes_on_falling_waits_longer_each_time(tmp_path: Path) -> None:
    """Each pause is twice the one before: no life follows the other at once."""
    with kept(tmp_path, "os.abort()"):
        wait_until(lambda: len(lives(tmp_path)) >= 3)
        events, _ = read_events(tmp_path / "node.log")
        assert [one["pause_s"] for one in events][:2] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("sys.exit(0)", 0),
        (REFUSES, 7),
        (UNBORN, 128 + signal.SIGABRT),
        ("os.kill(os.getpid(), 15)", 128 + 15),
    ],
)
def test_who_ends_on_purpose_or_never_was_up_stays_down(tmp_path: Path, words: str, code: int) -> None:
    """An end that was asked for, an error that a person must mend, a crash before it was up: one life."""
    with kept(tmp_path, words) as keeper:
        assert keeper.wait() == code
    assert len(lives(tmp_path)) == 1
    assert falls_of(tmp_path / "node.pid") is None


def test_stop_ends_both_whether_the_miner_is_up_or_resting(tmp_path: Path) -> None:
    """A program that did not start it finds it by its files, also between two lives, and no life follows."""
    with kept(tmp_path, "time.sleep(600)") as keeper:
        os.kill(up(tmp_path), signal.SIGKILL)
        wait_until(lambda: falls_of(tmp_path / "node.pid") is not None)
        assert runtime(tmp_path).alive(1)
        assert stop(runtime(tmp_path), [1]) == ()
        keeper.wait()
        assert not runtime(tmp_path).alive(1)
    with kept(tmp_path, "time.sleep(600)") as keeper:
        miner = up(tmp_path)
        assert runtime(tmp_path).pid(1) == miner
        assert stop(runtime(tmp_path), [1]) == ()
        keeper.wait()
        assert not Path(f"/proc/{miner}").exists()


def test_a_killed_keeper_takes_its_miner_with_it(tmp_path: Path) -> None:
    """Nobody is left who could be started beside its successor."""
    with kept(tmp_path, "time.sleep(600)") as keeper:
        miner = up(tmp_path)
        assert named_process(keeper_of(tmp_path / "node.pid")) == keeper.pid
        runtime(tmp_path).kill(1)
        wait_until(lambda: named_process(tmp_path / "node.pid") is None)
        assert keeper.wait() == -signal.SIGKILL
        until_s = time.monotonic() + 10
        while Path(f"/proc/{miner}").exists() and time.monotonic() < until_s:
            time.sleep(0.02)
        assert not runtime(tmp_path).alive(1)
