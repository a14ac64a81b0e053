"""A person's line to the miners: messages out and in, and who has been heard lately. Nothing is believed here."""

import time
from collections.abc import Iterable

from fedcoin_cli.application.workspace.peers import Peer
from fedcoin_cli.network.transport.base import Transport
from fedcoin_cli.network.transport.p2p import P2P
from fedcoin_cli.protocol.frame import from_frame, to_frame
from fedcoin_cli.protocol.message import Ask, Message, Standing
from ledger_store.base.errors import Malformed
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair

ASK_S = 0.25
RECENT_S = 3.0


class Line:
    """Two-way connections from `key` to the miners in `peers`; asks how things stand, again and again."""

    def __init__(self, key: KeyPair, peers: Iterable[Peer]) -> None:
        self._wire: Transport = P2P(key, {peer.address: peer.messages for peer in peers}, asking=True)
        self._heard_s: dict[Address, float] = {}
        self._ask_s = 0.0
        self._standings: dict[Address, Standing] = {}

    def turn(self, timeout_ms: int) -> list[tuple[Address, Message]]:
        """Wait for messages, at most `timeout_ms`; returns (miner's address, message) in order of arrival."""
        now_s = time.monotonic()
        if now_s >= self._ask_s:
            self._ask_s = now_s + ASK_S
            self.broadcast(Ask())
        frames, _ = self._wire.poll(timeout_ms)
        return [item for item in map(self._read, frames) if item is not None]

    def ask_now(self) -> None:
        """Ask how things stand at the next turn instead of a little later."""
        self._ask_s = 0.0

    def send(self, miner: Address, message: Message) -> None:
        """To one miner; may be lost."""
        self._wire.send(miner, to_frame(message))

    def broadcast(self, message: Message) -> None:
        """To all miners; may be lost."""
        self._wire.broadcast(to_frame(message))

    def heard(self, within_s: float) -> tuple[Address, ...]:
        """The miners that said something in the last `within_s` seconds."""
        least_s = time.monotonic() - within_s
        return tuple(miner for miner, heard_s in self._heard_s.items() if heard_s >= least_s)

    def standings(self) -> dict[Address, Standing]:
        """How things stand at each miner that was heard lately."""
        return {miner: self._standings[miner] for miner in self.heard(RECENT_S) if miner in self._standings}

    @property
    def denied(self) -> tuple[Address, ...]:
        """The miners that refuse this key's connection."""
        return tuple(miner for miner, state in self._wire.peers().items() if state.denied)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def _read(self, item: tuple[Address, bytes]) -> tuple[Address, Message] | None:
        miner, frame = item
        try:
            message = from_frame(frame)
        except Malformed:
            return None
        self._heard_s[miner] = time.monotonic()
        if isinstance(message, Standing):
            self._standings[miner] = message
        return miner, message
