from collections.abc import Callable
from dataclasses import replace

import pytest
from chains import COIN, ChainMaker, key
from memory import peak_bytes

from ledger_store.audit.inclusion import PROOF_BYTES_MAX, Inclusion, Payment, prove, read_inclusion
from ledger_store.base.amount import SUPPLY_MAX_MICRO
from ledger_store.base.errors import Malformed, PeerFault
from ledger_store.base.names import Address, GenesisId, MinerIndex
from ledger_store.transaction import Result, Task


def paid(miners: int = 1) -> tuple[ChainMaker, Inclusion]:
    """One of three transfers in a block."""
    maker = ChainMaker(miners)
    transfers = [
        maker.transfer(maker.requester, key(f"friend-{n}").address, (n + 1) * COIN) for n in range(3)
    ]
    block = maker.add(*transfers)
    return maker, prove(maker.genesis, block, maker.certificates[-1], 1, None)


def settled(miners: int = 1, clients: int = 2) -> tuple[ChainMaker, Inclusion]:
    """The result of a task."""
    maker = ChainMaker(miners)
    task = maker.add_round(clients=clients)
    return maker, prove(maker.genesis, maker.blocks[-1], maker.certificates[-1], 0, task)


@pytest.mark.parametrize("make", [paid, settled])
@pytest.mark.parametrize("miners", [1, 4])
def test_a_proof_survives_its_file(make: Callable[[int], tuple[ChainMaker, Inclusion]], miners: int) -> None:
    """What was written is read back, verifies under its own genesis id, and its bytes are the same again."""
    maker, proof = make(miners)
    read = read_inclusion(proof.to_bytes())
    assert read == proof
    assert read.to_bytes() == proof.to_bytes()
    read.check(maker.genesis.id)


def test_what_a_transfer_pays() -> None:
    """The receiver and the amount that stand in the transaction."""
    _, proof = paid()
    assert proof.payments() == [Payment("transfer", key("friend-1").address, 2 * COIN)]


def test_what_a_settlement_pays() -> None:
    """Clients by the task's addresses in their order, then FL server and miners; together the price."""
    maker, proof = settled(4, 3)
    payments = proof.payments()
    assert [one.to for one in payments[:3]] == [key(f"client-{n}").address for n in (1, 2, 3)]
    assert [one.purpose for one in payments] == ["client 1", "client 2", "client 3", "FL server", "miner"]
    assert sum(one.micro for one in payments) == 10 * COIN
    assert payments[4].to == maker.miners[0].address


def refused(data: bytes, genesis: GenesisId) -> bool:
    try:
        read_inclusion(data).check(genesis)
    except PeerFault:
        return True
    return False


# A prime stride, so that every kind of field and every bit of a byte is met.
@pytest.mark.parametrize(("make", "stride"), [(paid, 1), (settled, 11)])
def test_every_flipped_bit_is_refused(make: Callable[[], tuple[ChainMaker, Inclusion]], stride: int) -> None:
    """There is no bit of a proof that could be another: all of a transfer's, every eleventh of a settlement's.

    [P-13.22]
    """
    maker, proof = make()
    data = proof.to_bytes()
    for bit in range(0, 8 * len(data), stride):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert refused(bytes(changed), maker.genesis.id), (
            f"bit {bit} of {data[bit // 8 - 20 : bit // 8 + 20]!r}"
        )


def test_cuts_and_additions_are_refused() -> None:
    """A proof with bytes missing at the end or added there is none."""
    maker, proof = paid()
    data = proof.to_bytes()
    for changed in (
        data[:-1],
        data + b"\n",
        data + b"x",
        b"",
        b"\n",
        data[: len(data) // 2] + b"\n",
        data * 2,
    ):
        assert refused(changed, maker.genesis.id)


def test_the_largest_proof_is_read() -> None:
    """Of a network of 64 miners and 100,000 holders, for a settlement that fills a block."""
    maker, proof = settled(4, 1_000)
    micro = SUPPLY_MAX_MICRO // 100_000
    supply = tuple((Address(f"{number:064x}"), micro) for number in range(100_000))
    roster = tuple(Address(f"{number:064x}") for number in range(64))
    signatures = tuple((MinerIndex(index), "ab" * 64) for index in range(64))
    assert isinstance(proof.transaction, Result)
    reveal = replace(proof.transaction.reveals[0], sums=tuple(range(10**12, 10**12 + 1_000)))
    largest = replace(
        proof,
        genesis=replace(maker.genesis, roster=roster, supply=supply),
        certificate=replace(proof.certificate, signatures=signatures),
        transaction=replace(proof.transaction, reveals=(reveal,) * 28),
        path=((False, bytes(32)),) * 64,
    )
    assert len(largest.transaction.encoded) > 450_000
    assert read_inclusion(largest.to_bytes()) == largest


@pytest.mark.parametrize("item", [b"[],", b"[[[[]]]],", b'{"a":0},'])
def test_what_no_proof_is_as_large_as_costs_little(item: bytes) -> None:
    """Too many values are refused before memory is taken for them."""
    data = b"[" + item * (9 * 2**20 // len(item)) + b"0]\n"

    def read() -> None:
        with pytest.raises(Malformed, match="more"):
            read_inclusion(data)

    assert peak_bytes(read) < 16 * 2**20
    with pytest.raises(Malformed, match="one line"):
        read_inclusion(b" " * PROOF_BYTES_MAX + b"\n")


def test_another_network_is_refused() -> None:
    """A perfect proof of a network with the forger's own miners is worth nothing under the genesis that is pinned.

    [P-13.22]
    """
    maker, _ = paid()
    forger = ChainMaker(1, supply_micro=10**9 * COIN)
    block = forger.add(forger.transfer(forger.requester, key("friend-1").address, 500 * COIN))
    forged = prove(forger.genesis, block, forger.certificates[-1], 0, None)
    forged.check(forger.genesis.id)
    assert refused(forged.to_bytes(), maker.genesis.id)


def test_parts_of_other_proofs_are_refused() -> None:
    """Another task, another block's certificate, a neighbour's path, too few votes: each part belongs to the others.

    [P-13.22]
    """
    maker, proof = settled(4)
    maker.forget()
    stranger = maker.task(price_micro=20 * COIN, train_micro=17 * COIN)
    assert isinstance(proof.task, Task)
    few = replace(proof.certificate, signatures=proof.certificate.signatures[:2])
    twice = replace(proof.certificate, signatures=proof.certificate.signatures[:2] * 2)
    for forged in (
        replace(proof, task=stranger),
        replace(proof, task=None),
        replace(proof, task=replace(proof.task, signature="0" * 128)),
        replace(proof, certificate=maker.certificates[0]),
        replace(proof, certificate=few),
        replace(proof, certificate=twice),
        replace(proof, header=maker.blocks[0].header),
        replace(proof, path=((True, bytes(32)),)),
        replace(proof, transaction=maker.blocks[1].transactions[0]),
    ):
        assert refused(forged.to_bytes(), maker.genesis.id)
    other, transfer = paid()
    neighbour = prove(other.genesis, other.blocks[0], other.certificates[0], 2, None)
    assert refused(replace(transfer, path=neighbour.path).to_bytes(), other.genesis.id)
    assert refused(replace(transfer, task=proof.task).to_bytes(), other.genesis.id)
