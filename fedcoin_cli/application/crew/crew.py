"""The local miners of a workspace as a crew: started, awaited, listened to and stopped through a runtime.

Nothing here waits: who uses a crew calls `news` as often as it likes and decides what to make of it.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedcoin_cli.application.node.events import read_events
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.advice import start_command
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.runtime.base import MinerFiles, Runtime, stop
from ledger_store.base.errors import ConsensusFailure, FedCoinError, MissingPart


@dataclass(frozen=True, slots=True)
class News:
    """What one miner's log says, or `ended` when its process has: details `code` (None: unknown) and `clean`."""

    number: int
    event: str
    details: Mapping[str, Any]


def posts(workspace: Workspace) -> tuple[MinerFiles, ...]:
    """The places of all local miners."""
    return tuple(MinerFiles(miner.number, miner.log, miner.process) for miner in workspace.miners)


def share_of_cores(miners: int) -> int:
    """Threads for each of so many miners on this machine."""
    return max(1, len(os.sched_getaffinity(0)) // max(1, miners))


class Crew:
    """Some of a workspace's local miners; `started` are those that this object has started."""

    def __init__(self, workspace: Workspace, numbers: Sequence[int], runtime: Runtime) -> None:
        self.numbers = tuple(numbers)
        self.started: tuple[int, ...] = ()
        self.names = Names.of(workspace)
        self.start_command = start_command(workspace)
        self._genesis = workspace.genesis()
        self._posts = {post.number: post for post in posts(workspace)}
        self._runtime = runtime
        self._offsets = dict.fromkeys(self.numbers, 0)
        self._alive: set[int] = set()
        self._ready: set[int] = set()
        self._retained: set[int] = set()
        self._failures: dict[int, Mapping[str, Any]] = {}

    def start(self) -> None:
        """Start those that do not run yet."""
        for number in self.numbers:
            log = self._posts[number].log
            self._offsets[number] = log.stat().st_size if log.exists() else 0
            if self._runtime.alive(number):
                self._ready.add(number)
            else:
                self.started += (number,)
                self._runtime.start(number)
            self._alive.add(number)

    def stop(self, hurry: Callable[[], bool] = lambda: False) -> tuple[int, ...]:
        """Stop those that this object started; returns the numbers of those that had to be killed."""
        return stop(self._runtime, self.started, hurry)

    def news(self) -> list[News]:
        """What has happened since the last call."""
        return [news for number in self.numbers for news in self._listen(number)]

    def _listen(self, number: int) -> Iterator[News]:
        # First this: the log of a process that has ended is complete.
        alive = self._runtime.alive(number)
        events, self._offsets[number] = read_events(self._posts[number].log, self._offsets[number])
        for details in events:
            kind = details.pop("event")
            if kind == "ready":
                self._ready.add(number)
                self._retain(number)
            if kind == "failed":
                self._failures[number] = details
            else:
                yield News(number, kind, details)
        if alive:
            self._alive.add(number)
        elif number in self._alive:
            self._alive.remove(number)
            self._ready.discard(number)
            yield self._ending(number)

    def _retain(self, number: int) -> None:
        if number in self.started and number not in self._retained:
            self._retained.add(number)
            self._runtime.retain(number)

    def _ending(self, number: int) -> News:
        code = self._runtime.exit_code(number)
        clean = number not in self._failures and code in {0, None}
        return News(number, "ended", {"code": code, "clean": clean})

    @property
    def alive(self) -> tuple[int, ...]:
        """Who ran at the last `news`."""
        return tuple(sorted(self._alive))

    @property
    def ready(self) -> bool:
        """Whether all of the crew run and have their mining processes."""
        return self._ready == set(self.numbers)

    @property
    def needed(self) -> int:
        """How many miners of the network must run for anything to become final (q)."""
        return self._genesis.quorum

    @property
    def spare(self) -> int:
        """How many more miners may end; negative: so many are missing. Miners elsewhere are taken to run."""
        idle = sum(not self._runtime.alive(number) for number in self._posts)
        return len(self._genesis.roster) - self._genesis.quorum - idle

    def why_it_cannot_start(self, news: News) -> FedCoinError | None:
        """The error to report when this is what a starting miner says; None for good news."""
        where = self._runtime.last_words(news.number)
        if news.event == "worker died":
            message = f"miner {news.number}: its mining process does not start"
            return MissingPart(message, where=where, hint="its last lines tell why")
        if news.event != "ended":
            return None
        failure = self._failures.pop(news.number, None)
        if failure is None:
            message = f"miner {news.number} has ended while starting{_by_signal(news)}"
            return ConsensusFailure(message, where=where, hint="its last lines tell why")
        message = f"miner {news.number}: {failure['message']}"
        return _class_of(failure["code"])(message, where=failure["where"], hint=failure["hint"])


def _by_signal(news: News) -> str:
    code = news.details["code"]
    return f" (signal {-code})" if code is not None and code < 0 else ""


def _class_of(code: int) -> type[FedCoinError]:
    """The class of errors with this exit code."""
    kinds = {kind.exit_code: kind for kind in reversed(FedCoinError.__subclasses__())}
    return {int(number): kind for number, kind in kinds.items()}.get(code, FedCoinError)
