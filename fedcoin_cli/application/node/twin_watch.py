"""Two processes of one key, as a node hears and tells of them: the machine is `twins`, here are its messages."""

from fedcoin_cli.network.transport.base import Transport
from fedcoin_cli.protocol.frame import to_frame
from fedcoin_cli.protocol.message import Beside, Message, Recall, Status, Taken, rank
from fedcoin_cli.replica.twins import Twins, beside, is_beside
from ledger_store.base.errors import KeyFailure
from ledger_store.base.names import Address
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import KeyPair


class TwinWatch:
    """What every process does about twins, its own and others'; `nonce` was drawn for this process."""

    def __init__(self, key: KeyPair, genesis: Genesis, nonce: str, p2p: Transport, where: str) -> None:
        # Signs that this process lives beside another.
        self._key = key
        # The network: only miners are heard.
        self._genesis = genesis
        # Drawn for this process: two processes of one key have two.
        self._nonce = nonce
        # The message channel.
        self._p2p = p2p
        # Which key file it is about, for people.
        self._where = where
        # What tells two processes of one key apart.
        self._twins = Twins(nonce, genesis.faults)

    def admits(self, sender: Address, message: Message, now_ms: int) -> bool:
        """Take what a message says of twins; False: nobody here may hear it."""
        if sender not in self._genesis.roster:
            return True
        match message:
            case Status():
                self._meet(sender, message.nonce, now_ms)
            case Recall() if self._is_contested(sender, now_ms):
                return False  # whoever of the two came second must not vote
            case Taken() if message.nonce != self._nonce:
                said = beside(self._key, self._genesis.id, message.nonce)
                self._p2p.send(sender, to_frame(said), rank(said))
            case Beside():
                self._hear_beside(sender, message, now_ms)
        return True

    def _is_contested(self, sender: Address, now_ms: int) -> bool:
        return self._twins.contested(sender, now_ms) and self._p2p.inbound(sender) > 1

    def _meet(self, sender: Address, nonce: str, now_ms: int) -> None:
        """A heartbeat: if two processes speak with one key, tell both which came second."""
        second = self._twins.heard(sender, nonce, now_ms)
        if second is not None:
            self._p2p.answer_each(sender, to_frame(Taken(second)))

    def _hear_beside(self, sender: Address, said: Beside, now_ms: int) -> None:
        """Of the own nonce, that another process holds this key; of another's, for that one to know."""
        if said.nonce != self._nonce:
            if self._twins.contested(sender, now_ms) and is_beside(sender, self._genesis.id, said):
                self._p2p.answer_each(sender, to_frame(said))
            return
        if is_beside(self._key.address, self._genesis.id, said) and self._twins.accused(sender, said.nonce):
            hint = "one process a key: stop the other one, wherever it runs, or leave this one off"
            raise KeyFailure("another process already mines with this key", where=self._where, hint=hint)
