"""Checks on machines to which a count is dear: no more than their time, in turns, and no lie is passed over."""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
from block_games import BlockGame, KnownReference, random_game
from chains import ChainMaker

from fedcoin_cli.learning.coalitions.walks import orders
from fedcoin_cli.learning.game.utility import Utility
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.shapley.checking import Checker
from fedcoin_cli.learning.shapley.exact_look import heavy_masks
from fedcoin_cli.learning.shapley.judging import Engines
from fedcoin_cli.learning.shapley.looking import Budget, Look, Steps
from fedcoin_cli.learning.shapley.table import Claim, Table, encode_exact
from fedcoin_cli.learning.verifications import Verifications
from fedcoin_cli.replica.jobs import TableVerified, VerifyEntry, VerifyTable
from ledger_store.transaction import Reveal

SEED, KEY = bytes(range(32)), bytes(range(32, 64))
CLAIM = Claim(SEED, KEY, 4, exact=False)
Counts = npt.NDArray[np.int64]


@dataclass
class Whole:
    """A game on a machine where a count of a block takes `count_s`, and to judge one six times as long."""

    game: BlockGame
    count_s: float = 0.03
    now: float = 0.0
    together: int = 1
    coalitions: int = 1
    batch: int = 1
    counted: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def ends(self) -> tuple[Counts, Counts]:
        return self.game.ends()

    def walk(self, blocks: range, walked: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
        masks = np.cumsum(1 << walked.astype(np.int64), axis=2)[:, :, :-1]
        for row, block in enumerate(blocks):
            self.counted += [(block, mask) for mask in masks[row].ravel().tolist()]
        self.now += self.count_s * masks.size
        return self.game.walk(blocks, walked)

    def counts(self, masks: list[int]) -> Counts:
        self.counted += [(-1, mask) for mask in masks]
        self.now += self.count_s * len(self.game.sizes) * len(masks)
        return np.asarray(self.game.counts[:, masks].sum(axis=0))


class Machine(Whole):
    """The same, whose walker counts single coalitions as well."""

    def count(self, block: int, members: npt.NDArray[np.uint8]) -> Counts:
        masks = members.astype(np.int64) @ (1 << np.arange(members.shape[1]))
        self.counted += [(block, mask) for mask in masks.tolist()]
        self.now += self.count_s * len(masks)
        return np.asarray(self.game.counts[block, masks])


@dataclass
class Judge(KnownReference):
    """What is right, by look-up, as slowly as on that machine."""

    machine: Whole

    def __post_init__(self) -> None:
        KnownReference.__init__(self, self.machine.game)

    def steps(self, masks: list[int], factor: int, totals: Counts) -> object:  # type: ignore[override]
        for block in range(len(self.machine.game.sizes)):
            for row, mask in enumerate(masks):
                self.machine.now += 6 * self.machine.count_s
                totals[row] += self.machine.game.counts[block, mask]
                yield block, row
        self.judged += [(None, mask) for mask in masks]

    def block_intervals(
        self, positions: Counts, members: npt.NDArray[np.uint8], factor: int = 1
    ) -> npt.NDArray[np.int64]:
        self.machine.now += 6 * self.machine.count_s * len(members)
        return super().block_intervals(positions, members, factor)


def checker(machine: Whole, seed: int = 0) -> Checker:
    known = Judge(machine)
    engines = Engines(lambda: machine, lambda: cast("Utility", machine))
    made = Checker(cast("Reference", known), machine.game.terms, known.partition, engines, machine)
    made._random = np.random.default_rng(seed)
    return made


def table(game: BlockGame, rankings: int = 4) -> bytearray:
    blocks = range(len(game.sizes))
    walked = game.walk(blocks, orders(SEED, KEY, blocks, range(rankings), game.clients))
    empty, full = game.ends()
    return bytearray(Table(empty.astype(np.uint8), full.astype(np.uint8), walked).encode())


# One table ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count_s", [0.01, 0.03, 0.3, 3.0])
@pytest.mark.parametrize("kind", [Machine, Whole])
def test_a_check_keeps_to_its_time(count_s: float, kind: type[Whole]) -> None:
    """Whatever a count takes: the budget, and one slice more; a ranking where the walker counts only such.

    [P-8.14] [P-8.17]
    """
    machine = kind(random_game(8, [16] * 25, seed=1), count_s)
    assert checker(machine).wrong_entries(bytes(table(machine.game)), CLAIM, 5.0) == ()
    alone = count_s if kind is Machine else 7 * count_s
    assert machine.counted
    assert machine.now <= 5.0 + max(0.4, alone) + 1e-9


def test_a_slow_machine_counts_nothing_twice() -> None:
    """A hundred rankings are looked at whole, once, and then there is nothing more to do."""
    machine = Machine(random_game(4, [16] * 25, seed=1))
    assert checker(machine).wrong_entries(bytes(table(machine.game)), CLAIM, 1e9) == ()
    assert machine.now <= 2 * 300 * machine.count_s


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_false_counts_are_found_as_often_as_draws_meet_them(share: float) -> None:
    """Of n counts that there is time for each may be the false one: with rankings of seven the same.

    By whole rankings of single blocks, as spread counts, both: what the binomial law says, less three deviations.
    """
    game, steps, trials = random_game(8, [16] * 25, seed=2), 7, 120
    for whole in (True, False):
        found, expected = 0, 0.0
        for seed in range(trials):
            draw, data = np.random.default_rng([3, seed]), table(game)
            if whole:
                chosen = draw.choice(100, round(100 * share), replace=False)
                entries = 50 + (steps * chosen[:, None] + np.arange(steps)).ravel()
            else:
                entries = 50 + draw.choice(700, round(700 * share), replace=False)
            for entry in entries.tolist():
                data[entry] = (data[entry] + 8) % 17
            machine = Machine(game, count_s=0.1)
            found += bool(checker(machine, seed).wrong_entries(bytes(data), CLAIM, 1.0))
            expected += 1 - (1 - share) ** 10
        deviation = (trials * (expected / trials) * (1 - expected / trials)) ** 0.5
        assert found >= expected - 3 * deviation


def test_a_lie_is_judged_although_the_time_is_over() -> None:
    """The one draw that there is time for is false: in float64 it takes six times as long, and is judged."""
    machine = Machine(random_game(4, [16] * 3, seed=4), count_s=2.0)
    data = table(machine.game)
    for entry in range(6, len(data)):
        data[entry] = (data[entry] + 8) % 17
    assert len(checker(machine).wrong_entries(bytes(data), CLAIM, 0.5)) == 1
    assert machine.now == pytest.approx(2.0 + 12.0)


def test_small_differences_hide_no_large_one() -> None:
    """Ends that are off by one and right within the bound are judged after the one that is off by eight."""
    game = random_game(4, [16] * 40, seed=5)
    machine, data = Machine(game, count_s=1.0), table(game)
    for block in range(40):
        data[40 + block] = max(0, min(16, data[40 + block] + (1 if data[40 + block] < 16 else -1)))
    data[40 + 33] = (int(game.counts[33, -1]) + 8) % 17
    one = checker(machine)
    slack = np.zeros_like(game.counts)
    slack[:, -1] = 1
    one._judge._reference._slack = slack  # type: ignore[attr-defined]
    assert one.wrong_entries(bytes(data), CLAIM, 5.0) == (73,)


# Exact tables ---------------------------------------------------------------------------------------------------------


def exact(game: BlockGame, **off: int) -> bytes:
    counts = np.array(game.whole[1:])
    for mask, by in off.items():
        counts[int(mask[1:]) - 1] += by
    return encode_exact(counts)


@pytest.mark.parametrize("mask", heavy_masks(4))
def test_every_heavy_coalition_is_held_against_something(mask: int) -> None:
    """With time for no interval at all the own engine counts all nine, and the one that is false is judged [P-8.15]."""
    machine = Machine(random_game(4, [16] * 25, seed=6), count_s=0.05)
    claim = Claim(SEED, KEY, 4, exact=True)
    lie = {f"m{mask}": 1 if machine.game.whole[mask] < 400 else -1}
    assert checker(machine).wrong_entries(exact(machine.game, **lie), claim, 1.0) == (mask - 1,)


def test_heavy_coalitions_are_counted_once_for_all_tables() -> None:
    """Nine coalitions on all images for three tables; an honest one takes its budget and a step of an interval."""
    machine = Machine(random_game(4, [16] * 25, seed=6), count_s=0.05)
    one, claim, before = checker(machine), Claim(SEED, KEY, 4, exact=True), 0.0
    for number in range(3):
        assert one.wrong_entries(exact(machine.game), claim, 1.0) == ()
        assert len(machine.counted) == 9
        took, before = machine.now - before, machine.now
        assert took <= 1.0 + 0.3 + (9 * 25 * 0.05 if number == 0 else 0.0) + 1e-9


def test_an_exact_table_of_who_knows_all_counts_is_checked_in_time() -> None:
    """Own counts agree: what is left is judged as long as there is time, step by step."""
    machine = Machine(random_game(4, [16] * 25, seed=6), count_s=0.05)
    claim, own = Claim(SEED, KEY, 4, exact=True), np.array(machine.game.whole[1:])
    assert checker(machine).wrong_entries(exact(machine.game), claim, 1.0, own) == ()
    assert machine.counted == []
    assert machine.now <= 1.0 + 0.3 + 1e-9


@pytest.mark.parametrize("whole", [True, False])
def test_the_own_table_costs_no_more_than_its_second(whole: bool) -> None:
    """Before the commit: commits are waited for ten seconds only, and one interval may take nearly as long."""
    machine = Machine(random_game(4, [16] * 25, seed=6), count_s=0.05)
    data = exact(machine.game) if whole else bytes(table(machine.game))
    assert checker(machine).own_errors(data, Claim(SEED, KEY, 4, exact=whole), 1.0) == ()
    assert machine.now <= 1.0 + 0.3 + 1e-9


# Several tables -------------------------------------------------------------------------------------------------------


class Waiting:
    """Checks of four miners' tables, each of which takes so many seconds, a second a step."""

    def __init__(self, budget_s: float = 3.0) -> None:
        self.now, self.done = 0.0, list[str]()
        self.checks, self._chain, self._budget_s = Verifications(), ChainMaker(5), budget_s
        self._task = self._chain.task()

    def _steps(self, seconds: int) -> Steps[tuple[int, ...]]:
        for _ in range(seconds):
            self.now += 1.0
            yield
        return ()

    def table(self, miner: int, seconds: int, attempt: int = 1) -> None:
        address = self._chain.miners[miner].address
        reveal = Reveal(address, 1, False, (0,), "00" * 32, "00" * 16, "00" * 64)  # type: ignore[arg-type]
        order = VerifyTable(self._task, attempt, "00" * 32, reveal, 3_000)
        look = Look(self._steps(seconds), Budget(self._budget_s), lambda: self.now)
        self.checks.add(
            order, look, lambda wrong: TableVerified(self._task.id, attempt, address, True, wrong)
        )

    def accusation(self, miner: int, seconds: int) -> None:
        reveal = Reveal(self._chain.miners[miner].address, 1, False, (0,), "00" * 32, "00" * 16, "00" * 64)  # type: ignore[arg-type]
        order = VerifyEntry(self._task, 1, "00" * 32, reveal, 7)
        look = Look(self._steps(seconds), Budget(0.0), lambda: self.now)
        self.checks.add(order, look, lambda _: TableVerified(self._task.id, 1, "entry", True, ()))  # type: ignore[arg-type]

    def finish(self) -> list[tuple[str, float]]:
        """Who was answered, and when."""
        found, names = [], {miner.address: str(number) for number, miner in enumerate(self._chain.miners)}
        while self.checks:
            answer = self.checks.advance()
            if isinstance(answer, TableVerified):
                found.append((names.get(answer.miner, "entry"), self.now))
        return found

    def forget(self) -> None:
        self.checks.drop(self._task.id)


def test_a_table_that_takes_long_makes_no_other_late() -> None:
    """It came first and takes a hundred seconds; three honest ones end after their own time and its budget [P-8.37]."""
    waiting = Waiting()
    waiting.table(0, 100)
    for miner in (1, 2, 3):
        waiting.table(miner, 2)
    assert waiting.finish() == [("1", 5.0), ("2", 7.0), ("3", 9.0), ("0", 106.0)]


def test_an_accusation_waits_for_tables_that_have_time() -> None:
    """A liar may accuse at once what takes long to judge: tables are done before [P-8.37]."""
    waiting = Waiting()
    waiting.accusation(1, 50)
    waiting.table(0, 2)
    waiting.table(2, 2)
    assert waiting.finish() == [("0", 2.0), ("2", 4.0), ("entry", 54.0)]


def test_late_ones_take_turns() -> None:
    """Of two that are beyond their time the one that has taken less goes on, so the short one ends first."""
    waiting = Waiting(budget_s=1.0)
    waiting.table(0, 40)
    waiting.table(1, 6)
    assert waiting.finish() == [("1", 13.0), ("0", 46.0)]


def test_what_nobody_waits_for_is_dropped() -> None:
    """A new attempt's first table ends the old one's checks; the end of a task ends all; nothing runs twice."""
    waiting = Waiting()
    waiting.table(0, 9)
    waiting.table(1, 9)
    waiting.table(1, 2, attempt=2)
    waiting.table(1, 2, attempt=2)
    assert waiting.finish() == [("1", 2.0)]
    waiting.table(0, 9)
    waiting.forget()
    assert not waiting.checks
