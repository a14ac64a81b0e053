"""What a requester or a client may hand in: broken files, updates made to break rounding, money that is not there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from attacking.arena import Arena, Child
from attacking.games import small_game, write_game
from chains import COIN, ChainMaker, key
from fuzzing.mutations import mutated
from simulated.signatures import stub_signatures

from fedcoin_cli.contract.settlement import validate
from fedcoin_cli.learning.coalitions.partition import Partition, partition
from fedcoin_cli.learning.coalitions.walks import orders
from fedcoin_cli.learning.engines.choice import engine_for, walker_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.reference.update_admission import refused_update
from fedcoin_cli.learning.shapley.checking import Checker
from fedcoin_cli.learning.shapley.table import Claim, Table, TableTerms, encode_exact
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.replica import jobs
from ledger_store.base.errors import PeerFault
from ledger_store.base.names import Address, Digest
from ledger_store.transaction import Task, Transaction


@dataclass(slots=True)
class Handed:
    """How many were handed in, how many were refused, and what went wrong with those that were not."""

    attempts: int = 0
    refused: int = 0
    harm: int = 0
    said: str = ""


# Broken files -------------------------------------------------------------------------------------------------------


def broken_files(trials: int) -> Handed:
    """One file of a round is damaged and handed in as if it were meant: the child refuses it, or can work with it."""
    handed, rng = Handed(), Random("broken files")
    with stub_signatures(True), TemporaryDirectory() as folder:
        arena = Arena(0, 1, {})
        store, good = Store(Path(folder) / "store"), _good_files(Path(folder))
        digests = {name: store.put_bytes(data) for name, data in good.items()}
        for _ in range(trials):
            name = rng.choice(["model", "test", "client-001", "client-005"])
            digest = store.put_bytes(mutated(rng, [good[name]]))
            task = _naming(arena.task, digests | {name: digest}, rng)
            _hand_in(handed, Child(store, Address("ab" * 32)), task)
    return handed


def _good_files(folder: Path) -> dict[str, bytes]:
    paths = write_game(small_game().game, folder / "files")
    return {name: path.read_bytes() for name, path in paths.items()}


def _naming(task: Task, files: dict[str, Digest], rng: Random) -> Task:
    updates = tuple(
        replace(update, digest=Digest(files[f"client-{number:03d}"]))
        for number, update in enumerate(task.updates, 1)
    )
    nonce = f"{rng.getrandbits(128):032x}"
    return replace(
        task, nonce=nonce, model=Digest(files["model"]), test=Digest(files["test"]), updates=updates
    )


def _hand_in(handed: Handed, child: Child, task: Task) -> None:
    handed.attempts += 1
    try:
        (answer,) = child.serve(jobs.Inspect(task))
        assert isinstance(answer, jobs.Inspected)
        if answer.error is not None:
            handed.refused += 1
            return
        child.serve(jobs.Mine(task, 1, "ab" * 32, 0, task.most_rankings, True))
    except Exception as error:  # noqa: BLE001 (whatever a child dies of)
        handed.harm += 1
        handed.said = f"{type(error).__name__}: {error}"


# Updates made to break rounding --------------------------------------------------------------------------------------


def hostile_games(trials: int) -> Iterator[Game]:
    """Games in which one to three updates are huge, tiny, cancel each other, are all zero, or the same."""
    rng, played = np.random.default_rng(5), small_game(6, 200)
    for _ in range(trials):
        updates = [list(update) for update in played.game.updates]
        first, second = rng.choice(len(updates), 2, replace=False)
        scale = float(10.0 ** rng.uniform(-7, 6))
        match rng.integers(5):
            case 0:
                updates[first] = [_bounded(part * scale) for part in updates[first]]
            case 1:
                # Two that cancel but for a little: what is left is all rounding.
                large = [_bounded(part * scale * 1e3) for part in updates[first]]
                updates[first] = large
                updates[second] = [
                    (own - part).astype(np.float32) for own, part in zip(updates[second], large, strict=True)
                ]
            case 2:
                updates[first] = [np.zeros_like(part) for part in updates[first]]
            case 3:
                updates[first] = updates[second]
            case _:
                updates[first] = [np.full_like(part, min(scale, 1e6)) for part in updates[first]]
        yield replace(played.game, updates=tuple(tuple(update) for update in updates))


def _bounded(part: Any) -> Any:
    return np.clip(part, -1e6, 1e6).astype(np.float32)


def hostile_updates(trials: int) -> Handed:
    """Where a hostile game is admitted, honest miners check each other's true tables of it; harm: one is accused."""
    handed = Handed()
    for number, game in enumerate(hostile_games(trials)):
        handed.attempts += 1
        reference = Reference(game)
        if refused_update(reference, f"{number:064x}") is not None:
            handed.refused += 1
            continue
        blocks = partition(game.test.labels, 16, bytes(32))
        checker = Checker(reference, TableTerms(game.clients, blocks.sizes, game.empty), blocks)
        for claim, data in _true_tables(game, blocks):
            handed.harm += bool(checker.wrong_entries(data, claim, 600.0))
    return handed


def _true_tables(game: Game, blocks: Partition) -> Iterator[tuple[Claim, bytes]]:
    """What an honest miner reveals: of four rankings, and of all coalitions."""
    counts = engine_for(game).counts(range(1, 1 << game.clients))
    yield Claim(bytes(32), bytes(32), 4, exact=True), encode_exact(counts)
    claim = Claim(bytes(32), bytes(32), 4, exact=False)
    every, walker = range(len(blocks)), walker_for(game, blocks)
    walked = orders(claim.seed, claim.miner_key, every, range(claim.rankings), game.clients)
    empty, full = walker.ends()
    table = Table(empty.astype(np.uint8), full.astype(np.uint8), walker.walk(every, walked))
    yield claim, table.encode()


# Money that is not there ---------------------------------------------------------------------------------------------


def spent_twice(trials: int) -> Handed:
    """Blocks that spend a requester's coins twice, in one block or after each other; harm: one is valid."""
    handed, rng = Handed(), Random("spent twice")
    for _ in range(trials):
        maker = ChainMaker(4, supply_micro=rng.randint(11, 19) * COIN)
        before, block = _twice(maker, rng)
        for transaction in before:
            maker.add(transaction)
        handed.attempts += 1
        try:
            validate(maker.tip, maker.propose(*block))
            handed.harm += 1
        except PeerFault:
            handed.refused += 1
    return handed


def _twice(maker: ChainMaker, rng: Random) -> tuple[list[Transaction], list[Transaction]]:
    """What is final already, and the block that spends it again; a task costs 10 coins of fewer than 20."""
    first = maker.task()
    everything = maker.tip.state.balances[maker.requester.address]
    match rng.randrange(5):
        case 0:  # another task, paid from the escrow
            return [first], [maker.task(nonce="ab" * 16)]
        case 1:  # a transfer of what is in escrow
            return [first], [maker.transfer(maker.requester, key("thief").address, everything - 9 * COIN)]
        case 2:  # both in one block
            return [], [first, maker.transfer(maker.requester, key("thief").address, everything - 9 * COIN)]
        case 3:  # the same sequence number again
            maker.forget()
            return [first], [maker.transfer(maker.requester, key("thief").address, COIN, sequence=1)]
        case _:  # the task itself once more
            return [first], [first]
