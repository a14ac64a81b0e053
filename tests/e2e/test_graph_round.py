"""A round of a graph through real miners: published from its files, mined, settled, and audited at level 4."""

from pathlib import Path

import pytest
from graphs import small, tabular
from live import runtime_of, wait_until, workspace_of
from rounds import make_graph_round
from shell import fedcoin

from fedcoin_cli.learning.graph.graph import Graph


@pytest.mark.parametrize("graph", [small(), tabular(4)], ids=["residual CNN with BatchNorm", "lone logit"])
def test_a_graph_is_published_mined_and_audited(tmp_path: Path, graph: Graph) -> None:
    """Clients are paid for updates by names, and whoever has the files recomputes every table."""
    with workspace_of(tmp_path / "net", 2, "--clients", "3", "--set", "task.runtime=5") as net:
        make_graph_round(net, graph)
        for number in (1, 2):
            runtime_of(net).start(number)
        wait_until(lambda: fedcoin("status", "--json", folder=net.root).json["reachable"] == 2)
        said = fedcoin("publish", "--json", folder=net.root, timeout_s=240)
        assert said.code == 0, said.err
        assert len(said.json["clients"]) == 3
        assert sum(float(one["paid"]) for one in said.json["clients"]) == pytest.approx(700, abs=1e-3)
        audited = fedcoin("audit", "--level", "4", "--all", folder=net.root, timeout_s=240)
        assert audited.code == 0, audited.out + audited.err
        assert "audit ok" in audited.out
