from pathlib import Path

from fedcoin_cli.application.miner.events import EventLog, read_events


def kinds(events: list[dict[str, object]]) -> list[object]:
    return [event["event"] for event in events]


def test_events_are_read_once(tmp_path: Path) -> None:
    """Whoever reads on from where it stopped gets every event once, and an unfinished line only when it is whole."""
    path = tmp_path / "node.log"
    assert read_events(path) == ([], 0)
    log = EventLog(path)
    log.write("started", height=0)
    events, offset = read_events(path)
    assert (kinds(events), events[0]["height"]) == (["started"], 0)
    assert read_events(path, offset) == ([], offset)

    log.write("ready", engine="one")
    log.close()
    whole = path.read_bytes()
    for cut in range(offset, len(whole)):
        path.write_bytes(whole[:cut])
        assert read_events(path, offset) == ([], offset)
    path.write_bytes(whole)
    events, offset = read_events(path, offset)
    assert (kinds(events), offset) == (["ready"], len(whole))


def test_other_lines_are_passed_over(tmp_path: Path) -> None:
    """A log also takes what libraries print: warnings, tracebacks, half a JSON object, empty lines."""
    path = tmp_path / "node.log"
    log = EventLog(path)
    log.write("started")
    with path.open("ab") as file:
        file.write(
            b'\nTraceback (most recent call last):\n{"time": 1, "event"\n{"other": 1}\n{"time"}\n\xff\n'
        )
    log.write("stopped")
    log.close()
    assert kinds(read_events(path)[0]) == ["started", "stopped"]
