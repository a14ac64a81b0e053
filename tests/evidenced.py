"""A whole round as evidence: real files, real tables, a settled task whose every number can be recomputed.

`evidenced` makes it, honest or with one thing bent; the tables come from the float64 reference, so no engine is
needed. What is bent is bent before it is signed and certified: the miners themselves agreed to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from chains import TO_SIGN, ChainMaker, key
from rounds import CLASSES, SHAPES, SIDE, model_json

from fedcoin_cli.consensus.rankings import prefixes
from fedcoin_cli.contract.possession import held_by
from fedcoin_cli.contract.settlement import settle
from fedcoin_cli.learning.coalitions.partition import Partition, partition
from fedcoin_cli.learning.coalitions.walks import Counts, Orders
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.weights import TestSet, write_test, write_update
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.shapley.judging import CountJudge
from fedcoin_cli.learning.shapley.sampling import MiningPlan, MiningSession
from fedcoin_cli.learning.shapley.table import Claim, Place, TableTerms, derive
from fedcoin_cli.learning.task_game import load_game
from fedcoin_cli.network.files.store import Store
from ledger_store.base.canonical import encode
from ledger_store.base.names import Address
from ledger_store.transaction import FraudMark, Result, Reveal, Task, Update

IMAGES = 60

TableEdit = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Bent:
    """What is not as it should be; the second miner is the liar."""

    table: TableEdit | None = None
    sums_follow: bool = True
    sums: tuple[int, ...] = ()
    accuse: int | None = None
    terms: dict[str, Any] = field(default_factory=dict)


HONEST = Bent()


class _Right:
    """The float64 reference as a miner's walker."""

    together = 1

    def __init__(self, game: Game, blocks: Partition) -> None:
        self._judge, self._blocks = CountJudge(Reference(game), blocks), blocks
        self._full = game.full

    def _count(self, block: int, masks: Sequence[int]) -> list[int]:
        return [bound.count for bound in self._judge.intervals([Place(block, mask) for mask in masks], 1)]

    def ends(self) -> tuple[Counts, Counts]:
        ends = np.array([self._count(block, [0, self._full]) for block in range(len(self._blocks))], np.int64)
        return ends[:, 0], ends[:, 1]

    def walk(self, blocks: range, walked: Orders) -> npt.NDArray[np.uint8]:
        counts = [
            [self._count(block, prefixes(order)[:-1]) for order in orders]
            for block, orders in zip(blocks, walked.tolist(), strict=True)
        ]
        return np.array(counts, np.uint8)


@dataclass(frozen=True, slots=True)
class Evidenced:
    """The chain, the store and the task; the result stands at height 3."""

    maker: ChainMaker
    store: Store
    task: Task
    reveals: tuple[Reveal, ...]

    @property
    def liar(self) -> Reveal:
        """The second miner's reveal."""
        return next(one for one in self.reveals if one.miner == self.maker.miners[1].address)


def evidenced(folder: Path, clients: int = 4, bent: Bent = HONEST, miners: int = 2) -> Evidenced:
    """A settled round of `clients` over a store at `folder`/store."""
    maker, store = ChainMaker(miners), Store(folder / "store")
    files = _files(maker, folder, store, clients)
    task = maker.task(**(files | bent.terms))
    maker.add(task)
    record = maker.records[task.id]
    assert record.seed is not None
    game = load_game(replace(task, held=files["held"]), store.path)
    reveals = sorted(
        (
            _reveal(maker, store, task, game, number, bent if number == 1 else HONEST)
            for number in range(miners)
        ),
        key=lambda reveal: reveal.miner,
    )
    maker.add(maker.close(task, reveals))
    record = maker.records[task.id]
    liar = maker.miners[1].address if miners > 1 else Address("")
    frauds = () if bent.accuse is None else (FraudMark(liar, bent.accuse),)
    outcome = settle(record, maker.genesis, reveals, frauds)
    maker.add(Result(task.id, 1, tuple(reveals), frauds, outcome))
    return Evidenced(maker, store, task, tuple(reveals))


def _files(maker: ChainMaker, folder: Path, store: Store, clients: int) -> dict[str, Any]:
    """Round files in the store, and the task's terms that name them."""
    draw, draft = np.random.default_rng(7), folder / "draft.safetensors"
    truth = [draw.normal(size=shape).astype(np.float32) for shape in SHAPES]
    pixels = draw.random((IMAGES, SIDE, SIDE), dtype=np.float32)
    labels = draw.integers(0, CLASSES, IMAGES).astype(np.int32)
    write_test(draft, TestSet(pixels, labels))
    model, test = store.put_bytes(encode(model_json())), store.put_file(draft)
    updates, weights = [], []
    for number in range(1, clients + 1):
        weights.append([weight + draw.normal(size=weight.shape).astype(np.float32) for weight in truth])
        write_update(draft, weights[-1])
        file, client = store.put_file(draft), key(f"client-{number}")
        updates.append(Update(file, client.address, 100 * number, TO_SIGN))
    draft.unlink()
    return {
        "model": model,
        "test": test,
        "held": held_by(maker.requester.address, (store.path(model), store.path(test))),
        "updates": tuple(updates),
        "images": IMAGES,
        "difficulty_micro": 100 * 10**6,
    }


def _reveal(maker: ChainMaker, store: Store, task: Task, game: Game, number: int, bent: Bent) -> Reveal:
    record, miner = maker.records[task.id], maker.miners[number]
    seed, name = bytes.fromhex(record.seed or ""), bytes.fromhex(miner.address)
    plan = MiningPlan(seed, name, task.least_rankings, task.most_rankings, 60.0, "balanced")
    blocks = partition(game.test.labels, task.block_images, bytes.fromhex(task.id))
    terms = TableTerms(task.clients, blocks.sizes, task.empty)
    session = MiningSession(_Right(game, blocks), None, terms, plan)
    while not session.advance(60.0).finished:
        pass
    mined = session.estimate()
    table = mined.table if bent.table is None else bent.table(mined.table)
    sums = mined.sums
    if bent.sums_follow and table != mined.table:
        sums = derive(table, Claim(seed, name, mined.rankings, mined.exact), terms)
    return maker.reveal(
        task,
        1,
        miner,
        rankings=mined.rankings,
        exact=mined.exact,
        sums=_shifted(sums, bent.sums),
        table=store.put_bytes(table),
    )


def _shifted(sums: Sequence[int], shift: Sequence[int]) -> tuple[int, ...]:
    padded = (*shift, *(0,) * (len(sums) - len(shift)))
    return tuple(one + step for one, step in zip(sums, padded, strict=True))
