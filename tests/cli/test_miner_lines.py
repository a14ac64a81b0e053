from dataclasses import replace

import pytest

from fedcoin_cli.application.crew.crew import News
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.cli.views.miner_lines import MinerLines
from fedcoin_cli.protocol.message import Errors

TASK = "ab" * 32
CHECKED = {"task": TASK, "miner": "cd" * 32, "follows": True, "wrong": []}
ERRORS = Errors(31_000, 1_250_000, 1_200_000, 9_000_000)
NAMES = Names({"miner-3": "cd" * 32})


def text(news: News) -> str | None:
    """The line without its time of day."""
    line = MinerLines(NAMES).line(news)
    return None if line is None else line[10:]


@pytest.mark.parametrize(
    ("event", "details", "words"),
    [
        ("started", {"port": 7460, "height": 3}, "started  port 7460, height 3"),
        ("ready", {"engine": "tensorflow"}, "ready  tensorflow"),
        ("mined", {"rankings": 4, "evaluated": 0, "total": 0, "errors": None}, "mining  4 rankings"),
        (
            "mined",
            {"rankings": 4, "evaluated": 20, "total": 1023, "errors": None},
            "mining  20 of 1023 coalitions",
        ),
        (
            "mined",
            {"rankings": 40, "evaluated": 0, "total": 0, "errors": ERRORS.to_json()},
            "mining  40 rankings, payments ± 1.25 by mining, ± 9.0 by the test set",
        ),
        (
            "mined",
            {
                "rankings": 40,
                "evaluated": 0,
                "total": 0,
                "errors": replace(ERRORS, payments_micro=None).to_json(),
            },
            "mining  40 rankings, values ± 0.031 pp by mining, ± 1.2 pp by the test set",
        ),
        ("estimated", {"rankings": 7, "exact": False}, "estimated  7 rankings"),
        ("estimated", {"rankings": 7, "exact": True}, "estimated  exact values"),
        ("inspected", {"task": TASK, "error": "no"}, "refuses task abababababab: no"),
        ("checked", {**CHECKED, "wrong": ["7"]}, "found the table of miner-3 wrong"),
        ("checked", {**CHECKED, "follows": False}, "found the table of miner-3 wrong"),
        ("ended", {"code": 0, "clean": True}, "stopped"),
        ("ended", {"code": -9, "clean": False}, "ended, signal 9"),
        ("ended", {"code": 12, "clean": False}, "ended, exit code 12"),
        ("ended", {"code": None, "clean": False}, "ended"),
        ("disk low", {"time": 1.0, "hint": "free some"}, "disk low  hint free some"),
    ],
)
def test_one_miners_news(event: str, details: dict[str, object], words: str) -> None:
    """Each kind of news, also one that is not known here, becomes a line that names its miner."""
    assert text(News(2, event, details)) == f"miner 2  {words}"


def test_what_all_say_is_said_once() -> None:
    """Blocks, a task's states, good files and right tables come from every miner and are shown once each."""
    lines = MinerLines(NAMES)
    state = {"task": TASK, "state": "CLOSED", "attempt": 1}
    said = [
        lines.line(News(miner, kind, details))
        for kind, details in (
            ("inspected", {"task": TASK, "error": None}),
            ("counting", {"task": TASK, "attempt": 1, "engine": "C kernel, 2 threads"}),
            ("block", {"height": 2, "transactions": ["transfer", "task"]}),
            ("task", state),
            ("checked", CHECKED),
            ("task", {**state, "state": "SETTLED"}),
        )
        for miner in (1, 2, 3)
    ]
    assert said[1::3] == said[2::3] == [None] * 6
    assert [line[10:] for line in said[::3] if line is not None] == [
        "task abababababab  its files are good",
        "task abababababab  is mined with C kernel, 2 threads",
        "block 2  transfer, task",
        "task abababababab  closed, attempt 1",
        "task abababababab  the table of miner-3 is right",
        "task abababababab  settled, attempt 1",
    ]


def test_progress_comes_now_and_then() -> None:
    """A miner's mining is shown every five seconds, each miner's on its own."""
    lines = MinerLines(NAMES)
    mined = {"rankings": 4, "evaluated": 20, "total": 0, "errors": None}
    said = [
        (time_s, miner)
        for time_s in (100.0, 102.0, 105.0, 106.0, 111.0)
        for miner in (1, 2)
        if lines.line(News(miner, "mined", {**mined, "time": time_s}))
    ]
    assert said == [(time_s, miner) for time_s in (100.0, 105.0, 111.0) for miner in (1, 2)]
