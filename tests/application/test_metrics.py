import re
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.network import free_ports
from fedcoin_cli.application.node.metrics import Facts, Metrics
from fedcoin_cli.protocol.message import Phase, Silence, Standing
from ledger_store.base.errors import NetworkFailure
from ledger_store.base.names import Address, BlockId, GenesisId, TaskId

DOCS = Path(__file__).parents[2] / "docs" / "monitoring"
STANDING = Standing(
    7, TaskId("ab" * 32), 1, Phase.MINING, 20, 300, 1_023, 4_500, 3, silence=Silence.VOTES_LOST
)
FACTS = Facts(
    block_time_ms=1_700_000_000_500,
    view=2,
    pending=4,
    peers_needed=2,
    refused=5,
    malformed=6,
    child_up=True,
    child_deaths=1,
    falls=3,
    disk_free_bytes=10**9,
    disk_reserve_bytes=10**8,
    ledger_bytes=4_096,
)


def scraped(port: int) -> dict[str, float]:
    """What Prometheus reads: every sample's value by its name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {" ".join([one.name, *one.labels.values()]): one.value for one in samples}


def test_what_is_served() -> None:
    """Every number as Prometheus reads it, one series a reason and a phase; the port is free again afterwards."""
    port = free_ports(1)
    for _ in range(2):
        metrics = Metrics("127.0.0.1", port, "miner-1", Address("ab" * 32), GenesisId(BlockId("cd" * 32)))
        try:
            metrics.update(STANDING, FACTS)
            metrics.final(700)
            found = scraped(port)
        finally:
            metrics.close()
        assert found["fedcoin_height"] == 7
        assert found["fedcoin_block_timestamp_seconds"] == 1_700_000_000.5
        assert (found["fedcoin_view"], found["fedcoin_pending_transactions"]) == (2, 4)
        assert (found["fedcoin_peers_connected"], found["fedcoin_peers_needed"]) == (3, 2)
        assert (found["fedcoin_refused_total"], found["fedcoin_malformed_total"]) == (5, 6)
        assert (found["fedcoin_child_up"], found["fedcoin_child_deaths_total"]) == (1, 1)
        assert found["fedcoin_falls_total"] == 3
        assert (found["fedcoin_rankings"], found["fedcoin_coalitions"]) == (20, 300)
        assert found["fedcoin_mining_remaining_seconds"] == 4.5
        assert (found["fedcoin_disk_free_bytes"], found["fedcoin_disk_reserve_bytes"]) == (10**9, 10**8)
        assert found["fedcoin_ledger_bytes"] == 4_096
        assert found["fedcoin_silent votes lost"] == 1
        assert found["fedcoin_silent clock behind"] == found["fedcoin_silent recalling"] == 0
        assert (found["fedcoin_phase mining"], found["fedcoin_phase idle"]) == (1, 0)
        assert found["fedcoin_finality_seconds_bucket 0.5"] == 0
        assert found["fedcoin_finality_seconds_bucket 1.0"] == found["fedcoin_finality_seconds_count"] == 1


def test_a_port_that_is_taken() -> None:
    """Said as every port in use is, with the setting that chooses another."""
    port = free_ports(1)
    metrics = Metrics("127.0.0.1", port, "miner-1", Address("ab" * 32), GenesisId(BlockId("cd" * 32)))
    try:
        with pytest.raises(NetworkFailure, match="port cannot be used") as caught:
            Metrics("127.0.0.1", port, "miner-2", Address("ab" * 32), GenesisId(BlockId("cd" * 32)))
    finally:
        metrics.close()
    assert "metrics.port" in caught.value.hint


@pytest.mark.parametrize("name", ["alerts.yml", "dashboard.json"])
def test_the_examples_ask_for_what_there_is(name: str) -> None:
    """Every metric in the examples of alerts and dashboard is served under that name."""
    port = free_ports(1)
    metrics = Metrics("127.0.0.1", port, "miner-1", Address("ab" * 32), GenesisId(BlockId("cd" * 32)))
    metrics.update(STANDING, FACTS)
    served = {name.split()[0] for name in scraped(port)}
    metrics.close()
    asked = set(re.findall(r"fedcoin_[a-z_]+", (DOCS / name).read_text()))
    assert len(asked) > 5
    assert asked <= served
