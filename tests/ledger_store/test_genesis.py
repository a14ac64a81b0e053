from dataclasses import replace
from typing import Any

import pytest
from chains import ChainMaker, key
from memory import peak_bytes

from ledger_store.base.amount import SUPPLY_MAX_MICRO
from ledger_store.base.canonical import decode, encode
from ledger_store.base.errors import Malformed
from ledger_store.base.names import Address, BlockId
from ledger_store.genesis import GENESIS_BYTES_MAX, HOLDERS_MAX, TIME_MAX_MS, Genesis


def good() -> dict[str, Any]:
    value = decode(encode(ChainMaker(2).genesis.to_json()))
    assert isinstance(value, dict)
    return value


def test_a_genesis_reads_back() -> None:
    """The same value and the same id [P-3.1]."""
    genesis = ChainMaker(4).genesis
    again = Genesis.from_json(decode(encode(genesis.to_json())))
    assert again == genesis
    assert again.id == genesis.id


def test_the_id_covers_everything() -> None:
    """Another name, roster, supply, bound or predecessor is another network [P-3.2]."""
    genesis = ChainMaker(4).genesis
    others = [
        replace(genesis, network="other"),
        replace(genesis, roster=genesis.roster[::-1]),
        replace(genesis, supply=((genesis.supply[0][0], 1),)),
        replace(genesis, bounds=replace(genesis.bounds, attempts=4)),
        replace(genesis, predecessor=BlockId("00" * 32)),
        replace(genesis, time_ms=genesis.time_ms + 1),
        replace(genesis, delta_ms=501),
    ]
    assert len({genesis.id, *(other.id for other in others)}) == len(others) + 1


@pytest.mark.parametrize(
    ("miners", "quorum", "faults"),
    [(1, 1, 0), (2, 2, 0), (3, 3, 0), (4, 3, 1), (5, 4, 1), (6, 5, 1), (7, 5, 2), (10, 7, 3), (20, 14, 6)],
)
def test_quorum_and_faults(miners: int, quorum: int, faults: int) -> None:
    """q and f for the sizes that the protocol tabulates [P-3.4]."""
    genesis = ChainMaker(miners).genesis
    assert (genesis.quorum, genesis.faults) == (quorum, faults)


ADDRESS = key("x").address


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("network", "x" * 65),
        ("network", "a\x1b[2J"),
        ("time_ms", -1),
        ("time_ms", True),
        ("time_ms", TIME_MAX_MS + 1),
        ("roster", []),
        ("roster", [ADDRESS, ADDRESS]),
        ("roster", [ADDRESS.upper()]),
        ("roster", [f"{number:064x}" for number in range(65)]),
        ("supply", []),
        ("supply", [[ADDRESS, 0]]),
        ("supply", [[ADDRESS]]),
        ("supply", [[ADDRESS, 1], [ADDRESS, 1]]),
        ("supply", [["ff" * 32, 1], ["00" * 32, 1]]),
        ("supply", [["00" * 32, 2**53 - 1], ["ff" * 32, 1]]),
        ("delta_ms", 0),
        ("delta_ms", 60_001),
        ("bounds", {}),
        ("predecessor", "00"),
    ],
)
def test_a_bad_field_is_refused(field: str, value: Any) -> None:
    """Each field has its type and its bounds [P-3.1]."""
    with pytest.raises(Malformed):
        Genesis.from_json(good() | {field: value})


@pytest.mark.parametrize(
    ("bound", "value"),
    [
        ("clients", 1_001),
        ("transactions_a_block", 1_001),
        ("block_bytes", 524_289),
        ("rankings", 1_000_001),
        ("examples", 2**31),
        ("images", -1),
        ("block_images", 0),
        ("block_images", 256),
    ],
)
def test_a_network_cannot_exceed_the_format(bound: str, value: int) -> None:
    """Bounds beyond what masks, blocks, frames and sums are made for are refused [P-3.5]."""
    changed = good()
    changed["bounds"][bound] = value
    with pytest.raises(Malformed):
        Genesis.from_json(changed)


@pytest.mark.parametrize("step", [-1, 1])
def test_what_every_network_shares_cannot_be_chosen(step: int) -> None:
    """A genesis does not promise another bound on weights than the one that miners apply [P-3.5]."""
    changed = good()
    changed["bounds"]["weight"] += step
    with pytest.raises(Malformed, match="weight"):
        Genesis.from_json(changed)


def test_a_genesis_of_the_format_before_blocks_is_refused_by_name() -> None:
    """Whoever opens an old ledger reads which of its bounds is meant."""
    changed = good()
    del changed["bounds"]["block_images"]
    changed["bounds"]["proxy_logit"] = 2**20
    with pytest.raises(Malformed, match=r"genesis bounds: lacks block_images; knows no proxy_logit"):
        Genesis.from_json(changed)


def test_the_largest_genesis_is_read() -> None:
    """64 miners and 250,000 holders fit, however the coins are spread among them [P-3.3]."""
    micro = SUPPLY_MAX_MICRO // HOLDERS_MAX
    largest = Genesis(
        network="x" * 64,
        time_ms=TIME_MAX_MS,
        roster=tuple(Address(f"{number:064x}") for number in range(64)),
        supply=tuple((Address(f"{number:064x}"), micro) for number in range(HOLDERS_MAX)),
        delta_ms=60_000,
        predecessor=BlockId("ab" * 32),
    )
    line = encode(largest.to_json())
    assert Genesis.from_line(line) == largest
    assert len(line) + HOLDERS_MAX * (16 - len(str(micro))) <= GENESIS_BYTES_MAX


@pytest.mark.parametrize("line", [b"[" + b"[]," * 10**6 + b"[]]", b'"' + b"x" * GENESIS_BYTES_MAX + b'"'])
def test_what_no_genesis_is_as_large_as_costs_nothing(line: bytes) -> None:
    """Too many bytes or too many values are refused before memory is taken for what they mean [P-3.3]."""

    def read() -> None:
        with pytest.raises(Malformed, match="more"):
            Genesis.from_line(line)

    assert peak_bytes(read) < 2**20


@pytest.mark.parametrize("value", [None, [], {}, {"format": 1}])
def test_what_is_no_genesis_is_refused(value: Any) -> None:
    """Another shape is Malformed, not a crash."""
    with pytest.raises(Malformed):
        Genesis.from_json(value)
