"""A way to run miners: what every implementation in this folder offers.

A runtime starts and ends processes or containers and knows whether they run. What a miner is, when it is ready
and how many are needed is decided above.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

_POLL_S = 0.05


class Via(StrEnum):
    """Ways to run miners."""

    process = "process"
    docker = "docker"
    swarm = "swarm"


@dataclass(frozen=True, slots=True)
class MinerFiles:
    """One miner's place: its number, its log of events, the file that names its process."""

    number: int
    log: Path
    process: Path

    @property
    def words(self) -> Path:
        """What its program prints besides: tracebacks, and what libraries have to say."""
        return self.log.with_suffix(".out")


class Runtime(Protocol):
    """Miners by number, wherever they run. Miners that someone else started are seen, too.

    A miner that is asked to end has `patience_s` seconds before it is killed.
    """

    patience_s: float

    def start(self, number: int) -> None:
        """Start a miner that does not run; returns at once, whether or not it will come up."""
        ...

    def retain(self, number: int) -> None:
        """It has come up: from now on whatever runs it brings it back, where it can after a restart of itself, too."""
        ...

    def alive(self, number: int) -> bool:
        """Whether it runs."""
        ...

    def exit_code(self, number: int) -> int | None:
        """How a miner that this object started has ended (negative: by that signal); None: unknown, or it runs."""
        ...

    def last_words(self, number: int) -> str:
        """Where its program's own output is: a file, or the command that shows it."""
        ...

    def terminate(self, number: int) -> None:
        """Ask it to end; nothing happens when it does not run."""
        ...

    def kill(self, number: int) -> None:
        """End it at once; nothing happens when it does not run."""
        ...


class PrunableRuntime(Runtime, Protocol):
    """A runtime that leaves something behind when its miners have ended."""

    def prune(self) -> list[str]:
        """Remove all that it has left of this workspace, and nothing else; returns what that was."""
        ...


def stop(
    runtime: Runtime,
    numbers: Iterable[int],
    hurry: Callable[[], bool] = lambda: False,
) -> tuple[int, ...]:
    """Ask miners to end and wait; those that still run after its patience, or as soon as `hurry()`, are killed.

    Returns the numbers of those that had to be killed; when it returns none of them runs any more.
    """
    left = {number for number in numbers if runtime.alive(number)}
    killed: set[int] = set()
    for number in left:
        runtime.terminate(number)
    until_s = time.monotonic() + runtime.patience_s
    while left := {number for number in left if runtime.alive(number)}:
        if hurry() or time.monotonic() >= until_s:
            for number in left - killed:
                runtime.kill(number)
            killed |= left
        time.sleep(_POLL_S)
    return tuple(sorted(killed))
