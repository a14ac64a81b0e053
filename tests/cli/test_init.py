import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shell import PROGRAM, fedcoin

from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.application.workspace.workspace import Workspace


def test_init_says_what_counts(tmp_path: Path) -> None:
    """init prints the genesis id, how many miners may be offline, and what to run next."""
    said = fedcoin("init", "--clients", "3", "--miners", "4", folder=tmp_path)
    assert said.code == 0
    assert Workspace(tmp_path).genesis().id in said.out
    assert "4, of which 1 may be offline" in said.out
    assert said.out.endswith("next: fedcoin train\n")


def test_init_answers_in_json(tmp_path: Path) -> None:
    """With --json init names every address, and the next command names the folder."""
    said = fedcoin("init", "here/it is", "--clients", "2", "--miners", "1", "--json", folder=tmp_path).json
    workspace = Workspace(tmp_path / "here" / "it is")
    assert said["schema"] == 1
    assert said["genesis"] == workspace.genesis().id
    assert said["miners"] == [workspace.key("miner-1").address]
    assert said["clients"] == [workspace.key(f"client-00{number}").address for number in (1, 2)]
    assert (said["offline"], said["next"]) == (0, "fedcoin train -C 'here/it is'")


def test_a_dry_run_makes_nothing(tmp_path: Path) -> None:
    """-n tells what would be made or moved and leaves the folder as it was."""
    said = fedcoin("init", "new", "-n", "--clients", "2", folder=tmp_path)
    assert (said.code, list(tmp_path.iterdir())) == (0, [])
    assert "6 new keys: requester, server, miner-1, miner-2, client-001, client-002" in said.out


def test_init_refuses(tmp_path: Path) -> None:
    """A taken place, a value out of range, and a wrong sum are usage errors, and nothing is made."""
    assert fedcoin("init", "--clients", "1", folder=tmp_path).code == 2
    assert fedcoin("init", "--set", "payment.train=0.8", folder=tmp_path).code == 2
    assert list(tmp_path.iterdir()) == []
    assert fedcoin("init", "--clients", "2", folder=tmp_path).code == 0
    again = fedcoin("init", folder=tmp_path)
    assert again.code == 2
    assert "--force" in again.err


def test_a_successor_goes_on_with_the_old_settings(tmp_path: Path) -> None:
    """What stood in the old settings.toml stands in the new one, unless the command line says otherwise."""
    fedcoin(
        "init", "old", "--miners", "3", "--set", "network.port=9000", "--set", "task.price=5", folder=tmp_path
    )
    said = fedcoin("init", "new", "--from", "old", "--set", "task.price=7", "--json", folder=tmp_path)
    assert said.code == 0, said.err
    old, new = Workspace(tmp_path / "old"), Workspace(tmp_path / "new")
    assert said.json["predecessor"] == old.genesis().id
    assert new.genesis().roster == old.genesis().roster
    assert new.peers_file.read_bytes() == old.peers_file.read_bytes()
    shown = fedcoin("config", "show", "--json", "-C", "new", folder=tmp_path).json["settings"]
    assert (shown["network.port"], shown["task.price"]) == (9000, 7)


def test_init_keeps_what_was_said(tmp_path: Path) -> None:
    """Settings given to init stand in the new settings.toml; those left out follow the user's and the defaults."""
    fedcoin("init", "--clients", "2", "--set", "task.price=5", folder=tmp_path)
    said = fedcoin("config", "show", "--origin", "--json", folder=tmp_path).json
    assert (said["settings"]["task.clients"], said["settings"]["task.price"]) == (2, 5)
    assert said["origins"]["task.price"]["origin"] == "workspace"
    assert said["origins"]["task.runtime"]["origin"] == "default"


def test_of_several_at_once_one_makes_it(tmp_path: Path) -> None:
    """Three commands for one folder: one succeeds, the others say that a workspace stands there; nothing was moved."""
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(fedcoin, "init", "new", "--clients", "2", folder=tmp_path) for _ in range(3)]
        said = [run.result() for run in runs]
    assert sorted(one.code for one in said) == [0, 2, 2]
    assert all("there is a workspace here already" in one.err for one in said if one.code)
    made = next(one for one in said if not one.code)
    workspace = Workspace(tmp_path / "new")
    assert workspace.genesis().id in made.out
    assert dict(workspace.genesis().supply).keys() == {workspace.address("requester")}
    assert not [path for path in workspace.root.iterdir() if path.name.startswith((".", "previous"))]


def test_nobody_else_reads_keys_and_votes(tmp_path: Path) -> None:
    """Whatever the umask, folders of keys and miners are 0700, keys and vote logs with their journals 0600."""
    words = ["sh", "-c", f"umask 0; exec {PROGRAM} init new --clients 2 -q"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    workspace = Workspace(tmp_path / "new")
    miner = workspace.miner(1)
    before = os.umask(0)
    try:
        log = VoteLog(miner.votes, workspace.address(miner.name), workspace.genesis().id)
        log.mark(whole=True)
        private = [*miner.path.glob("votes.sqlite*"), *workspace.keys.glob("*.key")]
        modes = {path.name: path.stat().st_mode & 0o777 for path in private}
        log.close()
    finally:
        os.umask(before)
    assert {"votes.sqlite", "votes.sqlite-wal", "votes.sqlite-shm", "requester.key"} <= modes.keys()
    assert set(modes.values()) == {0o600}
    folders = (workspace.keys, workspace.root / "miners", miner.path, miner.evidence, workspace.store)
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
