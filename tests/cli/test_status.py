from dataclasses import replace
from pathlib import Path

import pytest
from chains import build_chain
from places import place
from shell import fedcoin

from benchmarks.network import free_ports
from fedcoin_cli.application.requester.standing import MinerState, verdict
from fedcoin_cli.protocol.message import Phase, Silence, Standing
from ledger_store.base.names import Address

IDLE = Standing(7, None, 0, Phase.IDLE, 0, 0, 0, 0, 3)


def test_status_works_when_nobody_is_up(tmp_path: Path) -> None:
    """Without a running miner status tells so, how many must be up, how many may be offline, and exits with 7."""
    workspace = place(tmp_path, build_chain(miners=4, blocks=3), port=free_ports(8))
    said = fedcoin("status", folder=workspace.root)
    assert said.code == 7
    assert "0 of 4 miners up, 1 may be offline: nothing becomes final: at least 3 must be up" in said.out
    assert "certified to height 3" in said.out
    data = fedcoin("status", "--json", folder=workspace.root).json
    assert (data["reachable"], data["quorum"], data["offline_allowed"], data["height"]) == (0, 3, 1, 3)
    assert [one["name"] for one in data["miners"]] == ["miner-1", "miner-2", "miner-3", "miner-4"]
    assert not any(one["reachable"] for one in data["miners"])
    assert (data["voting"], data["final"]) == (0, False)


UP = MinerState("up", Address("a"), "tcp://h:1", denied=False, standing=IDLE)
SILENT = [replace(UP, standing=replace(IDLE, silence=silence)) for silence in Silence]
DOWN, REFUSES = replace(UP, standing=None), replace(UP, standing=None, denied=True)


@pytest.mark.parametrize(
    ("miners", "final", "said"),
    [
        ([UP, UP, UP, DOWN], True, "blocks can become final"),
        ([UP, UP, DOWN, DOWN], False, "nothing becomes final: at least 3 must be up"),
        ([UP, UP, SILENT[0], DOWN], False, "nothing becomes final: 2 of them vote, at least 3 must"),
        ([UP, *SILENT], False, "nothing becomes final: 1 of them vote, at least 3 must"),
        ([UP, UP, UP, SILENT[0]], True, "blocks can become final"),
        ([REFUSES] * 4, False, "whether blocks become final cannot be told: 4 refuse the key that asks"),
        ([UP, REFUSES, DOWN, DOWN], False, "nothing becomes final: at least 3 must be up"),
    ],
)
def test_up_is_not_enough(miners: list[MinerState], final: bool, said: str) -> None:
    """Blocks become final by those that vote: who is up and silent does not count, who tells nothing is unknown."""
    outlook = verdict(miners, quorum=3)
    assert (outlook.final, outlook.said) == (final, said)
