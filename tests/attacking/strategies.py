"""How a miner may lie about its estimate, its commits and its peers: each entry of `STRATEGIES` is one way.

Tables are falsified so that their sums follow from them, unless that is the lie. What a lie is worth to whoever tells
it lives in `gains`; which histories it is told in, in `arena`.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random

import numpy as np
from attacking.arena import Arena, Strategy
from simulated.nodes import Node

from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.learning.coalitions.walks import orders
from fedcoin_cli.learning.shapley.table import Claim, Table, TableTerms, derive, entries_of, place_of, sums_of
from fedcoin_cli.protocol.message import CommitNote, Message, RevealNote
from ledger_store.transaction import Commit, Estimate, Reveal, commit_terms

Change = Callable[[Random, bytes, Claim, TableTerms], dict[int, int]]
"""New counts for some entries of a table."""


def terms_of(arena: Arena, node: Node) -> TableTerms:
    """What the arena's tables are read against."""
    return arena.child(node)._problem(arena.task).terms


def claim_of(node: Node, rankings: int) -> Claim:
    """What identifies the node's estimate."""
    record = node.ledger.tip.state.current
    assert record is not None
    assert record.seed is not None
    return Claim(bytes.fromhex(record.seed), bytes.fromhex(node.address), rankings, exact=False)


# Tables -------------------------------------------------------------------------------------------------------------


def falsified(arena: Arena, node: Node, own: Estimate, data: bytes, change: Change) -> tuple[Estimate, bytes]:
    """The estimate of a table with some counts exchanged."""
    terms, claim = terms_of(arena, node), claim_of(node, own.rankings)
    data = exchanged(data, change(arena.rng, data, claim, terms))
    return replace(own, sums=derive(data, claim, terms)), data


def exchanged(data: bytes, counts: dict[int, int]) -> bytes:
    """A sampled table with other counts."""
    changed = bytearray(data)
    for entry, count in counts.items():
        changed[entry] = count
    return bytes(changed)


def favouring(
    friend: int, entries: Iterable[int], data: bytes, claim: Claim, terms: TableTerms, step: int = 255
) -> dict[int, int]:
    """Counts that raise `friend`: `step` images more where it is in, fewer where it is not, as far as a block goes."""
    found = {}
    for entry in entries:
        place = place_of(entry, claim, terms)
        assert place.block is not None
        most = int(terms.sizes[place.block])
        raised = data[entry] + (step if place.mask >> friend & 1 else -step)
        found[entry] = max(0, min(most, raised))
    return found


def some_counts(share: float) -> Change:
    """A share of the counts, the ends of blocks left alone: those are looked at in every table."""

    def change(rng: Random, data: bytes, claim: Claim, terms: TableTerms) -> dict[int, int]:
        between = range(2 * len(terms.sizes), entries_of(claim, terms))
        chosen = rng.sample(between, max(1, round(share * len(between))))
        return favouring(terms.clients - 1, chosen, data, claim, terms)

    return change


def ends_of_blocks(rng: Random, data: bytes, _claim: Claim, terms: TableTerms) -> dict[int, int]:
    """What all clients together are worth in one to three blocks: the one that joins last gains it, or loses it."""
    blocks = len(terms.sizes)
    chosen = rng.sample(range(blocks, 2 * blocks), rng.randint(1, 3))
    most = {entry: int(terms.sizes[entry - blocks]) for entry in chosen}
    return {entry: 0 if 2 * data[entry] > most[entry] else most[entry] for entry in chosen}


def fabricated(change: Change) -> Strategy:
    """A false table with sums that follow."""
    return Strategy(claim=lambda arena, node, own, data: falsified(arena, node, own, data, change))


def wrong_sums(arena: Arena, _node: Node, own: Estimate, data: bytes) -> tuple[Estimate, bytes]:
    """Two sums moved against each other, so that their total still fits; the table is true."""
    sums, moved = list(own.sums), own.rankings * arena.played.images // 20
    sums[-1], sums[0] = sums[-1] + moved, sums[0] - moved
    return replace(own, sums=tuple(sums)), data


# Rankings ---------------------------------------------------------------------------------------------------------


