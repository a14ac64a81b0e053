"""Audit level 4 as people run it: from the store, from a folder, and asked from miners without any coins."""

import json
import shutil
from pathlib import Path

import pytest
from chains import COIN
from corrupt.rounds import corrupted
from evidenced import Evidenced, evidenced
from live import PATIENCE_S, program, wait_until
from places import place
from shell import fedcoin

from benchmarks.network import free_ports
from fedcoin_cli.application.workspace.peers import Peer, read_peers, render_peers
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.identity.keyfile import save_key
from ledger_store.identity.keys import KeyPair


@pytest.fixture
def made(tmp_path: Path) -> Evidenced:
    """A settled round whose every number follows from its files."""
    return evidenced(tmp_path, clients=7)


@pytest.fixture
def workspace(tmp_path: Path, made: Evidenced) -> Workspace:
    """Two miners that hold the chain and whose store holds everything; none runs."""
    workspace = place(tmp_path / "workspace", made.maker, clients=4, port=free_ports(4))
    shutil.copytree(made.store.folder, workspace.store, dirs_exist_ok=True)
    return workspace


def test_everything_is_recomputed_from_the_store(workspace: Workspace) -> None:
    """All counts of both tables, told as numbers; what a sample leaves out is told as skipped."""
    data = fedcoin("audit", "--all", "--jobs", "2", "--json", folder=workspace.root).json
    assert (data["ok"], data["level"], data["skipped"]) == (True, 4, [])
    done = data["recomputed"]
    assert (done["results"], done["of_results"], done["tables"], done["of_tables"]) == (1, 1, 2, 2)
    assert done["counts"] == done["of_counts"] > 20
    said = fedcoin("audit", "--sample", "0", "-v", folder=workspace.root)
    assert said.code == 0
    assert "beyond the sample" in said.out
    assert "task 1 of 1" in said.err


def test_files_by_any_name(made: Evidenced, tmp_path: Path) -> None:
    """Without a workspace: a ledger, and a folder of files that only their bytes tell."""
    (tmp_path / "files" / "below").mkdir(parents=True)
    for number, path in enumerate(sorted(made.store.folder.iterdir())):
        shutil.copy(path, tmp_path / "files" / "below" / f"file-{number}.bin")
    ledger = str(made.maker.write(tmp_path / "ledger"))
    network = ("--genesis", made.maker.genesis.id)
    data = fedcoin("audit", ledger, *network, "--all", "--files", "files", "--json", folder=tmp_path).json
    assert (data["ok"], data["skipped"], data["recomputed"]["results"]) == (True, [], 1)


def test_what_is_not_here_is_skipped_by_name(workspace: Workspace, made: Evidenced) -> None:
    """A missing table, then a missing test set: nothing wrong is found, and the answer says what nobody looked at.

    [P-13.19]
    """
    (workspace.store / made.liar.table).unlink()
    said = fedcoin("audit", "--all", "--json", folder=workspace.root)
    data = said.json
    assert said.code == 13
    assert "level 4 was asked for, and 0 of 1 result could be recomputed" in said.err
    assert (data["ok"], data["level"], data["asked_level"]) == (True, 3, 4)
    assert made.liar.table[:16] in data["skipped"][0]
    done = data["recomputed"]
    assert (done["results"], done["of_results"], done["tables"], done["of_tables"]) == (0, 1, 1, 2)
    (workspace.store / made.task.test).unlink()
    said = fedcoin("audit", "--level", "4", folder=workspace.root)
    assert said.code == 13
    assert "audit ok: 3 blocks, to level 3 of the 4 asked for: 0 of 1 result could be recomputed" in said.out
    data = fedcoin("audit", "--level", "4", "--json", folder=workspace.root).json
    assert made.task.test[:16] in data["skipped"][0]
    assert (data["recomputed"]["results"], data["recomputed"]["of_results"]) == (0, 1)


def test_a_task_that_takes_too_long_is_left_and_told(workspace: Workspace) -> None:
    """Never `ok` for what was not done: exit code 13, level 3, and how to look at that task alone."""
    said = fedcoin("audit", "--level", "4", "--seconds", "0", folder=workspace.root)
    assert said.code == 13
    assert "audit ok: 3 blocks, to level 3 of the 4 asked for: 0 of 1 result could be recomputed" in said.out
    assert "--from 3 --to 3 looks at it alone" in said.out
    assert "--seconds N gives each task more time" in said.err
    data = fedcoin("audit", "--all", "--seconds", "0", "--json", folder=workspace.root).json
    assert (data["level"], data["recomputed"]["late"], data["recomputed"]["results"]) == (3, 1, 0)


