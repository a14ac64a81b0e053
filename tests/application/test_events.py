from pathlib import Path

from fedcoin_cli.application.node.events import EventLog, read_events


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


def test_a_full_log_begins_anew(tmp_path: Path) -> None:
    """However much is told, log and copy stay small, and a reader that looks often enough misses nothing."""
    path, most = tmp_path / "node.log", 2_000
    log = EventLog(path, most)
    seen, offset = [], 0
    for number in range(1_000):
        log.write("block", height=number)
        if number % 7 == 0:
            events, offset = read_events(path, offset)
            seen += [event["height"] for event in events]
            assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2 * (most + 100)
    events, offset = read_events(path, offset)
    assert [*seen, *(event["height"] for event in events)] == list(range(1_000))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["node.log", "node.log.1"]
    log.close()


def test_what_others_append_goes_on(tmp_path: Path) -> None:
    """The mining child's descriptor of the log still leads into it after the log has begun anew."""
    path = tmp_path / "node.log"
    with path.open("ab") as child:
        log = EventLog(path, 500)
        size = -1
        while path.stat().st_size > size:  # until it has just begun anew
            size = path.stat().st_size
            log.write("block", height=7)
        child.write(b'{"time": 1, "event": "warned"}\n')
        child.flush()
        log.write("stopped")
        log.close()
    assert kinds(read_events(path)[0])[-2:] == ["warned", "stopped"]


def test_a_disk_without_room_for_the_copy(tmp_path: Path) -> None:
    """When the copy cannot be made the log goes on without it, and nothing of it is lost."""
    path = tmp_path / "node.log"
    (tmp_path / "node.log.1").mkdir()
    log = EventLog(path, 500)
    for number in range(100):
        log.write("block", height=number)
    log.close()
    assert [event["height"] for event in read_events(path)[0]] == list(range(100))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["node.log", "node.log.1"]
