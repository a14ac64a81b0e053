import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chains import ChainMaker
from places import place, settled_round
from rich.console import Console

from fedcoin_cli.application.books.task_report import report_of
from fedcoin_cli.application.crew.crew import News
from fedcoin_cli.application.requester.standing import MinerState
from fedcoin_cli.cli.views.dashboard import BLOCKS, Dashboard
from fedcoin_cli.cli.views.live_screen import Screen
from fedcoin_cli.protocol.message import Errors, Phase, Standing
from ledger_store.base.names import Address
from ledger_store.transaction import Result

IDLE = Standing(7, None, 0, Phase.IDLE, 0, 0, 0, 0, 3)


def state(number: int, standing: Standing | None, **changes: Any) -> MinerState:
    made = MinerState(f"miner-{number}", Address(f"{number:064x}"), "tcp://127.0.0.1:7460", False, standing)
    return replace(made, **changes)


def drawn(dashboard: Dashboard, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(dashboard.drawing())
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_miners_at_work() -> None:
    """A row a miner: height, peers, phase, rankings, coalitions, mining's own error, time left; or why not."""
    dashboard = Dashboard(3)
    walking = replace(
        IDLE,
        phase=Phase.MINING,
        rankings=1_200,
        evaluated=340,
        remaining_ms=4_400,
        errors=Errors(1, 310_000, 2, 9_000_000),
    )
    exact = replace(IDLE, phase=Phase.MINING, evaluated=300, total=1_023, remaining_ms=2_000)
    dashboard.stand([state(1, walking), state(2, exact), state(3, None), state(4, None, denied=True)])
    head, _, *rows = drawn(dashboard)
    assert head == "2 of 4 miners up: whether blocks become final cannot be told: 1 refuse the key that asks"
    assert rows[0].split() == ["miner-1", "7", "3", "mining", "1,200", "340", "0.31", "4", "s"]
    assert rows[1].split() == ["miner-2", "7", "3", "mining", "300", "of", "1,023", "2", "s", "████········"]
    assert rows[2].split() == ["miner-3", "down"]
    assert rows[3].split() == ["miner-4", "refuses", "this", "key"]


@pytest.mark.parametrize("width", [120, 100, 80, 60, 40])
def test_a_narrow_terminal_cuts_no_word(width: int) -> None:
    """What there is no room for is left out whole: the bar first, then peers, then what is counted."""
    exact = replace(IDLE, height=12_345, phase=Phase.MINING, rankings=1_000_000, remaining_ms=3_599_000)
    exact = replace(exact, evaluated=524_288, total=1_048_575, errors=Errors(1, 123_456_789, 2, 3))
    states = [state(number, exact) for number in range(1, 13)]
    dashboard = Dashboard(9)
    dashboard.stand(states)
    head, *rows = drawn(dashboard, width)[-len(states) - 2 : -1]
    assert not any("…" in line for line in (head, *rows))
    assert max(map(len, rows)) <= width
    for column, text in (
        ("phase", "mining"),
        ("rankings", "1,000,000"),
        ("coalitions", "524,288 of 1,048,575"),
    ):
        assert all((column in head) == (text in row) for row in rows)
    assert ("coalitions" in head) == (width >= 80)
    assert any("█" in row for row in rows) == (width >= 100)


def test_what_no_miner_has_to_say_has_no_column() -> None:
    """Miners that wait show no column of mining."""
    dashboard = Dashboard(1)
    dashboard.stand([state(1, IDLE)])
    assert drawn(dashboard, 80)[1:3] == ["miner    height  peers  phase", "miner-1       7      3  idle"]


def test_trouble_is_printed_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A message above the drawing is text: no markup is read in it, and no terminal obeys it."""
    screen = Screen(place(tmp_path, ChainMaker(1)), color=True)
    screen.hear(News(1, "failed", {"error": "[/x] [red]a\x1b[2Jb"}))
    assert "failed  error [/x] [red]a\\x1b[2Jb" in capsys.readouterr().out


def test_blocks_are_told_once() -> None:
    """What all miners say of a block stands there once, and only of the newest few."""
    dashboard = Dashboard(1)
    for height in range(1, BLOCKS + 3):
        for miner in (1, 2):
            dashboard.hear(News(miner, "block", {"height": height, "transactions": ["task", "close"]}))
    blocks = [line for line in drawn(dashboard) if line.startswith("block")]
    assert [line.split()[1] for line in blocks] == [str(height) for height in range(3, BLOCKS + 3)]


def test_distances_come_after_the_reveals() -> None:
    """No distance is shown before a task has ended; then every miner's, the winner's marked."""
    maker = ChainMaker()
    task = settled_round(maker)
    end = maker.blocks[-1].transactions[-1]
    assert isinstance(end, Result)
    report = report_of(maker.records[task.id], maker.genesis, end)
    dashboard = Dashboard(3)
    dashboard.stand([state(n, IDLE, address=miner) for n, miner in enumerate(maker.genesis.roster)])
    dashboard.hear(News(1, "task", {"task": task.id, "state": "CLOSED", "attempt": 1}))
    assert not any("0.000000" in line for line in drawn(dashboard))
    dashboard.last = report
    rows = [line for line in drawn(dashboard) if line.startswith("miner-")]
    assert all("0.000000" in row for row in rows)
    assert [row.endswith("✓") for row in rows] == [miner == report.winner for miner in maker.genesis.roster]
