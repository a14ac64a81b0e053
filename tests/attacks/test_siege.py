"""A few seconds of `python -m benchmarks.siege`: real miners, guests with one coin, honest payments meanwhile."""

import threading
import time
from pathlib import Path

import pytest
from attacking.guests import KINDS, Orders, attack, shares

from benchmarks.siege import faults, siege
from fedcoin_cli.network.transport.admission import Admission
from fedcoin_cli.network.transport.base import Door
from fedcoin_cli.network.transport.p2p import P2P
from ledger_store.base.names import BlockId, GenesisId
from ledger_store.identity.keys import KeyPair


def test_honest_payments_become_final_while_guests_attack(tmp_path: Path) -> None:
    """Every payment comes through, no miner ends, all hold one ledger, each guest threw its share; else it fails."""
    sieged = siege(tmp_path, ["votes", "half-open"], 2, 3, 2)
    assert faults(sieged) == []
    assert [list(thrown) for thrown in sieged["guests"]] == [["votes"], ["half-open"]]
    for phase in ("quiet", "siege"):
        assert len(sieged[phase].seconds) == 6
        assert sieged["blocks"][phase]["blocks"]
    worse = sieged | {
        "thrown": {"votes": 3, "half-open": 0},
        "ended": 1,
        "identical": False,
        "last words": {},
    }
    assert faults(worse) == ["half-open was never thrown", "miners fell 1 times: {}", "the ledgers differ"]


@pytest.mark.parametrize("let_in", [True, False])
def test_a_throw_counts_where_a_door_was_open(let_in: bool) -> None:
    """Who is refused has thrown nothing, however often it tried."""
    miner, guest = KeyPair.generate(), KeyPair.generate()
    door = Door("127.0.0.1", 0, Admission([miner.address, *([guest.address] if let_in else [])]))
    p2p = P2P(miner, {}, door)
    now_s = time.monotonic()
    place = (miner.address, "127.0.0.1", p2p.port or 0)
    orders = Orders(
        guest.seed.hex(), GenesisId(BlockId("ab" * 32)), [place], ["votes"], [(now_s, now_s + 1.5)]
    )
    thrown: dict[str, int] = {}
    thread = threading.Thread(target=lambda: thrown.update(attack(orders)))
    thread.start()
    while thread.is_alive():
        p2p.poll(20)
    p2p.close()
    assert thrown.keys() == {"votes"}
    assert (thrown["votes"] > 0) == let_in


def test_every_kind_has_a_guest_and_who_is_kept_out_throws_nothing_else() -> None:
    """Three guests throw all kinds between them; with fewer kinds than guests nobody is idle."""
    loud = {name for name, kind in KINDS.items() if kind.loud}
    first, *others = shares(list(KINDS), 3)
    assert set(first) == loud
    assert sorted(kind for part in others for kind in part) == sorted(KINDS.keys() - loud)
    assert shares(["votes"], 2) == [["votes"], ["votes"]]
    assert shares(["heavy", "votes"], 3) == [["heavy"], ["votes"], ["heavy", "votes"]]


def test_a_guest_knows_all_the_ways() -> None:
    """The mixed siege leaves nothing out: tasks, transfers, frames, votes, files, blocks, connections."""
    assert KINDS.keys() >= {
        "heavy",
        "free",
        "transfers",
        "small",
        "votes",
        "refused",
        "uploads",
        "fetches",
        "churn",
    }
