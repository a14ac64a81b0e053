"""Scenario 11: strangers, spoofers, giants, nonsense, floods of messages, FRAUDs and uploads."""

import shutil
import tempfile
from pathlib import Path

import pytest
from attacking.flood import flood
from attacking.siege import Sieged, besiege, p99
from scenarios.rows import Row, quantile

from fedcoin_cli.consensus.accusations import Accusations
from fedcoin_cli.consensus.attempt import Effect

SAMPLE_INPUTS, RELEASE_INPUTS = 10_000, 1_000_000
MEMORY_MIB = 64


def test_a_flood_of_inputs_crashes_nobody() -> None:
    """Ten thousand inputs of a member that signs anything: no replica dies, nothing false counts, the task settles."""
    flooded = flood(SAMPLE_INPUTS)
    assert flooded.inputs >= SAMPLE_INPUTS
    assert flooded.delivered > SAMPLE_INPUTS // 4
    assert (flooded.crashes, flooded.accepted, flooded.unsettled, flooded.said) == (0, 0, 0, "")


def test_a_machine_that_crashes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The flood can find something: a machine that trusts a fraud's mask dies of it, and that is reported."""
    receive = Accusations.hear

    def trusting(self: Accusations, note: object) -> list[Effect]:
        receive(self, note)  # type: ignore[arg-type]  # as it is called
        raise IndexError("a mask beyond the table")

    monkeypatch.setattr(Accusations, "hear", trusting)
    assert flood(200_000).crashes == 1


def test_a_besieged_miner_serves_honest_people(tmp_path: Path) -> None:
    """Seven hostile processes on real sockets: nothing gets in, memory stays, questions and payments go through."""
    sieged = besiege(tmp_path, 4)
    assert set(sieged.thrown) == {
        "stranger", "spoofer", "nonsense", "messages", "uploads", "giants", "frauds"
    }  # fmt: skip
    assert sum(sieged.thrown.values()) > 1_000
    assert (sieged.answered_strangers, sieged.foreign, sieged.ended) == (0, 0, 0)
    assert sieged.grown_mib <= MEMORY_MIB
    assert sieged.siege_pay_ms
    assert sieged.equal


# The table ----------------------------------------------------------------------------------------------------


def measure(*, full: bool) -> list[Row]:
    """Inputs by the million into whole replicas; then real sockets."""
    flooded = flood(RELEASE_INPUTS if full else SAMPLE_INPUTS)
    folder = Path(tempfile.mkdtemp(prefix="siege"))
    try:
        sieged = besiege(folder, 60 if full else 8)
    finally:
        shutil.rmtree(folder)
    return [
        Row(
            "floods into whole replicas",
            f"{flooded.inputs} inputs in {flooded.histories} tasks, {flooded.delivered} of them messages, signed again",
            "0 crashes in 10⁶ inputs, nothing false counted",
            f"{flooded.crashes} crashes, {flooded.accepted} tasks harmed, {flooded.unsettled} open {flooded.said}",
            not (flooded.crashes or flooded.accepted or flooded.unsettled),
        ),
        _siege(sieged),
    ]


def _siege(sieged: Sieged) -> Row:
    calm, besieged = p99(sieged.calm_pay_ms), p99(sieged.siege_pay_ms)
    ask = [quantile(values, 0.5) for values in (sieged.calm_ask_ms, sieged.siege_ask_ms)]
    measured = (
        f"{sieged.answered_strangers} answers to strangers, {sieged.foreign} transactions that no honest account sent, "
        f"{sieged.ended} miners ended; memory +{sieged.grown_mib:.1f} MiB; payments p99 {calm / 1000:.2f} → "
        f"{besieged / 1000:.2f} s; questions p50 {ask[0]:.0f} → {ask[1]:.0f} ms"
    )
    thrown = ", ".join(f"{kind} {number}" for kind, number in sieged.thrown.items())
    return Row(
        "a siege on real sockets",
        f"frames thrown by seven processes at one miner of four, another being the enemy: {thrown}",
        f"0 messages admitted, 0 crashes, memory ≤ +{MEMORY_MIB} MiB, honest p99 ≤ 2×",
        measured,
        not (sieged.answered_strangers or sieged.foreign or sieged.ended)
        and sieged.grown_mib <= MEMORY_MIB
        and besieged <= 2 * max(calm, 1.0),
    )
