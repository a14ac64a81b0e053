"""The terminal that `mine --live` draws on: asks the miners how things stand and redraws four times a second.

What is drawn is `dashboard`'s business. A task's end is printed above the drawing and stays on the screen.
"""

import time
from contextlib import ExitStack
from typing import Final, Self

from rich.console import Console
from rich.live import Live

from fedcoin_cli.application.books.books import Books, certified_tip
from fedcoin_cli.application.books.lookup import report_on
from fedcoin_cli.application.crew.crew import News
from fedcoin_cli.application.requester.asking import asking_key
from fedcoin_cli.application.requester.standing import Standings
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.cli.program.output import visible
from fedcoin_cli.cli.views.dashboard import Dashboard
from fedcoin_cli.cli.views.miner_lines import MinerLines
from fedcoin_cli.cli.views.task_lines import task_lines
from ledger_store.base.errors import FedCoinError
from ledger_store.base.names import TaskId
from ledger_store.base.words import TaskState
from ledger_store.bookkeeping.history import History

REDRAW_S: Final = 0.25
_TOLD: Final = frozenset({"worker died", "disk low", "clock behind", "votes lost", "failed", "ended"})


class Screen:
    """A context manager; between `hear` and `draw` nothing moves. Its last picture stays when it closes."""

    def __init__(self, workspace: Workspace, *, color: bool) -> None:
        self._workspace, self._names = workspace, Names.of(workspace)
        self._dashboard = Dashboard(workspace.genesis().quorum)
        self._history = History(workspace.genesis())
        self._lines = MinerLines(self._names)
        self._live = Live(
            console=Console(no_color=not color or None, highlight=False), auto_refresh=False, transient=False
        )
        self._stack = ExitStack()
        self._drawn_s = 0.0
        self._ended: list[str] = []

    def __enter__(self) -> Self:
        _, key = asking_key(self._workspace, certified_tip(self._workspace).state)
        self._standings = self._stack.enter_context(Standings(self._workspace, key))
        self._stack.enter_context(self._live)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def hear(self, news: News) -> None:
        """Take in what a miner says; trouble is printed above the drawing."""
        self._dashboard.hear(news)
        line = self._lines.line(news)
        if line and news.event in _TOLD:
            self._live.console.print(visible(line), markup=False)
        if news.event == "task" and news.details["state"] in {TaskState.SETTLED, TaskState.REFUNDED}:
            self._end(news.details["task"])

    def draw(self) -> None:
        """Ask the miners, and draw if it is time."""
        self._standings.turn()
        if time.monotonic() - self._drawn_s >= REDRAW_S:
            self._drawn_s = time.monotonic()
            self._dashboard.stand(self._standings.states())
            self._live.update(self._dashboard.drawing(), refresh=True)

    def _end(self, task_id: TaskId) -> None:
        """Print what came of a task, once, as soon as a ledger here says it."""
        if task_id in self._ended:
            return
        try:
            with Books.open(self._workspace) as books:
                for height in range(self._history.height + 1, books.height + 1):
                    self._history.follow(books.block(height))
                record = self._history.get(task_id)
                if record is None or record.end_height is None:
                    return  # its certificate is not here yet: another miner's news will come
                report = report_on(books, record)
        except FedCoinError:
            return
        self._ended.append(task_id)
        self._dashboard.last = report
        self._live.console.print(*task_lines(report, self._names), "", sep="\n", markup=False)
