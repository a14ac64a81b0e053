"""Messages of the next height, which come before this one is decided here."""

from collections.abc import Iterator

from fedcoin_cli.protocol.message import Certified, Proposal, Vote
from ledger_store.base.names import Address

EARLY_A_PEER, EARLY_BODIES_A_PEER = 32, 2
Early = Proposal | Vote | Certified


class EarlyMessages:
    """Few a peer, fewer that carry blocks."""

    def __init__(self) -> None:
        # What each peer said, in its order.
        self.waiting: dict[Address, list[Early]] = {}

    def keep(self, sender: Address, message: Early) -> None:
        """For when the present height is decided; there is room for few a peer [P-11.23]."""
        waiting = self.waiting.setdefault(sender, [])
        bodies = sum(not isinstance(early, Vote) for early in waiting)
        room = isinstance(message, Vote) or bodies < EARLY_BODIES_A_PEER
        if room and len(waiting) < EARLY_A_PEER:
            waiting.append(message)

    def take(self) -> Iterator[tuple[Address, Early]]:
        """All of them, peer by peer; none is kept."""
        waiting, self.waiting = self.waiting, {}
        return ((sender, message) for sender, messages in waiting.items() for message in messages)
