"""Amnesia: what a miner that lost its vote log may say again where the others wait for it (pure).

Where q = R nothing is decided without it, so it cannot wait for a height that nobody has reached. All others testify:
their own votes at their height, from logs that are whole, and those that they hold of it. From that follows where the
miner can have been, and what it can have said, at the height H that the highest of them works at:

    it was at H, or at H + 1 if it alone saw H final; there only in view 0
    it was in view v + 1 of H only if q − 1 others gave SKIP(v), or NOTAR(v) to one block
    it gave FINAL(v, X) only if q − 1 others gave NOTAR(v, X), and then no SKIP(v) and no other NOTAR(v)
    it gave NOTAR(v, X) only to what the leader of v proposed, which is one block while no other miner lies

Where it may have given FINAL(v, X) it says NOTAR(v, X): a miner that made X final notarised nothing else there. Where
it cannot have, it says SKIP(v). Either lets the others leave the view, and neither contradicts what is forgotten.
Beyond that it says nothing in any view it can have been in, but SKIP in the last one if the timer fires there: nobody
else has voted enough for a FINAL. From the next view on it takes part as ever.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from ledger_store.base.names import BlockId
from ledger_store.base.words import VoteKind
from ledger_store.block import VIEW_MAX

VoteTerms = tuple[VoteKind, int, BlockId | None]
"""A vote without its signature at a known height: kind, view, block."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A miner no longer knows what it said up to `view` of `height`: there it says what its log holds and no more.

    It is silent at all lower heights as well, and in view 0 of the next. In the last of these views it may say SKIP.
    (docs/adr/0016)
    """

    height: int
    """At which height the others worked when the log was completed."""
    view: int
    """The last view of it in which this miner can have been."""

    def silent_to(self, height: int) -> int:
        """The last view of `height` in which nothing new is said, except SKIP; −1: none."""
        if height < self.height:
            return VIEW_MAX
        if height == self.height:
            return self.view
        return 0 if height == self.height + 1 else -1


def recollect(
    quorum: int, others: Sequence[Iterable[VoteTerms]], held: Iterable[VoteTerms]
) -> tuple[list[VoteTerms], int]:
    """The votes to give anew at a height, and the last view in which the miner can have been.

    `others` are the votes of every other miner at this height, `held` those of the forgetful one that they hold.
    [P-10.31]
    """
    said, known = [set(votes) for votes in others], set(held)
    anew: list[VoteTerms] = []
    for view in count():
        notars = Counter(
            block for votes in said for kind, at, block in votes if (kind, at) == (VoteKind.NOTAR, view)
        )
        chosen = [block for block, voters in notars.items() if voters >= quorum - 1]
        own = {kind: block for kind, at, block in known if at == view}
        skips = sum((VoteKind.SKIP, view, None) in votes for votes in said)
        if not chosen and skips < quorum - 1:
            return anew, view
        vote = _safe(view, chosen, own)
        anew += [] if vote is None else [vote]
    raise AssertionError("counting never ends")


def _safe(view: int, chosen: list[BlockId | None], own: dict[VoteKind, BlockId | None]) -> VoteTerms | None:
    """The vote of a view that contradicts nothing that can have been said in it; None: there is none, or it is held."""
    final = [
        block for block in chosen if own.get(VoteKind.NOTAR, block) == block and VoteKind.SKIP not in own
    ]
    if VoteKind.FINAL not in own and not final:
        return None if VoteKind.SKIP in own else (VoteKind.SKIP, view, None)
    if len(final) == 1 and VoteKind.NOTAR not in own and own.get(VoteKind.FINAL, final[0]) == final[0]:
        return VoteKind.NOTAR, view, final[0]
    return None
