"""Short histories of one rule each: of the ledger, its reader, one attempt, a table. Each raises AssertionError.

They pass on the right code and fail where the rule is left out (`planted_rules`).
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from block_games import BlockGame, KnownReference
from chains import COIN, ChainMaker, key

from fedcoin_cli.application.requester.chain_view import ChainView
from fedcoin_cli.consensus.attempt import Attempt, CheckEntry, Send
from fedcoin_cli.consensus.posap import Posap
from fedcoin_cli.consensus.rankings import ranking
from fedcoin_cli.contract.metric import blocks_of
from fedcoin_cli.contract.settlement import give_up, settle
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.shapley.checking import Checker
from fedcoin_cli.learning.shapley.table import Claim, encode_exact
from fedcoin_cli.protocol.message import CommitNote, FinalBlock, FraudNote, Phase, RevealNote, Standing
from fedcoin_cli.replica.ports import RosterSigner
from ledger_store.base.errors import Malformed, PeerFault
from ledger_store.base.names import Address
from ledger_store.base.words import TaskState
from ledger_store.chain import start
from ledger_store.outcome import Outcome, read_outcome
from ledger_store.proof import FraudMark
from ledger_store.state import apply
from ledger_store.transaction import Close, Commit, Reveal, Task

GOLDEN = Path(__file__).with_name("consensus") / "golden" / "rankings.json"
RUNTIME_MS, CLOSED_MS = 20_000, 40_000


def _refused(what: Callable[[], object], otherwise: str) -> None:
    try:
        what()
    except (PeerFault, Malformed):
        return
    raise AssertionError(otherwise)


# The ledger, and who reads it -----------------------------------------------------------------------------------------


def a_failed_attempt_ends_nothing() -> None:
    """A task has three attempts; the first two end without a commit, the third settles. Only that is its end."""
    maker = ChainMaker()
    task = maker.task(attempts=3)
    maker.add(task)
    view = ChainView(start(maker.genesis))
    for number in (1, 2):
        maker.add(Close(task.id, number, (), give_up(maker.records[task.id])))
    reveals = maker.reveals(task, 3)
    maker.add(maker.close(task, reveals, 3))
    outcome = settle(maker.records[task.id], maker.genesis, reveals, ())
    last = maker.result(task, reveals, outcome, 3)
    maker.add(last)
    ends: list[Any] = []
    for block, certificate in zip(maker.blocks, maker.certificates, strict=True):
        view.take(Address("anybody"), FinalBlock(block, certificate))
        ends.append(view.ends.get(task.id))
    assert ends == [None, None, None, None, last], "an attempt was taken for the end"


def a_block_of_too_few_is_no_block() -> None:
    """A block whose certificate lacks one signature of a quorum does not extend the view."""
    maker = ChainMaker()
    maker.add_transfers(1)
    view = ChainView(start(maker.genesis))
    whole = maker.certificates[0]
    view.take(Address("liar"), FinalBlock(maker.blocks[0], replace(whole, signatures=whole.signatures[1:])))
    assert view.tip.height == 0, "a block without a quorum"


def a_single_claim_keeps_nobody_waiting() -> None:
    """Of four miners one says that it is at height 10⁶; two say that there is nothing yet."""
    view = ChainView(start(ChainMaker().genesis))
    for miner, height in (("liar", 10**6), ("a", 0), ("b", 0)):
        view.take(Address(miner), Standing(height, None, 0, Phase.IDLE, 0, 0, 0, 0, 0))
    assert view.caught_up, "one liar keeps a payer waiting"


def no_payment_is_negative() -> None:
    """Whose amount in an outcome is below zero does not matter: it cannot be read."""
    maker = ChainMaker()
    outcome = maker.settled(maker.task()).to_json()
    pay = outcome["pay"]
    for part, value in (
        ("clients", [-1, *pay["clients"][1:]]),
        ("clients", [*pay["clients"][:-1], -1]),
        ("miners", [[pay["miners"][0][0], -1]]),
        ("server", -1),
        ("requester", -1),
    ):
        spoilt = {**outcome, "pay": {**pay, part: value}}
        _refused(lambda spoilt=spoilt: read_outcome(spoilt), f"a negative payment of {part} was read")  # type: ignore[misc]


def _closed(maker: ChainMaker) -> tuple[Task, list[Reveal]]:
    task = maker.task()
    maker.add(task)
    reveals = maker.reveals(task)
    maker.add(maker.close(task, reveals))
    return task, reveals


def _result(maker: ChainMaker, task: Task, reveals: list[Reveal], outcome: Outcome) -> Callable[[], object]:
    block = maker.propose(maker.result(task, reveals, outcome))
    return lambda: apply(maker.tip.state, block)


def sap_price_stays_on_the_roster() -> None:
    """A result that pays SapPrice to somebody who is no miner."""
    maker = ChainMaker()
    task, reveals = _closed(maker)
    settled = maker.settled(task)
    stranger = replace(settled.pay, miners=((key("stranger").address, task.shapley_micro),))
    _refused(_result(maker, task, reveals, replace(settled, pay=stranger)), "a stranger was paid")


def what_was_sealed_is_what_opens() -> None:
    """A result with a reveal of other sums than its miner has committed to."""
    maker = ChainMaker()
    task, reveals = _closed(maker)
    miner = next(one for one in maker.miners if one.address == reveals[0].miner)
    changed = maker.reveal(task, 1, miner, sums=(1, 2, 3))
    _refused(
        _result(maker, task, [changed, *reveals[1:]], maker.settled(task)), "another estimate was opened"
    )


def no_coin_is_made() -> None:
    """A result that pays the server a coin more than there is in escrow."""
    maker = ChainMaker()
    task, reveals = _closed(maker)
    settled = maker.settled(task)
    richer = replace(settled.pay, server=settled.pay.server + COIN)
    _refused(_result(maker, task, reveals, replace(settled, pay=richer)), "a coin was made")


def who_withholds_sits_out_the_next_task() -> None:
    """One of four commits and never reveals; in the next task its commit is refused."""
    maker = ChainMaker()
    task, reveals = _closed(maker)
    maker.add(maker.result(task, reveals[:-1], maker.settled(task)))
    following = maker.task()
    maker.add(following)
    block = maker.propose(maker.close(following, maker.reveals(following)))
    _refused(lambda: apply(maker.tip.state, block), "who withheld a reveal commits again")


def a_fraud_is_out_until_the_tasks_end() -> None:
    """One miner is a fraud in the first attempt, another in the second; neither may commit in the third."""
    maker = ChainMaker()
    task, reveals = _closed(maker)
    cheats = [reveals[1].miner, reveals[3].miner]
    for attempt, cheat in enumerate(cheats, 1):
        failed = maker.failed(task, TaskState.OPEN)
        maker.add(maker.result(task, reveals, failed, attempt, frauds=[FraudMark(cheat, 3)]))
        reveals = [
            reveal for reveal in maker.reveals(task, attempt + 1) if reveal.miner not in cheats[:attempt]
        ]
        if attempt == 1:
            maker.add(maker.close(task, reveals, 2))
    for cheat in cheats:
        rest = [
            reveal for reveal in maker.reveals(task, 3) if reveal.miner not in cheats or reveal.miner == cheat
        ]
        block = maker.propose(maker.close(task, rest, 3))
        _refused(lambda block=block: apply(maker.tip.state, block), "a fraud commits again")  # type: ignore[misc]


def rankings_are_the_protocols() -> None:
    """Each ranking of the test vectors, by its number: where a task stops within a square, every one counts."""
    vectors = json.loads(GOLDEN.read_bytes())
    seed, miner = bytes.fromhex(vectors["seed"]), bytes.fromhex(vectors["key"])
    for vector in vectors["rankings"]:
        drawn = ranking(seed, miner, vector["block"], vector["index"], vector["clients"])
        assert list(drawn) == vector["ranking"], f"ranking {vector['index']} of {vector['clients']} clients"


# One attempt ----------------------------------------------------------------------------------------------------------


class Attempted:
    """One attempt of a task of four miners; the machine is miner 0's, the others' messages are made here.

    An observer's machine has no key.
    """

    def __init__(self, clients: int = 3, *, observes: bool = False, most: int = 24) -> None:
        self.maker = ChainMaker()
        self.clients = clients
        self.task = self.maker.task(clients=clients, least_rankings=2, most_rankings=most)
        self.roster = tuple(miner.address for miner in self.maker.miners)
        blocks = blocks_of(self.task)
        attempt = Attempt(
            self.task.id, 1, self.roster, frozenset(), clients, blocks, RUNTIME_MS, 2, most, 500
        )
        signer = RosterSigner(self.maker.miners[0], self.maker.genesis)
        self.machine = Posap(attempt, None if observes else self.roster[0], signer, 0)

    def reveal(self, miner: int, **changes: Any) -> Reveal:
        return self.maker.reveal(self.task, 1, self.maker.miners[miner], **changes)

    def commit(self, miner: int, **changes: Any) -> Commit:
        sealed = self.reveal(miner, **changes).commitment(self.task.id, 1)
        return self.maker.commit(self.task.id, 1, self.maker.miners[miner], sealed)

    def closed(self, *miners: int, **changes: Any) -> "Attempted":
        """After the close with these miners' commits."""
        self.machine.estimated(replace(self.reveal(0, **changes), signature=""))
        self.machine.closed(tuple(self.commit(miner, **changes) for miner in miners), CLOSED_MS)
        return self

    def said(self, miner: int, **changes: Any) -> bool:
        """Whether this miner's reveal is taken."""
        note = RevealNote(self.task.id, 1, self.reveal(miner, **changes))
        return Send(note) in self.machine.receive(note)

    def held(self, *miners: int, **changes: Any) -> None:
        """These reveals are here and their tables found right."""
        for miner in miners:
            self.said(miner, **changes)
            self.machine.checked(self.reveal(miner, **changes), True, ())

    def accusation(self, by: int, against: int, entry: int = 5) -> FraudNote:
        note = FraudNote(self.task.id, 1, self.roster[against], entry, self.roster[by], "")
        return replace(
            note, signature=self.maker.miners[by].sign("fraud", self.maker.genesis.id, note.terms())
        )


