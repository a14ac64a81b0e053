import os
from pathlib import Path

import pytest
from chains import ChainMaker
from graphs import small
from places import place
from rounds import make_graph_round, make_round
from shell import fedcoin

from benchmarks.network import free_ports
from fedcoin_cli.application.workspace.workspace import Workspace

SLOW_MACHINE = Path(__file__).parents[1] / "slow_machine"


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
    assert (said.json["metric"], said.json["whole"], said.json["nobody"]) == (
        "accuracy",
        60,
        "0.00% accuracy",
    )
    assert said.json["together"].endswith("% accuracy")
    assert said.json["difficulty_proves"] is True
    assert "price 10.0 = 7.0 clients" in fedcoin("publish", "-n", "--price", "10", folder=quiet.root).out


def test_a_dry_run_says_what_there_is_to_distribute(quiet: Workspace) -> None:
    """Before a price is locked: what all together and nobody are worth, and where D or the baseline leaves nothing."""
    joint = quiet.root / "joint.safetensors"
    assert fedcoin("model", "aggregate", "-o", str(joint), folder=quiet.root).code == 0
    said = fedcoin("publish", "-n", "--price", "10", "--baseline", str(joint), folder=quiet.root)
    assert said.code == 0, said.err
    assert "the clients' part would return" in said.out
    said = fedcoin("publish", "-n", "--price", "10", "--difficulty", "100", folder=quiet.root)
    assert "pp to distribute: a D of 100.0 pp proves nothing" in said.out
    chance = ("publish", "-n", "--price", "10", "--metric", "neg_log_loss:9", "--baseline", "chance")
    said = fedcoin(*chance, "--json", folder=quiet.root)
    assert (said.json["metric"], said.json["baseline"]) == ("neg_log_loss:9", "chance")
    assert said.json["nobody"].endswith(" nats of log loss")
    said = fedcoin("publish", "-n", "--metric", "f2", folder=quiet.root)
    assert said.code == 2
    assert "there is no metric 'f2'" in said.err
    assert "one of: accuracy" in said.err


def test_it_says_what_the_time_has_room_for(quiet: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a price is locked: how many coalitions fit, and where they are few what would help."""
    quick = fedcoin("publish", "-n", "--price", "10", "--runtime", "20", "--json", folder=quiet.root)
    assert quick.code == 0, quick.err
    assert quick.json["mining"]["coalitions"] > 1_000
    assert (quick.json["mining"]["exact"], quick.json["mining"]["scarce"]) == (True, False)
    assert "coalitions fit into 20 s of mining" in quick.err
    assert "values will be exact" in quick.err
    make_graph_round(quiet, small(), clients=3, images=40)
    monkeypatch.setenv("PYTHONPATH", str(SLOW_MACHINE), prepend=os.pathsep)
    monkeypatch.setenv("SLOW_BLOCK_S", "1")
    monkeypatch.setenv("SLOW_WITHOUT_KERAS", "1")
    slow = fedcoin("publish", "-n", "--price", "10", "--runtime", "11", folder=quiet.root)
    assert slow.code == 0, slow.err
    assert "about 4 coalitions fit into 11 s of mining" in slow.err
    assert "warning: values would say little: --runtime" in slow.err
    assert "for exact values, miners with Keras may be quicker: pip install 'fedcoin[mine]'" in slow.err
    late = fedcoin("publish", "-n", "--price", "10", "--runtime", "2", folder=quiet.root)
    assert "no estimate in time, and the price would come back" in late.err
    unasked = fedcoin("publish", "-n", "--price", "10", "--no-inspect", folder=quiet.root)
    assert "coalitions fit" not in unasked.err


def test_no_round_yet(quiet: Workspace) -> None:
    """Without any round the hint is to train one."""
    quiet.latest_round().rename(quiet.root / "away")
    said = fedcoin("publish", folder=quiet.root)
    assert said.code == 11
    assert "hint: fedcoin train" in said.err
