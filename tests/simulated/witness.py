"""The properties that no history may break, checked while it happens; each has a word that problems begin with.

fork: two final blocks of one height. double: two signatures of an honest miner that contradict each other. unsaved: a
signature that left before it was durable. early: a reveal before its close was final. omitted: an item that R − q + 1
honest miners held at their freeze is not in the close or result. accused: an honest miner among the frauds. paid: a
fraud or a known false table that was paid. ledgers, money, stall: at the end, in `simulator`.
"""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from fedcoin_cli.application.votelog import Record
from fedcoin_cli.consensus.posap import Frozen
from fedcoin_cli.network.message import CommitNote, Message, Proposal, RevealNote, Vote
from ledger_store.block import Block
from ledger_store.state import CLOSED, SETTLED
from ledger_store.transaction import Close, Result

if TYPE_CHECKING:
    from simulated.nodes import Node
    from simulated.world import World

Place = tuple[Any, ...]


class Witness:
    """Sees what honest nodes send, log and append."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.problems: list[str] = []
        self.blocks: dict[int, Block] = {}
        self._said: dict[Place, str] = {}
        self._frozen: dict[Place, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))

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
        if record is None or not final or record.state != CLOSED:
            self.problem(f"early: miner {node.index} revealed before its close was final")

    # What a node keeps

    def logged(self, node: "Node", record: Record) -> None:
        """An honest node made this durable."""
        if isinstance(record, Frozen):
            place = (record.task, record.attempt, record.stage)
            for miner in record.miners:
                self._frozen[place][miner].add(node.index)

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
                miners = {commit.miner for commit in transaction.commits}
                self._complete(transaction, "commits", miners)
            case Result():
                cheats = {fraud.miner for fraud in transaction.frauds}
                self._complete(transaction, "reveals", {reveal.miner for reveal in transaction.reveals})
                self._judged(transaction, cheats)

    def _complete(self, transaction: Close | Result, stage: str, included: set[str]) -> None:
        roster = self._world.genesis.roster
        enough = len(roster) - self._world.genesis.quorum + 1
        for miner, holders in self._frozen[transaction.task, transaction.attempt, stage].items():
            if miner not in included and len(holders) >= enough:
                left_out = roster.index(miner)
                self.problem(f"omitted: {stage} lack miner {left_out}, whom miners {sorted(holders)} held")

    def _judged(self, result: Result, cheats: set[str]) -> None:
        world = self._world
        for miner in cheats & world.honest:
            self.problem(f"accused: honest miner {world.genesis.roster.index(miner)}")
        paid = {miner for miner, micro in result.outcome.pay.miners if micro}
        if result.outcome.state == SETTLED and cheats & paid:
            self.problem("paid: a fraud")
        for reveal in result.reveals:
            table = world.tables[reveal.table]
            if not table.follows or (table.wrong and world.certain and reveal.miner not in cheats):
                self.problem(f"paid: the false table of miner {world.genesis.roster.index(reveal.miner)}")