def t_is_on_the_grid() -> None:
    """21 rankings are within the task's bounds and not on the grid, whoever committed to them."""
    attempted = Attempted().closed(0, 1, 2, rankings=21)
    assert not attempted.said(1, rankings=21), "t off the grid"


def exact_means_the_most() -> None:
    """An exact estimate that claims fewer rankings than the most would weigh less by choice."""
    attempted = Attempted().closed(0, 1, 2, rankings=10, exact=True)
    assert not attempted.said(1, rankings=10, exact=True), "an exact estimate with a t of its own"


def after_the_close_no_commit_counts() -> None:
    """A commit that comes when the close is final is neither kept nor passed on."""
    attempted = Attempted().closed(0, 1, 2)
    note = CommitNote(attempted.task.id, 1, attempted.commit(3))
    assert attempted.machine.receive(note) == [], "a commit after the close"
    assert attempted.machine.commit_of(attempted.roster[3]) is None


def an_accusation_waits_for_its_table() -> None:
    """A liar accuses a miner whose reveal is here and whose table is not: nothing is believed before a look at it."""
    attempted = Attempted().closed(0, 1, 2)
    attempted.said(1)
    note = attempted.accusation(by=3, against=1)
    assert attempted.machine.receive(note) == [], "an accusation that nobody looked at"
    effects = attempted.machine.checked(attempted.reveal(1), True, ())
    assert CheckEntry(attempted.reveal(1), 5) in effects


