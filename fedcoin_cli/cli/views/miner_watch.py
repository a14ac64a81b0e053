"""A person watching a crew of miners: its start, what it tells, its end. What the lines say is in `miner_lines`."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedcoin_cli.application.crew.crew import Crew, News
from fedcoin_cli.application.workspace.silence import said
from fedcoin_cli.cli.program.interrupts import Interrupts
from fedcoin_cli.cli.program.output import Output
from fedcoin_cli.cli.views.miner_lines import MinerLines
from fedcoin_cli.protocol.message import Silence
from ledger_store.base.errors import ConsensusFailure
from ledger_store.base.words import TaskState

if TYPE_CHECKING:
    from fedcoin_cli.cli.views.live_screen import Screen

_POLL_S = 0.1
# After a task's end: for requesters to fetch the last block, and for a slow miner to get it.
_LINGER_S, _LINGER_MOST_S = 3.0, 15.0
_ENDS = frozenset({TaskState.SETTLED, TaskState.REFUNDED})


class MinerWatch:
    """Shows a crew's news: all of it on stdout, or (`silent`) only who is ready, on stderr.

    With a `screen` that is drawn instead. `task` and `state` are those of the first task that ended while watching,
    else empty.
    """

    def __init__(
        self,
        output: Output,
        crew: Crew,
        interrupts: Interrupts,
        *,
        silent: bool,
        screen: "Screen | None" = None,
    ) -> None:
        self.task = self.state = ""
        self._output, self._crew, self._interrupts, self._silent = output, crew, interrupts, silent
        self._screen = screen
        self._lines = MinerLines(crew.names)
        self._heard: set[int] = set()
        self._over_s = 0.0
        self._failed = self._stopping = False

    def start(self) -> None:
        """Start those of the crew that do not run yet."""
        self._crew.start()
        if before := [number for number in self._crew.numbers if number not in self._crew.started]:
            self._output.note(f"running already: {names(before)}")

    def wait(self) -> None:
        """Until all are ready or an interrupt comes; raises what keeps one from starting."""
        while not (self._crew.ready or self._interrupts.count):
            for news in self._crew.news():
                error = self._crew.why_it_cannot_start(news)
                if error is not None:
                    raise error
                self._show(news)
            time.sleep(_POLL_S)
        if self._crew.spare < 0:
            self._output.warn(outlook(self._crew))

    def follow(self, *, once: bool) -> None:
        """Show what happens until an interrupt, with `once` until a task has ended, or while any miner runs.

        Raises `ConsensusFailure` when the last miner has ended and nobody had stopped it.
        """
        while not self._interrupts.count and self._crew.alive and not (once and self._is_over()):
            self._tell()
            if self._screen is not None:
                self._screen.draw()
            time.sleep(_POLL_S)
        if not self._crew.alive and self._failed:
            hint = f"miners/N/node.log and node.out tell why; {self._crew.start_command} starts them again"
            raise ConsensusFailure("no miner of this workspace runs any more", hint=hint)

    def stop(self) -> None:
        """Stop what was started here; at one more interrupt it is killed."""
        heard = self._interrupts.count
        self._stopping = True
        if set(self._crew.alive) - set(self._crew.started):
            self._output.note("miners that ran before go on: fedcoin stop stops them")
        if set(self._crew.alive) & set(self._crew.started):
            self._output.note("stopping; Ctrl-C kills")
        self._crew.stop(lambda: self._interrupts.count > heard)
        self._tell()

    def _tell(self) -> None:
        for news in self._crew.news():
            self._show(news)
            self._notice(news)

    def _show(self, news: News) -> None:
        line = self._lines.line(news)
        if self._screen is not None:
            self._screen.hear(news)
        elif self._silent:
            if line and news.event == "ready":
                self._output.note(line)
        elif line or self._output.as_json:
            self._output.event({"miner": news.number, "event": news.event, **news.details}, line or "")
        if news.event == "votes lost" and self._silent:
            self._output.warn(f"miner {news.number} {said(Silence.VOTES_LOST)}; {news.details['hint']}")
        if news.event == "ended" and not (news.details["clean"] or self._stopping):
            self._output.warn(f"miner {news.number} has ended; {outlook(self._crew)}")

    def _notice(self, news: News) -> None:
        if news.event == "ended":
            self._failed |= not news.details["clean"]
        elif news.event == "task" and news.details["state"] in _ENDS and not self.task:
            self.task, self.state = news.details["task"], news.details["state"]
            self._over_s = time.monotonic()
        if news.event == "task" and news.details["task"] == self.task:
            self._heard.add(news.number)

    def _is_over(self) -> bool:
        if not self.task:
            return False
        all_heard = self._heard >= set(self._crew.alive)
        return time.monotonic() - self._over_s >= (_LINGER_S if all_heard else _LINGER_MOST_S)


def names(numbers: Sequence[int]) -> str:
    """Miners by their numbers."""
    return f"miner{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def outlook(crew: Crew) -> str:
    """What the number of running miners means."""
    if crew.spare < 0:
        more = f"{-crew.spare} more miner{'s run' if crew.spare < -1 else ' runs'}"
        return f"nothing becomes final until {more}: {crew.start_command} starts what is missing"
    return f"{crew.spare or 'no'} more may end"
