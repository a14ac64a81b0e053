"""Recovery alone: when a miner that lost its vote log may vote again."""

import pytest
from councils import Assembly

from fedcoin_cli.protocol.message import Recalled
from fedcoin_cli.replica.catchup import Recovery
from ledger_store.base.names import Address, MinerIndex

MINERS, START = 7, 100
LATER_MS = 10**9


class Bench:
    """Miner 0 of seven (q = 5) at height 100 without its log; `tell` is an answer to its recall."""

    def __init__(self) -> None:
        council = Assembly(MINERS)
        self.genesis = council.maker.genesis
        self.recovery = Recovery(
            self.genesis, MinerIndex(0), council.signer(0), START, START - 1, 0, lost=True
        )

    def tell(self, miner: int, height: int) -> None:
        self.recovery.recalled(self.genesis.roster[miner], Recalled(height, (), None), START, [])

    def first_height(self) -> int | None:
        """Where it votes again when all others go on and answer every recall."""
        for height in range(START, START + 20):
            for miner in range(1, MINERS - 1):
                self.tell(miner, height)
            if self.recovery.ended(height, LATER_MS):
                return height
        return None


@pytest.mark.parametrize("claimed", [2**53 - 1, START + 10_000, START, 1])
def test_a_liar_that_claims_any_height_keeps_nobody_back(claimed: int) -> None:
    """Its answer comes first; the others' let the miner vote two heights later all the same."""
    bench = Bench()
    bench.tell(6, claimed)
    assert bench.first_height() == START + 2


def test_it_waits_for_heights_that_it_cannot_have_reached() -> None:
    """The others are at 105 when they first answer, so it may have been at 106: it votes at 107, not sooner.

    [P-10.29]
    """
    bench = Bench()
    for miner in range(1, MINERS):
        bench.tell(miner, 105)
    assert bench.first_height() == 107


def test_fewer_than_a_quorum_with_itself_do_not_suffice() -> None:
    """Three answers of q − 1 = 4 end nothing, at no height."""
    bench = Bench()
    for miner in (1, 2, 3):
        for height in (START, START + 50):
            bench.tell(miner, height)
    assert not any(bench.recovery.ended(height, LATER_MS) for height in range(START, START + 60))


def _whole(patient_until_ms: int = 5_000) -> tuple[Recovery, tuple[Address, ...]]:
    """Miner 0 of seven at height 100 with its whole log, just started; and the roster."""
    council = Assembly(MINERS)
    genesis = council.maker.genesis
    signer = council.signer(0)
    return Recovery(
        genesis, MinerIndex(0), signer, START, START - 1, patient_until_ms, lost=False
    ), genesis.roster


def test_all_others_are_waited_for_at_first_and_then_a_quorum() -> None:
    """q − 1 = 4 of six have answered: not enough before 5 s, enough from then on; all six are enough at once.

    [P-10.27]
    """
    recovery, roster = _whole()
    for miner in (1, 2, 3, 4):
        recovery.recalled(roster[miner], Recalled(START, (), None), START, [])
    assert not recovery.ended(START, 4_999)
    assert recovery.ended(START, 5_000)
    for miner in (5, 6):
        recovery.recalled(roster[miner], Recalled(START, (), None), START, [])
    assert recovery.ended(START, 0)


@pytest.mark.parametrize("above", [2, 3])
def test_a_height_above_which_more_than_f_work_gets_no_vote(above: int) -> None:
    """f = 2 may lie about it; a third says that this height is decided: what was said in it nobody has told.

    [P-10.28]
    """
    recovery, roster = _whole()
    for miner in range(1, MINERS):
        recovery.recalled(roster[miner], Recalled(START + (miner <= above), (), None), START, [])
    assert recovery.ended(START, LATER_MS) == (above == 2)
