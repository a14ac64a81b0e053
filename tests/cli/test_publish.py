from pathlib import Path

import pytest
from chains import ChainMaker
from live import free_ports
from places import place
from rounds import make_round
from shell import fedcoin

from fedcoin_cli.application.workspace import Workspace


@pytest.fixture
def quiet(tmp_path: Path) -> Workspace:
    """A network of three clients and four miners, of whom none runs, with one round."""
    workspace = place(tmp_path, ChainMaker(4), port=free_ports(8))
    make_round(workspace)
    return workspace


def test_a_dry_run(quiet: Workspace) -> None:
    """-n checks the round and says what would be paid, without any miner."""
    said = fedcoin("publish", "-n", "--price", "10", "--json", folder=quiet.root)
    assert said.code == 0, said.err
    assert (said.json["clients"], said.json["images"], said.json["files"]) == (3, 60, 5)
    assert (said.json["price"], said.json["parts"]) == ("10.0", ["7.0", "1.0", "2.0"])
    assert not list(quiet.store.iterdir())
    assert "price 10.0 = 7.0 clients" in fedcoin("publish", "-n", "--price", "10", folder=quiet.root).out


def test_without_enough_miners(quiet: Workspace) -> None:
    """With fewer than a quorum of miners nothing is sent: exit code 7, how many are needed, and what to run."""
    for arguments in (("publish",), ("pay", "server", "1")):
        said = fedcoin(*arguments, folder=quiet.root)
        assert (said.code, said.out) == (7, "")
        assert "0 of 4 miners reachable, 3 are needed" in said.err
        assert "hint: fedcoin mine" in said.err


def test_what_needs_no_miner_to_be_refused(quiet: Workspace) -> None:
    """A price above the balance and a bad round are told even while no miner is up."""
    assert fedcoin("publish", "--price", "2000000", folder=quiet.root).code == 14
    (quiet.latest_round() / "client-002.safetensors").unlink()
    said = fedcoin("publish", folder=quiet.root)
    assert said.code == 13
    assert "client-002.safetensors" in said.err


def test_wrong_parts(quiet: Workspace) -> None:
    """Parts that do not sum to 1 are refused: exit code 2 as a flag, 3 in the settings."""
    assert fedcoin("publish", "--set", "payment.train=0.8", folder=quiet.root).code == 2
    quiet.settings_file.write_text('[payment]\ntrain = "0.8"\n')
    said = fedcoin("publish", folder=quiet.root)
    assert said.code == 3
    assert "must sum to 1" in said.err


def test_no_round_yet(quiet: Workspace) -> None:
    """Without any round the hint is to train one."""
    quiet.latest_round().rename(quiet.root / "away")
    said = fedcoin("publish", folder=quiet.root)
    assert said.code == 11
    assert "hint: fedcoin train" in said.err
