"""What liars send instead of what their machines say; each kind is a function from one message to those that leave.

A liar runs the honest machine and lies on the way out. Kinds without a function here lie elsewhere: their tables,
sums and frauds are false (`world.compute`), they keep tables to themselves (`world.download`), are twins, fall silent,
die, or lose their vote log (`world`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from simulated.signatures import second_signature

from fedcoin_cli.contract.settlement import give_up, settle
from fedcoin_cli.protocol.message import Certified, CommitNote, Message, Proposal, RevealNote, Vote
from ledger_store.base.names import Address, BlockId, Digest, MinerIndex
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, make_block, vote_terms
from ledger_store.transaction import Close, Commit, Result, Reveal, Transaction, commit_terms

if TYPE_CHECKING:
    from simulated.nodes import Node

Lie = Callable[["Node", Address, Message], list[Message]]
Item = TypeVar("Item", Commit, Reveal)


def other_half(node: "Node", to: Address) -> bool:
    """Liars that say two things tell one to each half of the roster."""
    return (node.world.genesis.roster.index(to) + node.index) % 2 == 1


def _sign(node: "Node", kind: str, terms: dict[str, object]) -> str:
    signature: str = node.key.sign(kind, node.world.genesis.id, terms)
    return signature


def _vote(node: "Node", kind: str, vote: Vote, block: BlockId | None) -> Vote:
    terms = vote_terms(vote.height, vote.view, block)
    return Vote(
        VoteKind(kind), MinerIndex(node.index), vote.height, vote.view, block, _sign(node, kind, terms)
    )


def _fresh(node: "Node", block: Block, view: int, later_ms: int) -> Proposal:
    """A block like `block` as if it were fresh in `view`, with nothing that justifies it."""
    header = block.header
    sibling = make_block(
        header.parent,
        header.height,
        header.time_ms + later_ms,
        MinerIndex(node.index),
        view,
        block.transactions,
        block.certificate,
    )
    proposal = Proposal(MinerIndex(node.index), view, sibling, -1, None, (), "")
    return replace(proposal, signature=_sign(node, "proposal", proposal.terms()))


def contradict(node: "Node", to: Address, message: Message) -> list[Message]:
    """Two proposals and two NOTARs of one view; SKIP and FINAL of one view."""
    siblings: dict[str, Proposal] = node.notes.setdefault("siblings", {})
    match message:
        case Proposal() if message.proposer == node.index and message.justified < 0:
            sibling = _fresh(node, message.block, message.view, 1)
            siblings[message.block.id] = replace(sibling, skips=message.skips)
            return _told(node, [siblings[message.block.id] if other_half(node, to) else message])
        case Vote(kind="notar", voter=node.index) if message.block in siblings and other_half(node, to):
            return [_vote(node, "notar", message, siblings[message.block].block.id)]
        case Vote(kind="notar", voter=node.index):
            node.notes["block"] = message.block
            return [message]
        case Vote(kind="final", voter=node.index):
            return _told(node, [message, _vote(node, "skip", message, None)])
        case Vote(kind="skip", voter=node.index) if "block" in node.notes:
            return _told(node, [message, _vote(node, "final", message, node.notes["block"])])
    return [message]


def unjustified(node: "Node", _to: str, message: Message) -> list[Message]:
    """With its votes: a fresh block for a later view that nobody has reached."""
    if not isinstance(message, Vote) or message.voter != node.index or node.replica is None:
        return [message]
    seen = node.replica.finality.simplex.memory.at(message.view).proposal
    ahead = (node.index - message.height - message.view) % len(node.world.genesis.roster)
    if seen is None or seen.height != message.height or not ahead:
        return [message]
    return _told(node, [_fresh(node, seen.block, message.view + ahead, 7), message])


def censor(node: "Node", _to: str, message: Message) -> list[Message]:
    """Its closes and results leave out the first miner other than itself; its vote is for that block, too."""
    others: dict[str, Proposal] = node.notes.setdefault("censored", {})
    match message:
        case Proposal() if message.proposer == node.index and message.justified < 0:
            if message.block.id not in others:
                others[message.block.id] = _censored(node, message)
            return _told(node, [others[message.block.id]])
        case Vote(kind="notar", voter=node.index) if message.block in others:
            return [_vote(node, "notar", message, others[message.block].block.id)]
    return [message]


def _censored(node: "Node", proposal: Proposal) -> Proposal:
    *rest, last = proposal.block.transactions
    shorter = _shorter(node, last)
    if shorter is None:
        return proposal
    header = proposal.block.header
    block = make_block(
        header.parent,
        header.height,
        header.time_ms,
        header.proposer,
        header.view,
        (*rest, shorter),
        proposal.block.certificate,
    )
    changed = replace(proposal, block=block)
    return replace(changed, signature=_sign(node, "proposal", changed.terms()))


def _shorter(node: "Node", transaction: Transaction) -> Transaction | None:
    """The close or result without its first honest item, the outcome computed anew."""
    record = node.ledger.tip.state.current
    if record is None:
        return None
    match transaction:
        case Close():
            kept = _without_first(node, transaction.commits)
            return replace(transaction, commits=kept, outcome=None if kept else give_up(record))
        case Result():
            reveals = _without_first(node, transaction.reveals)
            names = {reveal.miner for reveal in reveals}
            frauds = tuple(fraud for fraud in transaction.frauds if fraud.miner in names)
            outcome = settle(record, node.world.genesis, reveals, frauds)
            return replace(transaction, reveals=reveals, frauds=frauds, outcome=outcome)
    return None


def _without_first(node: "Node", items: tuple[Item, ...]) -> tuple[Item, ...]:
    victim = next((item for item in items if item.miner != node.address), None)
    return tuple(item for item in items if item is not victim)


def mutate(node: "Node", _to: str, message: Message) -> list[Message]:
    """Votes, certificates, commits and reveals with something exchanged, unsigned."""
    if node.world.rng.random() > 0.3:
        return [message]
    changed: Message | None = None
    match message:
        case Vote():
            changed = replace(message, view=message.view + 1)
        case Certified(votes="skip"):
            certificate = message.certificate
            changed = replace(message, certificate=replace(certificate, view=certificate.view + 1))
        case Certified():
            doubled = message.certificate.signatures[:1] * len(message.certificate.signatures)
            changed = replace(message, certificate=replace(message.certificate, signatures=doubled))
        case Proposal():
            changed = replace(message, justified=-1, notarisation=None)
        case CommitNote():
            changed = replace(message, commit=replace(message.commit, digest=Digest(64 * "0")))
        case RevealNote():
            changed = replace(message, reveal=replace(message.reveal, salt=32 * "0"))
    return [message] if changed is None else _told(node, [changed, message])


def withhold_reveal(node: "Node", _to: str, message: Message) -> list[Message]:
    """It commits and does not reveal."""
    own = isinstance(message, RevealNote) and message.reveal.miner == node.address
    return _told(node, []) if own else [message]


def two_commits(node: "Node", to: Address, message: Message) -> list[Message]:
    """One commit for each half."""
    if not isinstance(message, CommitNote) or message.commit.miner != node.address or other_half(node, to):
        return [message]
    return _told(node, [_commit(node, message, Digest(message.commit.digest[::-1]))])


def two_signatures(node: "Node", to: Address, message: Message) -> list[Message]:
    """One reveal, signed differently for each half: the same estimate, but not the same bytes."""
    if not isinstance(message, RevealNote) or message.reveal.miner != node.address or other_half(node, to):
        return [message]
    reveal, genesis = message.reveal, node.world.genesis.id
    terms = reveal.terms(message.task, message.attempt)
    signature = second_signature(node.key, "reveal", genesis, terms)
    return _told(node, [replace(message, reveal=replace(reveal, signature=signature))])


def copy(node: "Node", _to: str, message: Message) -> list[Message]:
    """It commits to what somebody else committed to, and later claims that one's reveal as its own."""
    match message:
        case CommitNote() if message.commit.miner != node.address:
            node.notes["digest"] = message.commit.digest
        case CommitNote() if "digest" in node.notes:
            return _told(node, [_commit(node, message, node.notes["digest"])])
        case RevealNote():
            stolen = replace(message.reveal, miner=node.address)
            terms = stolen.terms(message.task, message.attempt)
            stolen = replace(stolen, signature=_sign(node, "reveal", terms))
            return _told(node, [replace(message, reveal=stolen), message])
    return [message]


def _commit(node: "Node", note: CommitNote, digest: Digest) -> CommitNote:
    signature = _sign(node, "commit", commit_terms(note.task, note.attempt, digest))
    return replace(note, commit=Commit(node.address, digest, signature))


def _told(node: "Node", messages: list[Message]) -> list[Message]:
    node.world.count(f"lies: {node.behaviour}")
    return messages


LIES: dict[str, Lie] = {
    "censor": censor,
    "contradict": contradict,
    "unjustified": unjustified,
    "mutate": mutate,
    "withhold reveal": withhold_reveal,
    "two commits": two_commits,
    "two signatures": two_signatures,
    "copy": copy,
}
