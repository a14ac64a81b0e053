"""What `mine --live` shows, as a value: miners, their work, distances after the reveals, the last blocks.

It hears news and standings and becomes a drawing; where they come from and when it is drawn is `live_screen`'s
business.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fedcoin_cli.application.books.task_report import TaskReport
from fedcoin_cli.application.crew.crew import News
from fedcoin_cli.application.requester.standing import MinerState, verdict
from fedcoin_cli.cli.views.bars import bars
from fedcoin_cli.cli.views.ledger_lines import SHORT
from fedcoin_cli.protocol.message import Phase, Standing
from ledger_store.base.amount import format_micro

BLOCKS = 5
_BAR = 12
_COLUMNS = (
    "miner",
    "height",
    "peers",
    "phase",
    "rankings",
    "coalitions",
    "± payment",
    "left",
    "",
    "distance",
)
_LEFT, _ALWAYS = frozenset({"miner", "phase", ""}), frozenset({"miner", "height", "phase"})
# What goes first where there is no room for all; the column without a name is the bar.
_SPARED = ("", "peers", "coalitions", "rankings", "± payment", "height", "left")
_ANY_WIDTH = 10_000


class Dashboard:
    """The state of the drawing. `last` is the newest task that ended, whose distances are shown."""

    def __init__(self, quorum: int) -> None:
        self._quorum = quorum
        self._states: Sequence[MinerState] = ()
        self._blocks: deque[tuple[int, str]] = deque(maxlen=BLOCKS)
        self._task = ""
        self.last: TaskReport | None = None

    def hear(self, news: News) -> None:
        """Take in what one miner says; what all say counts once."""
        details = news.details
        if news.event == "block" and all(details["height"] > height for height, _ in self._blocks):
            self._blocks.append((details["height"], ", ".join(details["transactions"])))
        if news.event == "task":
            self._task = (
                f"task {details['task'][:SHORT]}  {details['state'].lower()}, attempt {details['attempt']}"
            )

    def stand(self, states: Sequence[MinerState]) -> None:
        """Take in how things stand at the miners."""
        self._states = states

    def drawing(self) -> RenderableType:
        """The picture now."""
        outlook = verdict(self._states, self._quorum)
        head = Text(f"{outlook.up} of {outlook.total} miners up: {outlook.said}", style="bold")
        lines = [Text(f"block {height:>6}  {what}", style="dim") for height, what in self._blocks]
        return Group(head, self._miners(), Text(self._task), *lines)

    def _miners(self) -> "_Miners":
        distances = {line.miner: line.distance for line in self.last.miners} if self.last else {}
        winner = self.last.winner if self.last else None
        rows = []
        for one in self._states:
            distance = distances.get(one.address)
            shown = f"{distance} ✓" if distance and one.address == winner else distance or ""
            cells = dict(zip(_COLUMNS, [one.name, *_work(one), shown], strict=True))
            rows.append((cells, "" if one.standing else "red"))
        return _Miners(rows)


@dataclass(frozen=True, slots=True)
class _Miners:
    """A row a miner, no word of it cut: empty columns are left out, and of the others what a narrow terminal can spare.

    Each row has a cell for every column, and a style.
    """

    rows: Sequence[tuple[Mapping[str, str], str]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = [name for name in _COLUMNS if name in _ALWAYS or any(cells[name] for cells, _ in self.rows)]
        wide = options.update(max_width=_ANY_WIDTH)
        for spared in _SPARED:
            if Measurement.get(console, wide, self._table(shown)).maximum <= options.max_width:
                break
            shown = [name for name in shown if name != spared]
        yield self._table(shown)

    def _table(self, columns: Sequence[str]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for name in columns:
            table.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=True)
        for cells, style in self.rows:
            table.add_row(*(cells[name] for name in columns), style=style)
        return table


def _work(one: MinerState) -> list[str]:
    standing = one.standing
    if standing is None:
        return ["", "", "refuses this key" if one.denied else "down", "", "", "", "", ""]
    mining = standing.phase == Phase.MINING
    return [
        str(standing.height),
        str(standing.peers),
        standing.phase,
        f"{standing.rankings:,}" if standing.rankings else "",
        _coalitions(standing),
        _payments(standing),
        f"{standing.remaining_ms / 1000:.0f} s" if mining else "",
        _bar(standing) if mining and standing.total else "",
    ]


def _coalitions(standing: Standing) -> str:
    if standing.total:
        return f"{standing.evaluated:,} of {standing.total:,}"
    return f"{standing.evaluated:,}" if standing.evaluated else ""


def _payments(standing: Standing) -> str:
    """Mining's largest error of a payment."""
    errors = standing.errors
    return "" if errors is None or errors.payments_micro is None else format_micro(errors.payments_micro)


def _bar(standing: Standing) -> str:
    """How far an exact run is."""
    done, _ = bars([Decimal(standing.evaluated), Decimal(standing.total)], width=_BAR)
    return done.ljust(_BAR, "·")
