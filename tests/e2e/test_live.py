import os
import pty
import re
import subprocess
import threading
from pathlib import Path

from live import PATIENCE_S, events_of, wait_until, workspace_of
from rounds import make_round
from shell import PROGRAM, fedcoin

TERMINAL = {"TERM": "xterm", "COLUMNS": "80", "LINES": "40"}


def test_the_last_picture_stays(tmp_path: Path) -> None:
    """On a terminal --live draws miners, phases, distances and blocks of real miners; result and last picture stay."""
    with workspace_of(tmp_path / "net", 2, "--clients", "3", "--set", "task.runtime=1") as workspace:
        make_round(workspace)
        ours, theirs = pty.openpty()
        command: list[str | Path] = [PROGRAM, "mine", "--live", "--once", "-C", workspace.root]
        mine = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=os.environ | TERMINAL,
        )
        os.close(theirs)
        seen = bytearray()
        reader = threading.Thread(target=_read, args=(ours, seen))
        reader.start()
        try:
            wait_until(lambda: all(events_of(workspace, number, "ready") for number in (1, 2)))
            published = fedcoin("publish", "--json", folder=workspace.root)
            assert published.code == 0, published.err
            assert mine.wait(PATIENCE_S) == 0
        finally:
            mine.kill()
            mine.communicate()
            reader.join()
            os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert "…" not in text  # no word is cut, as narrow as it is
    assert f"task   {published.json['task']}" in text
    last = text[text.rindex("miners up") :]
    assert "2 of 2 miners up: blocks can become final" in text
    for line in published.json["miners"]:
        assert line["distance"] in last
    assert re.search(r"block +3  result", last)
    assert len(re.findall("miners up", text)) > 8


def _read(descriptor: int, seen: bytearray) -> None:
    """Everything that a terminal shows until its program has ended."""
    while True:
        try:
            data = os.read(descriptor, 65_536)
        except OSError:
            return
        if not data:
            return
        seen.extend(data)
