import pytest

from fedcoin_cli.application.crew import News
from fedcoin_cli.cli.miner_lines import MinerLines

TASK = "ab" * 32


def text(news: News) -> str | None:
    """The line without its time of day."""
    line = MinerLines().line(news)
    return None if line is None else line[10:]


@pytest.mark.parametrize(
    ("event", "details", "words"),
    [
        ("started", {"port": 7460, "height": 3}, "started  port 7460, height 3"),
        ("ready", {"engine": "tensorflow"}, "ready  tensorflow"),
        ("mined", {"rankings": 4, "evaluated": 20, "total": 0}, "mining  4 rankings, 20 coalitions"),
        ("mined", {"rankings": 4, "evaluated": 20, "total": 1023}, "mining  20 of 1023 coalitions"),
        ("estimated", {"rankings": 7, "exact": False}, "estimated  7 rankings"),
        ("estimated", {"rankings": 7, "exact": True}, "estimated  exact values"),
        ("inspected", {"task": TASK, "error": None}, "task abababababab has good files"),
        ("inspected", {"task": TASK, "error": "no"}, "task abababababab refused: no"),
        ("checked", {"miner": TASK, "follows": True, "wrong": []}, "the table of abababababab is right"),
        ("checked", {"miner": TASK, "follows": True, "wrong": ["7"]}, "… is wrong in 1 counts"),
        ("checked", {"miner": TASK, "follows": False, "wrong": []}, "… does not give its sums"),
        ("ended", {"code": 0, "clean": True}, "stopped"),
        ("ended", {"code": -9, "clean": False}, "ended, signal 9"),
        ("ended", {"code": 12, "clean": False}, "ended, exit code 12"),
        ("ended", {"code": None, "clean": False}, "ended"),
        ("disk low", {"time": 1.0, "hint": "free some"}, "disk low  hint free some"),
    ],
)
def test_one_miners_news(event: str, details: dict[str, object], words: str) -> None:
    """Each kind of news, also one that is not known here, becomes a line that names its miner."""
    said = text(News(2, event, details))
    assert said == f"miner 2  {words.replace('…', 'the table of abababababab')}"


def test_what_all_say_is_said_once() -> None:
    """Blocks and a task's states come from every miner and are shown once each."""
    lines = MinerLines()
    block = {"height": 2, "transactions": ["transfer", "task"]}
    closed = {"task": TASK, "state": "CLOSED", "attempt": 1}
    said = [
        lines.line(News(miner, kind, details))
        for kind, details in (("block", block), ("task", closed), ("task", {**closed, "state": "SETTLED"}))
        for miner in (1, 2, 3)
    ]
    assert [line[10:] if line else None for line in said] == [
        *("block 2  transfer, task", None, None),
        *("task abababababab  closed, attempt 1", None, None),
        *("task abababababab  settled, attempt 1", None, None),
    ]


def test_progress_comes_now_and_then() -> None:
    """A miner's mining is shown every five seconds, each miner's on its own."""
    lines = MinerLines()
    mined = {"rankings": 4, "evaluated": 20, "total": 0}
    said = [
        (time_s, miner)
        for time_s in (100.0, 102.0, 105.0, 106.0, 111.0)
        for miner in (1, 2)
        if lines.line(News(miner, "mined", {**mined, "time": time_s}))
    ]
    assert said == [(time_s, miner) for time_s in (100.0, 105.0, 111.0) for miner in (1, 2)]
