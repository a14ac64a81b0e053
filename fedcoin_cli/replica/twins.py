"""Twins: one miner's key in two processes, noticed by those who hear both (pure).

Every process has a nonce in its STATUS. A new nonce may be a restart: the old process is then silent. When the old one
is heard again within the lease, both live, and the newer one is told to end. It believes that of more than f others,
and only with the older one's signature over the newer one's nonce: where f is 0 a single liar could end it otherwise,
and a nonce that is drawn at every start can be signed by nobody but a process that lives beside it.
(docs/adr/0017, docs/adr/0028)
"""

from dataclasses import dataclass

from fedcoin_cli.protocol.message import Beside
from ledger_store.base.names import Address, GenesisId
from ledger_store.identity.keys import KeyPair, verify

LEASE_MS = 6_000
# The old process must be heard this long after the new one began: before, it may be what was still on its way.
OVERLAP_MS = 1_500


def beside(key: KeyPair, genesis: GenesisId, nonce: str) -> Beside:
    """The word of a process with this key: it lives beside the one with another nonce, `nonce`."""
    return Beside(nonce, key.sign("beside", genesis, {"nonce": nonce}))


def is_beside(address: Address, genesis: GenesisId, said: Beside) -> bool:
    """Whether a process with the key of `address` said so [P-10.34]."""
    return verify(address, "beside", genesis, {"nonce": said.nonce}, said.signature)


@dataclass(slots=True)
class _Holder:
    """Which process speaks for an address, and which newer one claims to."""

    nonce: str
    heard_ms: int
    newer: str | None = None
    newer_since_ms: int = 0
    newer_heard_ms: int = 0


class Twins:
    """What the nonces of others tell; `own` is this process's."""

    def __init__(self, own: str, faults: int) -> None:
        self._own = own
        self._faults = faults
        self._holders: dict[Address, _Holder] = {}
        self._accusers: set[Address] = set()

    def heard(self, address: Address, nonce: str, now_ms: int) -> str | None:
        """A STATUS of a miner; the nonce that is to be told that its key is taken, if any."""
        holder = self._holders.setdefault(address, _Holder(nonce, now_ms))
        if nonce == holder.nonce:
            holder.heard_ms = now_ms
            return self._second(holder, now_ms)
        if now_ms - holder.heard_ms > LEASE_MS:
            self._holders[address] = _Holder(nonce, now_ms)
            return None
        if holder.newer != nonce:
            holder.newer, holder.newer_since_ms = nonce, now_ms
        holder.newer_heard_ms = now_ms
        return None

    def contested(self, address: Address, now_ms: int) -> bool:
        """Whether an older process may still live beside a newer one: until that is known neither is helped to vote.

        [P-10.35]
        """
        holder = self._holders.get(address)
        return holder is not None and holder.newer is not None and now_ms - holder.heard_ms <= LEASE_MS

    def accused(self, sender: Address, nonce: str) -> bool:
        """A miner proves that the process with this nonce has another beside it; whether this one has to end now.

        [P-10.34]
        """
        if nonce == self._own:
            self._accusers.add(sender)
        return len(self._accusers) > self._faults

    @staticmethod
    def _second(holder: _Holder, now_ms: int) -> str | None:
        """The newer process, when it spoke within the lease and the older one speaks on beside it."""
        beside = now_ms - holder.newer_since_ms >= OVERLAP_MS and now_ms - holder.newer_heard_ms <= LEASE_MS
        return holder.newer if beside else None
