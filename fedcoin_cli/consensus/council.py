"""Who decides and how they sign: the roster's size, the quorum, the order of leaders, the length of a view (pure)."""

from dataclasses import dataclass
from typing import Protocol

from ledger_store.base.names import MinerIndex

TIMEOUT_MAX_MS = 100_000
VALIDATION_MS = 1_000


class Signer(Protocol):
    """Signatures of this miner and of the roster; stubs in most simulations, Ed25519 otherwise."""

    def sign(self, kind: str, terms: dict[str, object]) -> str:
        """This miner's signature."""
        ...

    def verify(self, miner: MinerIndex, kind: str, terms: dict[str, object], signature: str) -> bool:
        """Whether roster[miner] signed."""
        ...


@dataclass(frozen=True, slots=True)
class Council:
    """Who decides: R miners, this one's index, the quorum, the bound on message delay."""

    miners: int
    """R."""
    me: MinerIndex
    """This miner's roster index."""
    delta_ms: int
    """The network's message delay in milliseconds."""
    quorum: int
    """q votes make a certificate."""
    faults: int
    """f: more equal votes than that hold an honest one."""
    validation_ms: int = VALIDATION_MS
    """What a view allows for judging a block, in milliseconds."""

    def leader(self, height: int, view: int) -> MinerIndex:
        """Roster order, nobody else: a leader derived from a block id could be ground [P-10.1]."""
        return MinerIndex((height + view) % self.miners)

    def timeout_ms(self, view: int) -> int:
        """T_v: how long a view lasts at most."""
        return timeout_ms(self.delta_ms, view, self.validation_ms)


def timeout_ms(delta_ms: int, view: int, validation_ms: int = VALIDATION_MS) -> int:
    """T_v = min(100 s, T0 · 1.5^v), T0 = 4Δ + the time that validation takes [P-10.17]."""
    start = 4 * delta_ms + validation_ms
    return min(TIMEOUT_MAX_MS, start * 3**view // 2**view) if view < 40 else TIMEOUT_MAX_MS
