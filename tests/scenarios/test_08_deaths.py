"""Scenario 8: the leader of the next height dies, or two in a row do; the winner dies before it is paid."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from scenarios.heights import HOUR_MS, history, start
from scenarios.rows import Row
from simulated.nodes import Node
from simulated.world import Faults, World

from fedcoin_cli.protocol.message import Message, RevealNote
from ledger_store.base.names import Address
from ledger_store.transaction import Result

SAMPLE_SEEDS, RELEASE_SEEDS = 2, 100
PROCESSES = 2
# In force after the death: so many heights are looked at.
HEIGHTS = 8
DELAY_MS = (1, 50)


@dataclass(frozen=True, slots=True)
class Led:
    """Deaths of leaders: at how many heights one was due that is dead, and the highest view that decided one."""

    problems: tuple[str, ...]
    heights: int
    within: int


def leaders_die(seed: int, miners: int, dead: int) -> Led:
    """So many neighbours in the roster die for good; every height after that is decided in time."""
    views: list[tuple[int, int]] = []

    def live(world: World) -> None:
        heights = start(world)
        world.run_until(world.now + 3_000 + 400 * seed, lambda: False)
        first = seed % miners
        for offset in range(dead):
            node = world.nodes[(first + offset) % miners]
            node.dead = True
            node.die()
        before = max(node.ledger.tip.height for node in world.nodes)
        world.run_until(HOUR_MS, lambda: len(heights.at_ms) > before + 1 + HEIGHTS)
        heights.asking = False
        world.run_until(world.now + HOUR_MS, world.converged)
        gone = {(first + offset) % miners for offset in range(dead)}
        decided = heights.blocks[before + 1 : before + 2 + HEIGHTS]
        for block, following in pairwise(decided):
            assert following.certificate is not None
            needed = next(view for view in range(miners) if (block.height + view) % miners not in gone)
            views.append((following.certificate.view, needed))

    problems = history(seed, miners, Faults(delay_ms=DELAY_MS), live)
    led = [view for view, needed in views if needed]
    in_time = sum(view <= needed for view, needed in views if needed)
    return Led(tuple(problems), len(led), in_time)


@dataclass(frozen=True, slots=True)
class Won:
    """A miner that died once its reveal was out: whether it won, and whether it was paid."""

    problems: tuple[str, ...]
    won: bool
    paid: bool


def winner_dies(seed: int, victim: int, miners: int = 4) -> Won:
    """The victim dies for good as soon as others have its reveal; the task ends without it."""
    results: list[Result] = []

    def live(world: World) -> None:
        node = world.nodes[victim]
        _die_after_reveal(world, node)
        for each in world.nodes:
            each.revive()
        task = world.clients.task(0, 1)
        world.after(100, partial(world.clients.submit, task))
        world.run_until(HOUR_MS, lambda: bool(world.clients.wanted) and node.dead and world.converged())
        results.extend(
            transaction
            for block in world.witness.blocks.values()
            for transaction in block.transactions
            if isinstance(transaction, Result)
        )
        results[:] = [result for result in results if task.shapley_micro]

    address: list[Address] = []

    def live_and_tell(world: World) -> None:
        address.append(world.nodes[victim].address)
        live(world)

    problems = history(seed, miners, Faults(delay_ms=DELAY_MS), live_and_tell)
    won = [result for result in results if result.outcome.winner == address[0]]
    paid = all(dict(result.outcome.pay.miners).get(address[0], 0) > 0 for result in won)
    return Won(tuple(problems), bool(won), bool(won) and paid)


def _die_after_reveal(world: World, victim: Node) -> None:
    right = world.witness.sent

    def sent(node: Node, message: Message) -> None:
        right(node, message)
        own = isinstance(message, RevealNote) and message.reveal.miner == victim.address
        if node is victim and own and not victim.dead:
            victim.dead = True
            world.after(DELAY_MS[1], victim.die)

    world.witness.sent = sent  # type: ignore[method-assign]  # it looks for us, too


def leaders(seeds: int) -> dict[int, list[Led]]:
    """One dead at R = 4, 5, 6; two in a row at R = 7, where two may be missing."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        jobs = {
            dead: [
                pool.submit(leaders_die, seed, miners, dead)
                for seed in range(seeds * 4)
                for miners in rosters
            ]
            for dead, rosters in ((1, (4, 5, 6)), (2, (7,)))
        }
        return {dead: [job.result() for job in several] for dead, several in jobs.items()}


def winners(seeds: int) -> list[Won]:
    """Each of four miners in turn, in each seed."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        jobs = [pool.submit(winner_dies, seed, victim) for seed in range(seeds * 4) for victim in range(4)]
        return [job.result() for job in jobs]


def test_a_dead_leader_costs_one_view_and_two_cost_two() -> None:
    """Every height whose leader is dead is decided in the first view whose leader lives."""
    for dead, outcomes in leaders(SAMPLE_SEEDS).items():
        assert [led.problems for led in outcomes if led.problems] == [], dead
        assert sum(led.heights for led in outcomes) >= HEIGHTS, dead
        assert [led for led in outcomes if led.within != led.heights] == [], dead


def test_a_dead_winner_is_paid() -> None:
    """A miner that dies once its reveal is out wins as often as others, and is paid whenever it does."""
    outcomes = winners(SAMPLE_SEEDS)
    assert [won.problems for won in outcomes if won.problems] == []
    assert any(won.won for won in outcomes)
    assert [won for won in outcomes if won.won and not won.paid] == []


def measure(*, full: bool) -> list[Row]:
    """Leaders, then winners."""
    seeds = RELEASE_SEEDS if full else SAMPLE_SEEDS
    rows = []
    for dead, outcomes in leaders(seeds).items():
        heights, within = sum(led.heights for led in outcomes), sum(led.within for led in outcomes)
        problems = sum(bool(led.problems) for led in outcomes)
        rows.append(
            Row(
                "the leader dies" if dead == 1 else "two leaders in a row die",
                f"{len(outcomes)} histories, {heights} heights whose leader is dead, simulated",
                f"final by view {dead} in 100 %",
                f"{within} of {heights}; {problems} histories with any problem",
                within == heights and not problems,
            )
        )
    outcomes_won = winners(seeds)
    won = sum(each.won for each in outcomes_won)
    paid = sum(each.paid for each in outcomes_won)
    problems = sum(bool(each.problems) for each in outcomes_won)
    rows.append(
        Row(
            "the winner dies",
            f"{len(outcomes_won)} deaths for good right after the reveal, R = 4, simulated",
            "the winner is still paid",
            f"{won} of the dead won, {paid} of them paid; {problems} histories with any problem",
            won == paid and not problems and won > 0,
        )
    )
    return rows
