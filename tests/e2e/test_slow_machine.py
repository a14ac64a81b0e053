"""A round on a machine to which the model is dear: checks end in time, and what was mined is paid."""

import os
from pathlib import Path

import pytest
from graphs import small
from live import runtime_of, wait_until, workspace_of
from rounds import make_graph_round
from shell import fedcoin

SLOW_MACHINE = Path(__file__).parents[1] / "slow_machine"
BLOCK_S = 0.02


@pytest.mark.parametrize(("estimator", "clients", "images"), [("balanced", 4, 48), ("exact", 3, 272)])
def test_a_slow_machine_checks_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estimator: str, clients: int, images: int
) -> None:
    """Two miners that count 50 coalitions of a block a second settle at the first attempt, well within REVEAL.

    512 rankings of a table are half a minute there; and so is judging what is heavy in an exact one, which each does
    with its own before it commits.
    [P-8.17] [P-8.37]
    """
    monkeypatch.setenv("PYTHONPATH", str(SLOW_MACHINE), prepend=os.pathsep)
    monkeypatch.setenv("SLOW_BLOCK_S", str(BLOCK_S))
    monkeypatch.setenv("SLOW_WITHOUT_KERAS", "1")
    settings = ("task.runtime=4", "consensus.difficulty=100", f"mining.estimator={estimator}")
    chosen = [word for setting in settings for word in ("--set", setting)]
    with workspace_of(tmp_path / "net", 2, "--clients", str(clients), *chosen) as net:
        make_graph_round(net, small(), clients, images)
        for number in (1, 2):
            runtime_of(net).start(number)
        wait_until(lambda: fedcoin("status", "--json", folder=net.root).json["reachable"] == 2)
        said = fedcoin("publish", "--json", folder=net.root, timeout_s=300)
        assert said.code == 0, said.err
        assert said.json["attempts"] == 1
        assert len(said.json["miners"]) == 2
        assert said.json["exact"] == (estimator == "exact")
        audited = fedcoin("audit", "--level", "4", folder=net.root, timeout_s=240)
        assert audited.code == 0, audited.out + audited.err
