"""How a miner may lie about its estimate, its commits and its peers: each entry of `STRATEGIES` is one way.

Tables are falsified so that their sums follow from them, unless that is the lie. What a lie is worth to whoever tells
it lives in `gains`; which histories it is told in, in `arena`.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from attacking.arena import Arena, Estimated, Strategy
from simulated.nodes import Node

from fedcoin_cli.consensus.rankings import grid_up_to, prefixes, ranking
from fedcoin_cli.learning.mining.checking import heavy_masks
from fedcoin_cli.learning.mining.proxy import ProxyCounts
from fedcoin_cli.learning.mining.table import Claim, Table, TableTerms, decode, derive, encode_sampled
from fedcoin_cli.network.message import CommitNote, Message, RevealNote
from ledger_store.transaction import Commit, Reveal, commit_terms

Change = Callable[[Random, Table, TableTerms], dict[int, int]]
"""New counts for some masks of a table."""


def terms_of(arena: Arena) -> TableTerms:
    """What the arena's tables are read against."""
    game = arena.played.game
    return TableTerms(game.clients, game.images, game.empty, ProxyCounts.of(game))


def claim_of(node: Node, rankings: int) -> Claim:
    """What identifies the node's estimate."""
    record = node.ledger.tip.state.current
    assert record is not None
    assert record.seed is not None
    return Claim(bytes.fromhex(record.seed), bytes.fromhex(node.address), rankings, exact=False)


# Tables -------------------------------------------------------------------------------------------------------------


def falsified(
    arena: Arena, node: Node, answer: Estimated, data: bytes, change: Change
) -> tuple[Estimated, bytes]:
    """The estimate of a table with some counts exchanged."""
    terms = terms_of(arena)
    table = decode(data, terms, exact=False)
    counts = dict(zip(table.masks(), table.counts.tolist(), strict=True))
    data = encode_sampled(counts | change(arena.rng, table, terms), terms.clients)
    derived = derive(data, claim_of(node, answer.rankings), terms)
    return replace(answer, sums=derived.sums), data


def favouring(
    friend: int, masks: list[int], table: Table, terms: TableTerms, step: int = 0
) -> dict[int, int]:
    """Counts that raise `friend`: a tenth of the images (or `step`) more where it is in, fewer where it is not."""
    step, known = step or terms.images // 10, dict(zip(table.masks(), table.counts.tolist(), strict=True))
    return {
        mask: min(terms.images, known[mask] + step) if mask >> friend & 1 else max(0, known[mask] - step)
        for mask in masks
        if mask in known
    }


def some_masks(share: float) -> Change:
    """A share of the masks, heavy ones left alone: those are looked at in every table."""

    def change(rng: Random, table: Table, terms: TableTerms) -> dict[int, int]:
        masks = [mask for mask in table.masks() if mask not in heavy_masks(terms.clients)]
        chosen = rng.sample(masks, max(1, round(share * len(masks))))
        return favouring(terms.clients - 1, chosen, table, terms)

    return change


def heaviest_masks(rng: Random, table: Table, terms: TableTerms) -> dict[int, int]:
    """One to three of the heaviest only."""
    chosen = rng.sample(heavy_masks(terms.clients), rng.randint(1, 3))
    return favouring(terms.clients - 1, chosen, table, terms)


def fabricated(change: Change) -> Strategy:
    """A false table with sums that follow."""
    return Strategy(claim=lambda arena, node, answer, data: falsified(arena, node, answer, data, change))


def wrong_sums(arena: Arena, _node: Node, answer: Estimated, data: bytes) -> tuple[Estimated, bytes]:
    """Two sums moved against each other, so that their total still fits; the table is true."""
    sums, moved = list(answer.sums), answer.rankings * arena.played.images // 20
    sums[-1], sums[0] = sums[-1] + moved, sums[0] - moved
    return replace(answer, sums=tuple(sums)), data


# Rankings ---------------------------------------------------------------------------------------------------------


def inflated(factor: int) -> Strategy:
    """t and the sums times `factor`: the same average, that much more weight."""

    def claim(_arena: Arena, _node: Node, answer: Estimated, data: bytes) -> tuple[Estimated, bytes]:
        rankings = grid_up_to(answer.rankings * factor) if factor < 10**6 else answer.rankings * factor
        sums = tuple(total * rankings // answer.rankings for total in answer.sums)
        return replace(answer, rankings=rankings, sums=sums), data

    return Strategy(claim=claim)


def ground(tries: int) -> Strategy:
    """The set of rankings, of so many that are not its own, under which the friend looks best; true counts."""

    def claim(arena: Arena, _node: Node, answer: Estimated, _data: bytes) -> tuple[Estimated, bytes]:
        terms, friend = terms_of(arena), arena.played.clients - 1
        best: tuple[tuple[int, ...], dict[int, int]] | None = None
        for _ in range(tries):
            seed = arena.rng.randbytes(32)
            sums, visited = walk(arena, seed, bytes(32), answer.rankings, terms)
            if best is None or sums[friend] > best[0][friend]:
                best = sums, visited
        assert best is not None
        return replace(answer, sums=best[0]), encode_sampled(best[1], terms.clients)

    return Strategy(claim=claim)


def walk(
    arena: Arena, seed: bytes, key: bytes, rankings: int, terms: TableTerms
) -> tuple[tuple[int, ...], dict[int, int]]:
    """Sums and counts of some rankings, with true counts."""
    counts, clients = arena.played.counts, terms.clients
    visited = [prefixes(ranking(seed, key, index, clients)) for index in range(rankings)]
    masks = {mask: int(counts[mask]) for row in visited for mask in row}
    table = encode_sampled(masks, clients)
    return derive(table, Claim(seed, key, rankings, exact=False), terms).sums, masks


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
    reveal = replace(
        message.reveal, miner=node.address, rankings=own.rankings, sums=own.sums, table=own.table
    )
    return [message, *_said_late(node, message, reveal)]


def _said_late(node: Node, note: RevealNote, reveal: Reveal) -> list[Message]:
    node.world.count("lies after the reveals")
    genesis, place = node.world.genesis.id, (note.task, note.attempt)
    digest = reveal.commitment(*place)
    commit = Commit(node.address, digest, node.key.sign("commit", genesis, commit_terms(*place, digest)))
    signed = replace(reveal, signature=node.key.sign("reveal", genesis, reveal.terms(*place)))
    return [CommitNote(*place, commit), replace(note, reveal=signed)]


# What is said of others -------------------------------------------------------------------------------------------


def any_mask(rng: Random, clients: int) -> tuple[int, ...]:
    """A mask of anybody's table, called wrong."""
    return (rng.randint(1, 2**clients - 1),)


def no_mask(_rng: Random, _clients: int) -> tuple[int, ...]:
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
    "false frauds": Strategy(accuse=any_mask),
    "t x 100": inflated(100),
    "t x 10^9": inflated(10**9),
    "ground rankings": ground(20),
    "sums that do not follow": Strategy(claim=wrong_sums),
    "fabricated 1%": fabricated(some_masks(0.01)),
    "fabricated 5%": fabricated(some_masks(0.05)),
    "fabricated 10%": fabricated(some_masks(0.10)),
    "fabricated 20%": fabricated(some_masks(0.20)),
    "heaviest masks only": fabricated(heaviest_masks),
}
