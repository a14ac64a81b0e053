import os
import signal
import threading
import traceback
from pathlib import Path

import pytest

from fedcoin_cli.application.workspace.workspace import Workspace, client_name, miner_name
from ledger_store.base.errors import ExitCode, KeyFailure, LedgerInvalid, NotFound, NoWorkspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "genesis.json").write_text("{}")
    return Workspace(tmp_path)


def test_found_from_below(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest workspace at or above the current folder is the one that commands work in."""
    below = workspace.root / "rounds" / "1"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert Workspace.find() == workspace


def test_a_named_folder_is_meant_exactly(workspace: Workspace) -> None:
    """-C DIR never climbs: a folder inside a workspace is not that workspace."""
    below = workspace.root / "rounds"
    below.mkdir()
    assert Workspace.find(workspace.root) == workspace
    with pytest.raises(NoWorkspace) as caught:
        Workspace.find(below)
    assert caught.value.exit_code is ExitCode.NO_WORKSPACE
    assert "fedcoin init" in caught.value.hint
    # What Python itself shows where nobody catches it.
    shown = "".join(traceback.format_exception_only(caught.value))
    assert shown.splitlines()[1:] == [caught.value.where, f"hint: {caught.value.hint}"]


def test_home_is_found_where_no_shell_looked(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a script, or within the quotes of another program's option; a ~ that nobody has is a name like any other."""
    monkeypatch.setenv("HOME", str(workspace.root.parent))
    assert Workspace.find(Path("~") / workspace.root.name) == workspace
    with pytest.raises(NoWorkspace):
        Workspace.find(Path("~nobody-at-all"))


def test_rounds_are_numbered_without_gaps_or_clashes(workspace: Workspace) -> None:
    """Many that ask at once for a new round get different folders, numbered one after the other."""
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(workspace.new_round())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(path.name) for path in made) == list(range(1, 9))
    for folder in made:
        (folder / "round.json").touch()
    assert workspace.latest_round() == workspace.round(8)


def test_an_interrupt_as_a_round_is_made_leaves_none(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the very moment in which the folder has come to be: it is gone again."""
    make = os.mkdir

    def interrupted(path: Path, mode: int) -> None:
        make(path, mode)
        if path.name == "1":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(os, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt):
        workspace.new_round()
    assert list(workspace.rounds.iterdir()) == []


def test_the_latest_round_is_the_greatest_number(workspace: Workspace) -> None:
    """Round 10 comes after round 9, and files, other names and unfinished rounds are not counted."""
    with pytest.raises(NotFound):
        workspace.latest_round()
    for name in ("9", "10", "old", "007x"):
        workspace.round(1).with_name(name).mkdir(parents=True)
        (workspace.round(1).with_name(name) / "round.json").touch()
    workspace.round(12).mkdir()
    (workspace.rounds / "11").touch()
    assert workspace.latest_round().name == "10"


def test_miners_are_found_by_number(workspace: Workspace) -> None:
    """Local miners are listed by number, and asking for one that is not there names those that are."""
    for number in (10, 2, 1):
        workspace.miner_folder(number).path.mkdir(parents=True)
    assert [miner.number for miner in workspace.miners] == [1, 2, 10]
    assert workspace.miner(2).name == miner_name(2) == "miner-2"
    with pytest.raises(NotFound) as caught:
        workspace.miner(3)
    assert "1, 2, 10" in caught.value.hint


@pytest.mark.parametrize("name", ["", ".", "..", "../requester", "a/b"])
def test_a_key_name_is_no_path(workspace: Workspace, name: str) -> None:
    """No key name reaches a file outside the folder of keys."""
    with pytest.raises(KeyFailure):
        workspace.key_file(name)


def test_client_names_sort_like_numbers() -> None:
    """Client 2 comes before client 10 by name, as in the file names of a round."""
    names = [client_name(number) for number in range(1, 1000)]
    assert names == sorted(names)


@pytest.mark.parametrize("content", [b"", b"{}", b"{\n", b"[]", b"\xff"])
def test_a_damaged_genesis_is_refused(workspace: Workspace, content: bytes) -> None:
    """A genesis file that is cut, empty or no genesis is an invalid ledger, with the file named."""
    workspace.genesis_file.write_bytes(content)
    with pytest.raises(LedgerInvalid) as caught:
        workspace.genesis()
    assert caught.value.where == str(workspace.genesis_file)
