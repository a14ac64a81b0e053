"""A whole round as evidence: real files, real tables, a settled task whose every number can be recomputed.

`evidenced` makes it, honest or with one thing bent; the tables come from the float64 reference, so no engine is
needed. What is bent is bent before it is signed and certified: the miners themselves agreed to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from chains import TO_SIGN, ChainMaker, key
from rounds import CLASSES, SHAPES, SIDE, model_json

from fedcoin_cli.consensus.estimate import ProxySums
from fedcoin_cli.contract.settlement import settle
from fedcoin_cli.learning.mining.game import Game
from fedcoin_cli.learning.mining.proxy import ProxyCounts, make_proxy, proxy_sums
from fedcoin_cli.learning.mining.reference import Reference
from fedcoin_cli.learning.mining.sampling import Plan, Session
from fedcoin_cli.learning.mining.table import Claim, TableTerms, derive
from fedcoin_cli.learning.mining.task_game import load_game
from fedcoin_cli.learning.weights import TestSet, write_proxy, write_test, write_update
from fedcoin_cli.network.store import Store
from ledger_store.canonical import encode
from ledger_store.transaction import FraudMark, Result, Reveal, Task, Update

IMAGES = 60

TableEdit = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Bent:
    """What is not as it should be; the second miner is the liar."""

    table: TableEdit | None = None
    sums_follow: bool = True
    sums: tuple[int, ...] = ()
    proxy: tuple[int, ...] = ()
    accuse: int | None = None
    terms: dict[str, Any] = field(default_factory=dict)


HONEST = Bent()


class _Right:
    """The float64 reference as a miner's engine."""

    batch = 64

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def counts(self, masks: Sequence[int]) -> npt.NDArray[np.int64]:
        return np.array([interval.count for interval in self._reference.intervals(masks)], np.int64)


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
    task = maker.task(**(_files(folder, store, maker, clients) | bent.terms))
    maker.add(task)
    record = maker.records[task.id]
    assert record.seed is not None
    game = load_game(task, store.path)
    proxy = ProxyCounts.of(game)
    terms = TableTerms(clients, task.images, task.empty, proxy)
    assert proxy is not None
    public, denominator = proxy_sums(proxy, bytes.fromhex(record.seed), task.empty)
    reveals = sorted(
        (
            _reveal(maker, store, task, game, terms, number, bent if number == 1 else HONEST)
            for number in range(miners)
        ),
        key=lambda reveal: reveal.miner,
    )
    maker.add(maker.close(task, reveals))
    record = maker.records[task.id]
    sums = ProxySums(_shifted(public, bent.proxy), denominator)
    liar = maker.miners[1].address if miners > 1 else ""
    frauds = () if bent.accuse is None else (FraudMark(liar, bent.accuse),)
    outcome = settle(record, maker.genesis, reveals, frauds, sums)
    maker.add(Result(task.id, 1, tuple(reveals), frauds, sums.sums, sums.denominator, outcome))
    return Evidenced(maker, store, task, tuple(reveals))


def _files(folder: Path, store: Store, maker: ChainMaker, clients: int) -> dict[str, Any]:
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
    plain = maker.task(model=model, test=test, updates=tuple(updates), images=IMAGES)
    maker.forget()
    write_proxy(draft, make_proxy(load_game(plain, store.path)))
    proxy = store.put_file(draft)
    draft.unlink()
    return {"model": model, "test": test, "proxy": proxy, "updates": tuple(updates)} | {
        "images": IMAGES,
        "difficulty_micro": 100 * 10**6,
    }


def _reveal(
    maker: ChainMaker, store: Store, task: Task, game: Game, terms: TableTerms, number: int, bent: Bent
) -> Reveal:
    record, miner = maker.records[task.id], maker.miners[number]
    seed, name = bytes.fromhex(record.seed or ""), bytes.fromhex(miner.address)
    plan = Plan(seed, name, task.least_rankings, task.most_rankings, 60.0, "balanced")
    session = Session(_Right(Reference(game)), terms, plan)
    while not session.advance(60.0).finished:
        pass
    mined = session.estimate()
    table = mined.table if bent.table is None else bent.table(mined.table)
    sums, values = mined.sums, mined.values
    if bent.sums_follow and table != mined.table:
        derived = derive(table, Claim(seed, name, mined.rankings, mined.exact), terms)
        sums, values = derived.sums, derived.values
    return maker.reveal(
        task,
        1,
        miner,
        rankings=mined.rankings,
        exact=mined.exact,
        sums=_shifted(sums, bent.sums),
        values=values,
        table=store.put_bytes(table),
    )


def _shifted(sums: Sequence[int], shift: Sequence[int]) -> tuple[int, ...]:
    padded = (*shift, *(0,) * (len(sums) - len(shift)))
    return tuple(one + step for one, step in zip(sums, padded, strict=True))
