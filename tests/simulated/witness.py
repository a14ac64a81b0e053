"""The properties that no history may break, checked while it happens; each has a word that problems begin with.

fork: two final blocks of one height. double: two signatures of an honest miner that contradict each other. unsaved: a
signature that left before it was durable. early: a reveal before its close was final. omitted: an item that R − q + 1
honest miners held in time is not in the close or result. refrozen: a frozen set that changed. mute: a miner that cannot
open its own commit. accused: an honest miner among the frauds. paid: a fraud or a known false table that was paid.
ledgers, money, stall: at the end, in `simulator`.
"""

from typing import TYPE_CHECKING, Any

from fedcoin_cli.consensus.attempt import Stage
from fedcoin_cli.consensus.posap import Posap
from fedcoin_cli.protocol.message import CommitNote, Message, Proposal, RevealNote, Vote
from ledger_store.base.names import Address
from ledger_store.base.words import TaskState
from ledger_store.block import Block
from ledger_store.transaction import Close, Result

if TYPE_CHECKING:
    from simulated.nodes import Node
    from simulated.world import World

Place = tuple[Any, ...]
# Twice the least time for reveals, by a clock that is 1 % fast.
ABANDON_LEAST_MS = 39_600


class Witness:
    """Sees what honest nodes send, log and append."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.problems: list[str] = []
        self.blocks: dict[int, Block] = {}
        self._said: dict[Place, str] = {}
        self._frozen: dict[Place, frozenset[Address]] = {}
        self._closed_at: dict[Place, int] = {}

    def problem(self, text: str) -> None:
        self.problems.append(text)

    # What a node says

    def sent(self, node: "Node", message: Message) -> None:
        """An honest node sends this."""
        match message:
            case Vote() if message.voter == node.index:
                self._vote(node, message)
                self._saved(node, message.signature, message.kind)
            case Proposal() if message.proposer == node.index:
                self._once(("proposal", node.index, message.height, message.view), message.block.id)
                self._saved(node, message.signature, "proposal")
            case CommitNote() if message.commit.miner == node.address:
                self._once(("commit", node.index, message.task, message.attempt), message.commit.digest)
                self._saved(node, message.commit.signature, "commit")
            case RevealNote() if message.reveal.miner == node.address:
                self._revealed(node, message)
            case _:
                pass

    def _vote(self, node: "Node", vote: Vote) -> None:
        place = (vote.kind, vote.voter, vote.height, vote.view)
        self._once(place, vote.block or "-")
        other = {"skip": "final", "final": "skip"}.get(vote.kind)
        if other is not None and (other, *place[1:]) in self._said:
            self.problem(f"double: miner {node.index} signed skip and final of {place[2:]}")

    def _once(self, place: Place, what: str) -> None:
        if self._said.setdefault(place, what) != what:
            self.problem(f"double: miner {place[1]} said two things: {place}")

    def _saved(self, node: "Node", signature: str, kind: str) -> None:
        if signature not in node.log.signatures:
            self.problem(f"unsaved: a {kind} of miner {node.index} was sent before it was durable")

    def _revealed(self, node: "Node", note: RevealNote) -> None:
        record = node.ledger.tip.state.tasks.get(note.task)
        digest = note.reveal.commitment(note.task, note.attempt)
        final = record is not None and any(commit.digest == digest for commit in record.commits)
        if record is None or not final or record.state != TaskState.CLOSED:
            self.problem(f"early: miner {node.index} revealed before its close was final")

    # What a node keeps

    def looked(self, node: "Node") -> None:
        """After each event, into an honest node's machine."""
        if node.replica is None or node.replica.taskwork.machine is None or not node.replica.voting:
            return
        machine = node.replica.taskwork.machine
        for stage, miners in machine.clocks.frozen.items():
            place = node.index, machine.attempt.task, machine.attempt.number, stage
            if self._frozen.setdefault(place, miners) != miners:
                self.problem(f"refrozen: miner {node.index} has other {stage} than before")
        own = None if machine.reveals.closed is None else machine.reveals.closed.get(node.address)
        if own is not None and node.address not in machine.reveals.opened:
            self.problem(f"mute: miner {node.index} cannot open its commit")

    # What is final

    def appended(self, node: "Node", block: Block) -> None:
        """A node appended this block."""
        known = self.blocks.setdefault(block.height, block)
        if known.id != block.id:
            self.problem(f"fork: height {block.height}, miner {node.index} has another block")
        if known is block:
            for transaction in block.transactions:
                self._ended(node, transaction)

    def _ended(self, node: "Node", transaction: Any) -> None:
        match transaction:
            case Close():
                self._closed_at[transaction.task, transaction.attempt] = self._world.now
                miners = {commit.miner for commit in transaction.commits}
                self._complete(transaction, Stage.COMMITS, miners)
            case Result():
                cheats = {fraud.miner for fraud in transaction.frauds}
                self._complete(transaction, Stage.REVEALS, {reveal.miner for reveal in transaction.reveals})
                self._judged(transaction, cheats)

    def _complete(self, transaction: Close | Result, stage: str, included: set[Address]) -> None:
        roster = self._world.genesis.roster
        held = [self._held(node, transaction, stage) for node in self._world.nodes if node.behaviour is None]
        for miner in set(roster) - included:
            holders = sum(miner in items for items in held)
            if holders >= len(roster) - self._world.genesis.quorum + 1:
                self.problem(f"omitted: {stage} lack miner {roster.index(miner)}, held by {holders}")

    def _held(self, node: "Node", transaction: Close | Result, stage: str) -> frozenset[Address]:
        """What a node had in time: its frozen set, or all that it holds while its clock still runs.

        Who has abandoned the attempt insists on nothing, but nobody may abandon one before its time.
        """
        place = node.index, transaction.task, transaction.attempt, stage
        machine = node.replica.taskwork.machine if node.replica is not None else None
        overdue = self._world.now >= self._closed_at.get(place[1:3], self._world.now) + ABANDON_LEAST_MS
        if overdue and ((*place[:3], Stage.ABANDONED) in self._frozen or _abandons(machine)):
            return frozenset()
        if place in self._frozen or not _at_work(machine, transaction, stage):
            return self._frozen.get(place, frozenset())
        assert machine is not None
        return frozenset(machine._commits if stage == Stage.COMMITS else machine.reveals.held)

    def _judged(self, result: Result, cheats: set[Address]) -> None:
        world = self._world
        for miner in cheats & world.honest:
            self.problem(f"accused: honest miner {world.genesis.roster.index(miner)}")
        paid = {miner for miner, micro in result.outcome.pay.miners if micro}
        if result.outcome.state == TaskState.SETTLED and cheats & paid:
            self.problem("paid: a fraud")
        for reveal in result.reveals:
            table = world.tables[reveal.table]
            if not table.follows or (table.wrong and world.certain and reveal.miner not in cheats):
                self.problem(f"paid: the false table of miner {world.genesis.roster.index(reveal.miner)}")


def _abandons(machine: Posap | None) -> bool:
    return machine is not None and Stage.ABANDONED in machine.clocks.frozen


def _at_work(machine: Posap | None, transaction: Close | Result, stage: str) -> bool:
    if machine is None or (machine.reveals.closed is None) != (stage == Stage.COMMITS):
        return False
    return (machine.attempt.task, machine.attempt.number) == (transaction.task, transaction.attempt)
