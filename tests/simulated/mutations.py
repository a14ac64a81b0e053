"""A liar that changes anything: one value somewhere in a message, and signs again what it may sign.

What is not a message any more a real peer refuses as bytes (`protocol.frame`); the rest reaches the machines.
"""

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from fedcoin_cli.protocol.frame import from_frame, to_frame
from fedcoin_cli.protocol.message import CommitNote, Message, Proposal, RevealNote, Vote
from ledger_store.base.canonical import decode, encode
from ledger_store.base.errors import Malformed
from ledger_store.block import vote_terms
from ledger_store.transaction import commit_terms

if TYPE_CHECKING:
    from simulated.nodes import Node

Way = list[Any]


def change_anything(node: "Node", _to: str, message: Message) -> list[Message]:
    """Every third message leaves changed, with a new signature where the liar has the key, and then as it was."""
    dice = node.world.accidents
    if dice.random() > 0.3:
        return [message]
    changed = mutant(dice, message)
    if changed is None:
        node.world.count("lies: no message any more")
        return [message]
    node.world.count("lies: change anything")
    return [sign_again(node, changed), message]


def mutant(dice: Random, message: Message) -> Message | None:
    """The message with one value exchanged, or None when that is no message."""
    value = decode(to_frame(message))
    ways = leaves(value["fields"], ["fields"])
    if not ways:
        return None
    *way, last = dice.choice(ways)
    inner = value
    for step in way:
        inner = inner[step]
    inner[last] = exchanged(dice, inner[last])
    try:
        return from_frame(encode(value))
    except Malformed:
        return None


def leaves(value: Any, way: Way) -> list[Way]:
    """The ways to every value inside, lists among them."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [path for key, item in inside for path in leaves(item, [*way, key])]
    return found if isinstance(value, dict) else [way, *found]


def exchanged(dice: Random, value: Any) -> Any:
    """Another value of the same kind, often just beside it."""
    match value:
        case bool():
            return not value
        case int():
            return value + dice.choice((-1, 1, 1_000))
        case str() if value:
            at = dice.randrange(len(value))
            return value[:at] + dice.choice("0123456789abcdef") + value[at + 1 :]
        case list() if value:
            at = dice.randrange(len(value))
            return dice.choice((value[:at] + value[at + 1 :], [*value, value[at]], value[::-1]))
    return value


def sign_again(node: "Node", message: Message) -> Message:
    """With the liar's own valid signature, if it is the one who says this."""
    genesis, me, key = node.world.genesis.id, node.index, node.key
    match message:
        case Vote(kind=kind, voter=voter) if voter == me:
            terms = vote_terms(message.height, message.view, message.block)
            return replace(message, signature=key.sign(kind, genesis, terms))
        case Proposal(proposer=proposer) if proposer == me:
            return replace(message, signature=key.sign("proposal", genesis, message.terms()))
        case CommitNote(task, attempt, commit) if commit.miner == node.address:
            terms = commit_terms(task, attempt, commit.digest)
            return replace(message, commit=replace(commit, signature=key.sign("commit", genesis, terms)))
        case RevealNote(task, attempt, reveal) if reveal.miner == node.address:
            signature = key.sign("reveal", genesis, reveal.terms(task, attempt))
            return replace(message, reveal=replace(reveal, signature=signature))
    return message
