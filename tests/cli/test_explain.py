from pathlib import Path

import pytest
from mined import MinedRound
from shell import fedcoin

from fedcoin_cli.cli.views.explanation_lines import ranges


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MinedRound:
    """Three miners' estimates of four clients, with all their tables."""
    return MinedRound(tmp_path_factory.mktemp("mined"))


def test_a_client(made: MinedRound) -> None:
    """On the terminal a client finds its value, coalitions, coins, miners and how to check; the JSON says the same."""
    lines = fedcoin("explain", "client-002", folder=made.workspace.root)
    data = fedcoin("explain", "client-002", "--json", folder=made.workspace.root).json
    assert (lines.code, lines.err) == (0, "")
    assert (data["schema"], data["number"], data["clients"], data["state"]) == (1, 2, 4, "SETTLED")
    assert data["client"] == made.task.updates[1].client
    for text in (
        data["shapley"],
        data["payment"],
        data["coalitions"]["walked"],
        data["estimates"][0]["value"],
    ):
        assert text in lines.out
    assert int(data["coins"]["paid_micro"]) == made.result.outcome.pay.clients[1]
    assert f"= {int(data['coins']['paid_micro']):,} micro" in lines.out
    assert {one["miner"] for one in data["estimates"]} == set(made.maker.genesis.roster)
    assert f"fedcoin audit {made.workspace.miner(1).chain}" in lines.out
    assert all(one["table"] in lines.out for one in data["estimates"])


def test_a_client_that_is_paid_nothing(tmp_path: Path) -> None:
    """A client of negative value is told why nothing was paid; its weight is 0 and no step is left out."""
    made = MinedRound(tmp_path, clients=5)
    values = made.result.outcome.shapley
    assert values is not None
    worst = min(range(5), key=values.__getitem__)
    assert values[worst] < 0
    said = fedcoin("explain", f"client-{worst + 1:03d}", folder=tmp_path)
    assert "place    5 of 5" in said.out
    assert "payment  0.0 FedCoin" in said.out
    assert "A value below zero means" in said.out
    assert "  weight          0 of " in said.out


def test_somebody_else(made: MinedRound) -> None:
    """Who was no client is told so, as is who is unknown: exit code 11 and a hint."""
    for who in ("server", "nobody"):
        said = fedcoin("explain", who, folder=made.workspace.root)
        assert (said.code, said.out) == (11, "")
        assert "hint:" in said.err


def test_runs_of_numbers() -> None:
    """Members are written shortly: runs of three and more are joined, pairs are not."""
    assert ranges([1, 2, 3, 7, 9, 10]) == "1–3, 7, 9, 10"
    assert ranges([]) == ""
