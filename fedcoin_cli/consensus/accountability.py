"""Accountability: from what miners signed to proofs of guilt (pure).

A fork takes two FINAL quorums at one height, so at least 2q − R miners broke a rule. Each rule here is one that an
honest miner keeps within a single view, whatever it hears, through crashes and restarts. Two signatures of one miner
that break it are a proof that anybody can check with the genesis alone:

    NOTAR for two blocks, or FINAL for two        a miner votes once a view
    FINAL and SKIP                                who has said FINAL never lets the view pass, and the other way round
    FINAL and NOTAR for different blocks          who has chosen a block makes no other final in that view

Why these suffice. Let FINAL(v, X) and FINAL(w, Y) be quorums, v ≤ w. For v = w the quorums overlap in 2q − R miners.
Else take the lowest view u > v with a notarisation of some Y ≠ X. While fewer than q miners lie, one of its voters is
honest and held its justification: Y notarised in some view x < u, by the choice of u not above v, and skip
certificates of all views between. For x < v a skip certificate of v overlaps the FINAL quorum, for x = v the
notarisation of Y does: again 2q − R miners each. So the evidence of all honest miners names that many; that of some
may name fewer. What no rule forbids is never held against anybody: a FINAL in one view and a vote for another block
in a later view may well be honest. (docs/adr/0015)
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from fedcoin_cli.protocol.message import Certified, Vote
from ledger_store.base.names import MinerIndex
from ledger_store.base.words import VoteKind
from ledger_store.block import vote_terms
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import verify


@dataclass(frozen=True, slots=True)
class Guilt:
    """Two signed votes of roster[`index`] that no honest miner gives both of."""

    index: MinerIndex
    votes: tuple[Vote, Vote]

    @property
    def charge(self) -> str:
        """What the two votes are, in words."""
        one, other = self.votes
        kinds = (
            f"two {one.kind.upper()}s"
            if one.kind == other.kind
            else f"{one.kind.upper()} and {other.kind.upper()}"
        )
        blocks = "" if None in (one.block, other.block) else " for different blocks"
        return f"{kinds}{blocks} in view {one.view} of height {one.height}"


def guilty(genesis: Genesis, said: Iterable[Vote | Certified]) -> tuple[Guilt, ...]:
    """Who broke a rule, one proof each, by roster index; what is not rightly signed counts for nothing [P-10.33]."""
    found: dict[MinerIndex, Guilt] = {}
    for (voter, _, _), votes in _by_view(vote for vote in votes_in(said) if vote.voter < len(genesis.roster)):
        proof = None if voter in found else _contradiction(genesis, votes)
        if proof is not None:
            found[voter] = Guilt(voter, proof)
    return tuple(found.values())


def contradictions(said: Iterable[Vote | Certified]) -> dict[MinerIndex, tuple[Vote, Vote]]:
    """A first pair of votes of everybody who contradicts himself, by roster index; signatures were checked before."""
    found: dict[MinerIndex, tuple[Vote, Vote]] = {}
    for (voter, _, _), votes in _by_view(votes_in(said)):
        pair = next((pair for pair in combinations(votes, 2) if _exclude(*pair)), None)
        if pair is not None:
            found.setdefault(voter, pair)
    return found


def _by_view(votes: Iterable[Vote]) -> list[tuple[tuple[MinerIndex, int, int], list[Vote]]]:
    """Different votes by (voter, height, view), in this order."""
    places: dict[tuple[MinerIndex, int, int], dict[Vote, None]] = {}
    for vote in votes:
        places.setdefault((vote.voter, vote.height, vote.view), {})[vote] = None
    return [(place, list(places[place])) for place in sorted(places)]


def votes_in(said: Iterable[Vote | Certified]) -> Iterator[Vote]:
    """Every single vote, those inside certificates too."""
    for one in said:
        if isinstance(one, Vote):
            yield one
        else:
            yield from one.single_votes()


def least_culprits(genesis: Genesis) -> int:
    """2q − R: how many miners at least must have lied for two blocks of one height to become final."""
    return 2 * genesis.quorum - len(genesis.roster)


def _contradiction(genesis: Genesis, votes: list[Vote]) -> tuple[Vote, Vote] | None:
    """Two votes of one miner in one view that exclude each other, both rightly signed."""
    for one, other in combinations(votes, 2):
        if _exclude(one, other) and _signed(genesis, one) and _signed(genesis, other):
            return one, other
    return None


# Rule [P-10.33].
def _exclude(one: Vote, other: Vote) -> bool:
    kinds = {one.kind, other.kind}
    if VoteKind.SKIP in kinds:
        return VoteKind.FINAL in kinds
    return one.block != other.block


def _signed(genesis: Genesis, vote: Vote) -> bool:
    terms = vote_terms(vote.height, vote.view, vote.block)
    return verify(genesis.roster[vote.voter], vote.kind, genesis.id, terms, vote.signature)
