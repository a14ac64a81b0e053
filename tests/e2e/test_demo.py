import json
import signal
from decimal import Decimal
from pathlib import Path

from live import processes_in, wait_until, watched
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace


def test_a_whole_round(tmp_path: Path) -> None:
    """The demo settles a round on real data: the price is paid out, no coin is lost, and nothing is left behind."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    said = fedcoin("demo", "--json", folder=tmp_path, timeout_s=300, TMPDIR=str(temporary))
    assert said.code == 0, said.err
    answer = json.loads(said.out, parse_float=Decimal)
    assert len(answer["certainty"]["test_set_error"]) == 8, "397 images cannot tell all clients apart"
    assert answer["state"] == "SETTLED"
    assert answer["audit"]["ok"]
    assert answer["audit"]["height"] == answer["height"]
    assert answer["ledgers"] == {"miners": 4, "identical": True}

    balances = {name: Decimal(text) for name, text in answer["balances"].items()}
    assert sum(balances.values()) == 1_000_000
    assert balances["requester"] == 999_000
    clients = [f"client-{number:03d}" for number in range(1, 9)]
    assert [balances.get(name, 0) for name in clients] == [Decimal(one["paid"]) for one in answer["clients"]]
    assert sum(Decimal(one["paid"]) for one in answer["clients"]) == 700
    assert len(answer["clients"]) == 8

    assert list(temporary.iterdir()) == []
    wait_until(lambda: not processes_in(temporary))


def test_an_interrupted_demo(tmp_path: Path) -> None:
    """Ctrl-C ends it with 130; its miners are stopped, and a named workspace stays as it is."""
    folder = tmp_path / "kept"
    with watched("demo", str(folder), folder=tmp_path) as demo:
        wait_until((folder / "miners" / "4" / "node.pid").exists)
        demo.process.send_signal(signal.SIGINT)
        assert demo.ended() == 130
    assert processes_in(folder) == []
    assert fedcoin("audit", folder=folder).code == 0
    assert len(Workspace.find(folder).miners) == 4
    again = fedcoin("demo", str(folder), folder=tmp_path)
    assert again.code == 2
    assert "there is a workspace here already" in again.err
