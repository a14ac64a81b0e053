"""Two processes of one key: who is told, who ends, and what no liar can make up."""

from dataclasses import replace

from fedcoin_cli.replica.twins import LEASE_MS, OVERLAP_MS, Twins, beside, is_beside
from ledger_store.base.names import Address, BlockId, GenesisId
from ledger_store.identity.keys import KeyPair

OTHER = Address("other")

ME, PEER = "me", Address("peer")


def told(*heard: tuple[str, int]) -> list[str | None]:
    """What each STATUS of one peer, by nonce and time, gives rise to."""
    twins = Twins(ME, 0)
    return [twins.heard(PEER, nonce, now_ms) for nonce, now_ms in heard]


def test_a_restart_is_no_twin() -> None:
    """A new nonce and silence of the old one, whenever it comes, is believed once the lease is over."""
    assert told(("old", 0), ("new", 700), ("new", 3_000), ("new", 7_000), ("new", 20_000)) == [None] * 5
    assert told(("old", 0), ("new", LEASE_MS + 1), ("old", LEASE_MS + 2)) == [None] * 3


def test_the_second_of_two_is_told() -> None:
    """The old one speaks on beside the new one: the new one is told, again and again, however often they alternate."""
    heard = told(("old", 0), ("new", 1_000), ("old", 3_000), ("new", 3_500), ("old", 5_500))
    assert heard == [None, None, "new", None, "new"]


def test_what_was_on_its_way_accuses_nobody() -> None:
    """A late message of a process that has ended, just after its successor's first one."""
    assert told(("old", 0), ("new", 1_000), ("old", 1_000 + OVERLAP_MS - 1)) == [None] * 3


def test_a_second_one_that_has_gone_is_forgotten() -> None:
    """It ended within the lease: the first goes on and nobody is told any more."""
    assert told(("old", 0), ("new", 1_000), ("old", 1_500 + LEASE_MS)) == [None] * 3


def test_neither_of_two_is_helped_to_vote() -> None:
    """From a second nonce on until the first one's lease is over, or the second has become the only one [P-10.35]."""
    twins = Twins(ME, 0)
    twins.heard(PEER, "old", 0)
    assert not twins.contested(PEER, 10)
    twins.heard(PEER, "new", 1_000)
    assert twins.contested(PEER, 1_001)
    twins.heard(PEER, "new", LEASE_MS + 1)
    assert not twins.contested(PEER, LEASE_MS + 2)
    assert not twins.contested(Address("somebody else"), 0)


def test_more_than_f_must_say_so() -> None:
    """One liar, however often it says it, ends nobody; nor do words about another process [P-10.34]."""
    twins = Twins(ME, 1)
    assert not any(twins.accused(Address("liar"), ME) for _ in range(3))
    assert not twins.accused(OTHER, "somebody")
    assert twins.accused(OTHER, ME)


def test_nobody_but_the_key_says_that_it_lives_beside() -> None:
    """Its word names one nonce of one network; a liar's signature, or an old one moved to this nonce, is none.

    [P-10.34]
    """
    key, liar, genesis, nonce = KeyPair.generate(), KeyPair.generate(), "ab" * 32, "0f" * 16
    said = beside(key, GenesisId(BlockId(genesis)), nonce)
    assert is_beside(key.address, GenesisId(BlockId(genesis)), said)
    assert not is_beside(
        key.address, GenesisId(BlockId(genesis)), beside(liar, GenesisId(BlockId(genesis)), nonce)
    )
    assert not is_beside(
        key.address,
        GenesisId(BlockId(genesis)),
        replace(beside(key, GenesisId(BlockId(genesis)), "1f" * 16), nonce=nonce),
    )
    assert not is_beside(key.address, GenesisId(BlockId("cd" * 32)), said)
