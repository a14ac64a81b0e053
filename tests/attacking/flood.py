"""A member of the roster that floods the others with everything that it can make of messages, signed where it may.

The replicas are the product's own, on a real game; inputs are counted one by one, messages or not.
"""

from dataclasses import dataclass, replace
from random import Random

from attacking.arena import Arena, Strategy
from fuzzing.mutations import mutated
from simulated.mutations import mutant, sign_again
from simulated.nodes import Node
from simulated.signatures import stub_signatures

from fedcoin_cli.protocol.frame import from_frame, to_frame
from fedcoin_cli.protocol.message import FraudNote, Message, RevealNote
from ledger_store.base.errors import Malformed

A_MESSAGE = 60
"""Inputs that follow each honest message: a third bytes, the rest messages with one value exchanged."""


@dataclass(slots=True)
class Flooded:
    """What was thrown at the honest miners, and what it did to them."""

    inputs: int = 0
    delivered: int = 0
    crashes: int = 0
    histories: int = 0
    unsettled: int = 0
    accepted: int = 0
    said: str = ""


class Flood:
    """Counts what one liar throws."""

    def __init__(self, flooded: Flooded) -> None:
        self.flooded = flooded
        self.dice = Random("flood")

    def say(self, node: Node, _to: str, message: Message) -> list[Message]:
        """The message, and what can be made of it."""
        said = [message]
        frame = to_frame(message)
        for number in range(A_MESSAGE):
            self.flooded.inputs += 1
            made = self._bytes(frame) if number % 3 == 0 else self._signed(node, message)
            if made is not None:
                said.append(made)
        self.flooded.delivered += len(said) - 1
        return said

    def _bytes(self, frame: bytes) -> Message | None:
        try:
            return from_frame(mutated(self.dice, [frame]))
        except Malformed:
            return None

    def _signed(self, node: Node, message: Message) -> Message | None:
        if isinstance(message, RevealNote) and self.dice.random() < 0.3:
            return self._fraud(node, message)
        changed = mutant(self.dice, message)
        return None if changed is None else sign_again(node, changed)

    def _fraud(self, node: Node, message: RevealNote) -> Message:
        entry = self.dice.randrange(1_000)
        note = FraudNote(message.task, message.attempt, message.reveal.miner, entry, node.address, "")
        signature: str = node.key.sign("fraud", node.world.genesis.id, note.terms())
        return replace(note, signature=signature)


def flood(inputs: int) -> Flooded:
    """Histories of four miners, one of them flooding, until so many inputs were thrown."""
    flooded = Flooded()
    with stub_signatures(True):
        while flooded.inputs < inputs and not flooded.crashes:
            seat = flooded.histories % 4
            arena = Arena(flooded.histories, 4, {seat: Strategy(say=Flood(flooded).say)})
            flooded.histories += 1
            try:
                arena.live_through()
                ended = arena.ended()
            except Exception as error:  # noqa: BLE001 (whatever a replica dies of)
                flooded.crashes += 1
                flooded.said = f"history {flooded.histories - 1}: {type(error).__name__}: {error}"
                continue
            flooded.unsettled += not ended.settled
            flooded.accepted += ended.accepted
            flooded.said = flooded.said or "; ".join(ended.problems)
    return flooded
