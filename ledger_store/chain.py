"""A certified chain as a value: the state at the tip and the tip's certificate.

Extending it checks everything that the ledger can judge: link, certificates, fold.
"""

from dataclasses import dataclass

from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate
from ledger_store.genesis import Genesis
from ledger_store.state import State, apply, initial, refuse


@dataclass(frozen=True, slots=True)
class Tip:
    """The head of a certified chain; `certificate` is None at genesis, and where its file was lost."""

    state: State
    certificate: Certificate | None = None

    @property
    def height(self) -> int:
        """The head's height."""
        return self.state.height

    @property
    def genesis(self) -> Genesis:
        """The network's genesis."""
        return self.state.genesis


def start(genesis: Genesis) -> Tip:
    """The chain that holds genesis only."""
    return Tip(initial(genesis))


def candidate(tip: Tip, block: Block) -> State:
    """The state after `block`, whose inner certificate must certify the tip; raises `PeerFault`.

    This is what a voter checks before it votes: `block` itself is not certified yet. [P-10.10] [P-13.8]
    """
    inner = block.certificate
    if inner is not None and inner != tip.certificate:
        inner.check(tip.genesis, VoteKind.FINAL, tip.height, tip.state.head)
    refuse((inner is None) != (tip.height == 0), "only block 1 has no parent certificate")
    return apply(tip.state, block)


def extend(tip: Tip, block: Block, certificate: Certificate) -> Tip:
    """The chain with `block`, final by `certificate`; raises `PeerFault`."""
    certificate.check(tip.genesis, VoteKind.FINAL, block.height, block.id)
    return Tip(candidate(tip, block), certificate)


def replay(tip: Tip, block: Block) -> Tip:
    """The chain with the next block of the node's own file, which was checked before it was appended.

    Links and the fold are checked again, no signature; the certificate is left open. Raises `PeerFault`.
    """
    return Tip(apply(tip.state, block, trusted=True))