def test_a_false_count_is_exit_code_5(tmp_path: Path) -> None:
    """Code, height, line and table stand in the answer, in JSON, and in the report file."""
    bad = corrupted("E506", tmp_path)
    report = tmp_path / "report.json"
    said = fedcoin("audit", str(bad.chain), "--files", "store", "--all", "-o", str(report), folder=tmp_path)
    assert said.code == 5
    assert "E506  height 3, line 4: " in said.out
    finding = json.loads(report.read_text())["findings"][0]
    assert (finding["code"], finding["height"], finding["line"]) == ("E506", 3, 4)
    assert Path(finding["file"]).name == (bad.file or Path()).name


def test_some_heights_only(workspace: Workspace) -> None:
    """--from folds what stands before without its signatures, --to reads no further; both say so."""
    data = fedcoin("audit", "--from", "3", "--json", folder=workspace.root).json
    assert (data["ok"], data["height"], data["certified_to"]) == (True, 3, 3)
    assert data["skipped"] == ["signatures and outcomes before height 3: not asked for"]
    data = fedcoin("audit", "--to", "2", "--json", folder=workspace.root).json
    assert (data["ok"], data["height"], data["certified_to"]) == (True, 2, 1)
    assert data["skipped"] == ["what follows height 2, its certificate too: not asked for"]


@pytest.mark.parametrize(
    "words",
    [
        ("--all", "--sample", "3"),
        ("--all", "--level", "3"),
        ("--fetch", "--level", "2"),
        ("--seconds", "9", "--level", "3"),
    ],
)
def test_options_that_contradict_each_other(workspace: Workspace, words: tuple[str, ...]) -> None:
    """Exit code 2: nothing is audited by half."""
    assert fedcoin("audit", *words, folder=workspace.root).code == 2


def test_an_auditor_without_coins_fetches_from_miners(workspace: Workspace, tmp_path: Path) -> None:
    """Named in a miner's peers file, it gets every file and table by digest; not named, it is told why it gets none."""
    auditor, stranger = KeyPair.generate(), KeyPair.generate()
    own = Workspace(tmp_path / "auditor")
    shutil.copytree(workspace.root, own.root, ignore=shutil.ignore_patterns("store", "keys"))
    own.keys.mkdir()
    save_key(own.key_file("auditor"), auditor)
    save_key(own.key_file("stranger"), stranger)
    peers = read_peers(workspace.peers_file)
    entry = Peer("auditor", auditor.address, "127.0.0.1", 9)
    workspace.peers_file.write_text(render_peers([*peers, entry]))
    with program("node", "1", folder=workspace.root):
        log = workspace.miner(1).log
        wait_until(lambda: log.is_file() and "started" in log.read_text())
        said = fedcoin(
            "audit", "--all", "--fetch", "--key", "auditor", "--json", folder=own.root, timeout_s=PATIENCE_S
        )
        assert said.code == 0, said.err
        assert (said.json["skipped"], said.json["recomputed"]["results"]) == ([], 1)
        shutil.rmtree(own.store)
        refused = fedcoin("audit", "--fetch", "--key", "stranger", folder=own.root, timeout_s=PATIENCE_S)
        assert refused.code == 7
        assert "do not admit this key" in refused.err


def test_an_account_with_coins_gets_only_the_files_of_its_own_rounds(made: Evidenced, tmp_path: Path) -> None:
    """Its miner admits both: a client of the round gets every file and table, a guest with coins gets none."""
    guest, maker = KeyPair.generate(), made.maker
    maker.add(maker.transfer(maker.requester, guest.address, 5 * COIN, sequence=2))
    rich = [u.client for u in made.task.updates if maker.tip.state.balances.get(u.client, 0) >= COIN]
    workspace = place(tmp_path / "workspace", maker, clients=7, port=free_ports(4))
    shutil.copytree(made.store.folder, workspace.store, dirs_exist_ok=True)
    own = Workspace(tmp_path / "own")
    shutil.copytree(workspace.root, own.root, ignore=shutil.ignore_patterns("store"))
    save_key(own.key_file("guest"), guest)
    client = next(name for name in own.key_names() if own.key(name).address in rich)
    with program("node", "1", folder=workspace.root):
        log = workspace.miner(1).log
        wait_until(lambda: log.is_file() and "started" in log.read_text())
        words = ("audit", "--all", "--fetch", "--json", "--key")
        refused = fedcoin(*words, "guest", folder=own.root, timeout_s=PATIENCE_S)
        assert refused.json["recomputed"]["results"] == 0
        assert sum(path.stat().st_size for path in own.store.rglob("*") if path.is_file()) == 0
        given = fedcoin(*words, client, folder=own.root, timeout_s=PATIENCE_S)
        assert (given.code, given.json["skipped"], given.json["recomputed"]["results"]) == (0, [], 1)