def inflated(factor: int) -> Strategy:
    """t and the sums times `factor`: the same average, that much more weight."""

    def claim(_arena: Arena, _node: Node, own: Estimate, data: bytes) -> tuple[Estimate, bytes]:
        rankings = grid_up_to(own.rankings * factor) if factor < 10**6 else own.rankings * factor
        sums = tuple(total * rankings // own.rankings for total in own.sums)
        return replace(own, rankings=rankings, sums=sums), data

    return Strategy(claim=claim)


def ground(tries: int) -> Strategy:
    """The set of rankings, of so many that are not its own, under which the friend looks best; true counts."""

    def claim(arena: Arena, node: Node, own: Estimate, _data: bytes) -> tuple[Estimate, bytes]:
        friend = arena.played.clients - 1
        walks = [
            walk(arena, node, Claim(arena.rng.randbytes(32), bytes(32), own.rankings, exact=False))
            for _ in range(tries)
        ]
        sums, data = max(walks, key=lambda walked: walked[0][friend])
        return replace(own, sums=sums), data

    return Strategy(claim=claim)


def walk(arena: Arena, node: Node, claim: Claim) -> tuple[tuple[int, ...], bytes]:
    """Sums and table of some rankings, with true counts."""
    problem = arena.child(node)._problem(arena.task)
    blocks = range(len(problem.partition))
    walked = orders(claim.seed, claim.miner_key, blocks, range(claim.rankings), problem.terms.clients)
    empty, full = problem.walker.ends()
    table = Table(empty.astype(np.uint8), full.astype(np.uint8), problem.walker.walk(blocks, walked))
    return sums_of(table, claim), table.encode()


# What is said -----------------------------------------------------------------------------------------------------


def after_the_reveals(node: Node, _to: str, message: Message) -> list[Message]:
    """It waits until others reveal, then commits to the same sums under its own name and opens that at once."""
    if not isinstance(message, RevealNote) or message.reveal.miner == node.address:
        return [message]
    return [message, *_said_late(node, message, replace(message.reveal, miner=node.address, salt=32 * "a"))]


def too_late(node: Node, _to: str, message: Message) -> list[Message]:
    """True work of its own, committed and opened only when others have revealed."""
    world = node.world
    assert isinstance(world, Arena)
    own = world.found.get(node.address)
    if not isinstance(message, RevealNote) or message.reveal.miner == node.address or own is None:
        return [message]
    return [message, *_said_late(node, message, own.opened(node.address, message.reveal.salt))]


def _said_late(node: Node, note: RevealNote, reveal: Reveal) -> list[Message]:
    node.world.count("lies after the reveals")
    genesis, place = node.world.genesis.id, (note.task, note.attempt)
    digest = reveal.commitment(*place)
    commit = Commit(node.address, digest, node.key.sign("commit", genesis, commit_terms(*place, digest)))
    signed = replace(reveal, signature=node.key.sign("reveal", genesis, reveal.terms(*place)))
    return [CommitNote(*place, commit), replace(note, reveal=signed)]


# What is said of others -------------------------------------------------------------------------------------------


def any_entry(rng: Random, entries: int) -> tuple[int, ...]:
    """A count of anybody's table, called wrong."""
    return (rng.randrange(entries),)


def no_entry(_rng: Random, _entries: int) -> tuple[int, ...]:
    """An accomplice: whatever it sees is right."""
    return ()


STRATEGIES: dict[str, Strategy] = {
    "copier": Strategy(world="copy"),
    "copier after the reveals": Strategy(say=after_the_reveals, mines=False),
    "late commit": Strategy(say=too_late, mines=False),
    "two commits": Strategy(world="two commits"),
    "withheld reveal": Strategy(world="withhold reveal"),
    "withheld table": Strategy(world="withhold table"),
    "censoring proposer": Strategy(world="censor"),
    "false frauds": Strategy(accuse=any_entry),
    "t x 100": inflated(100),
    "t x 10^9": inflated(10**9),
    "ground rankings": ground(20),
    "sums that do not follow": Strategy(claim=wrong_sums),
    "fabricated 1%": fabricated(some_counts(0.01)),
    "fabricated 5%": fabricated(some_counts(0.05)),
    "fabricated 10%": fabricated(some_counts(0.10)),
    "fabricated 20%": fabricated(some_counts(0.20)),
    "ends of blocks only": fabricated(ends_of_blocks),
}