def what_was_lost_is_said_again() -> None:
    """A commit or reveal may have got lost: at a standstill everybody hears it again."""
    attempted = Attempted()
    note = CommitNote(attempted.task.id, 1, attempted.commit(1))
    attempted.machine.receive(note)
    assert attempted.machine.standstill() == [Send(note)], "a commit that is not said again"
    attempted.closed(0, 1, 2).said(1)
    reveal = RevealNote(attempted.task.id, 1, attempted.reveal(1))
    assert Send(reveal) in attempted.machine.standstill(), "a reveal that is not said again"


def a_result_waits_for_every_look() -> None:
    """All reveals are here and right, one is accused: no result before its count was recomputed."""
    attempted = Attempted().closed(0, 1, 2)
    attempted.held(0, 1, 2)
    assert attempted.machine.due_result() is not None
    attempted.machine.receive(attempted.accusation(by=3, against=1))
    assert attempted.machine.due_result() is None, "a result before the check"
    attempted.machine.entry_checked(attempted.roster[1], 5, False)
    assert attempted.machine.due_result() is not None


def a_false_accuser_is_heard_once() -> None:
    """Whose accusation was wrong costs nobody a second look."""
    attempted = Attempted().closed(0, 1, 2)
    attempted.held(0, 1, 2)
    attempted.machine.receive(attempted.accusation(by=3, against=1))
    attempted.machine.entry_checked(attempted.roster[1], 5, False)
    again = attempted.machine.receive(attempted.accusation(by=3, against=2, entry=3))
    assert again == [], "a false accuser is heard again"


# A table --------------------------------------------------------------------------------------------------------------


def _exact(spoilt: int, by: int, slack: int) -> tuple[Checker, bytes]:
    """Who checks, without an engine and any clock, and an exact table of five clients with one count that is off.

    What is right is known but for so many images.
    """
    game = BlockGame(np.array([100]), np.array([[10 * mask.bit_count() for mask in range(32)]]))
    reference = KnownReference(game, slack)
    made = Checker(cast("Reference", reference), game.terms, reference.partition, clock=lambda: 0.0)
    counts = np.array(game.whole[1:])
    counts[spoilt - 1] += by
    return made, encode_exact(counts)


def what_weighs_most_is_always_looked_at() -> None:
    """However little time there is: the coalition of all but one moves a value by a fifth of its error."""
    claim = Claim(bytes(32), bytes(32), 1, True)
    for client in range(5):
        mask = 31 ^ 1 << client
        one, table = _exact(mask, 1, 0)
        assert one.wrong_entries(table, claim, 0.0) == (mask - 1,), "a false count of all but one"


def a_count_beyond_the_bound_is_false() -> None:
    """What is off by more than ε is a fraud once somebody names it, although nobody would accuse before 2ε."""
    claim = Claim(bytes(32), bytes(32), 1, True)
    one, table = _exact(7, 3, 2)
    assert one.wrong_entries(table, claim, 0.0) == ()
    assert one.is_wrong(table, claim, 6), "a fraud between one and two bounds"
