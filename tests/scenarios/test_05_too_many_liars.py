"""Scenario 5: more than f liars. Forks do happen then; each is detected, its culprits are named, nobody else is.

The liars are twins that collude: each key runs twice, once for each half of the honest miners, with a wall between the
halves that leaks now and then. What is judged is what honest miners kept: their ledgers and evidence files.
"""

import multiprocessing
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import simulator
from scenarios.rows import Row
from simulated.nodes import Node
from simulated.signatures import stub_signatures
from simulated.world import Faults, World

from fedcoin_cli.application.books.comparison import compare
from fedcoin_cli.application.books.equivocations import keep_evidence
from fedcoin_cli.application.books.forks import Fork, judge, read_proof, write_proof
from fedcoin_cli.consensus.accountability import Guilt, guilty
from fedcoin_cli.protocol.message import Certified, Message, Vote
from ledger_store.base.canonical import encode
from ledger_store.base.errors import LedgerInvalid
from ledger_store.base.names import Address
from ledger_store.base.words import VoteKind
from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME, TipRecord

MINERS = (4, 5, 6, 7)
SAMPLE_SEEDS, RELEASE_SEEDS = 12, 1_000
SAMPLE_HONEST, RELEASE_HONEST = 28, 4_000
PROCESSES = 2
DIVIDED_MS, AFTER_MS = 40_000, 30_000


def liars_of(miners: int, rng: random.Random) -> int:
    """How many lie: enough for a fork, 2q − R, and fewer than q."""
    quorum = 2 * miners // 3 + 1
    return rng.randint(2 * quorum - miners, min(quorum - 1, miners - 2))


class Divided(World):
    """Honest miners in two halves with a leaking wall between them; every liar has a twin in each half."""

    def __init__(self, seed: int, miners: int, *, real: bool) -> None:
        rng = random.Random(f"divided {seed}")
        liars = liars_of(miners, rng)
        faults = Faults(
            loss=rng.choice((0.0, 0.0, 0.05)),
            delay_ms=rng.choice(((1, 20), (5, 80), (20, 400))),
            crash_every_ms=rng.choice((0, 0, 10_000)),
            behaviours=("twin",) * liars,
        )
        super().__init__(seed, miners, faults, real)
        self.leak = rng.choice((0.0, 0.02, 0.1, 0.3))
        self.evidence: dict[tuple[int, int], dict[Vote | Certified, None]] = {}
        self._half: dict[int, int] = {}
        honest = [node for node in self.nodes if node.behaviour is None]
        rng.shuffle(honest)
        cut = rng.randint(1, len(honest) - 1)
        for place, node in enumerate(honest):
            self._half[id(node)] = int(place >= cut)
        for twins in self._at_address.values():
            for half, node in enumerate(twins if len(twins) == 2 else ()):
                self._half[id(node)] = half
        for node in self.everybody:
            _endure(node)
        for node in honest:
            node.keep_evidence = partial(self._keep, node)  # type: ignore[method-assign]  # as files would

    @property
    def honest_nodes(self) -> list[Node]:
        return [node for node in self.nodes if node.behaviour is None]

    def _keep(self, node: Node, height: int, said: Sequence[Vote | Certified]) -> None:
        self.evidence.setdefault((node.index, height), {}).update(dict.fromkeys(said))

    def transmit(self, sender: Node, to: Address, message: Message) -> None:
        """Within a half; what leaks is what honest miners say to honest miners."""
        for node in self._at_address.get(to, ()):
            apart = self._half[id(node)] != self._half[id(sender)]
            leaks = sender.behaviour is None and node.behaviour is None and self.rng.random() < self.leak
            if (apart and not leaks) or self.rng.random() < self.faults.loss:
                continue
            delay = self.rng.randint(*self.faults.delay_ms)
            self.after(delay, partial(node.deliver, sender.address, message))

    def appended(self, node: Node, block: Any) -> None:
        """Here forks are no failure of the test; accounts insist all the same."""


def _endure(node: Node) -> None:
    """A miner that finds a final block invalid ends; the world goes on."""
    right = node.enter

    def enter(event: Any) -> None:
        try:
            right(event)
        except LedgerInvalid:
            node.replica, node.dead = None, True

    node.enter = enter  # type: ignore[method-assign]  # what a process does: it ends


@dataclass
class Judged:
    """What came of one history of liars, or of several."""

    histories: int = 0
    forks: int = 0
    incomplete: list[str] = field(default_factory=list)
    accused: list[Address] = field(default_factory=list)
    culprits: Counter[int] = field(default_factory=Counter)
    later: int = 0

    def add(self, other: "Judged") -> None:
        self.histories += other.histories
        self.forks += other.forks
        self.incomplete += other.incomplete
        self.accused += other.accused
        self.culprits += other.culprits
        self.later += other.later


def divided(seed: int, miners: int, *, real: bool = False) -> Divided:
    """Transfers in both halves while they are apart; then nobody lies to half of them and the wall is gone."""
    world = Divided(seed, miners, real=real)
    for node in world.everybody:
        world.after(world.rng.randint(0, 500), node.revive)
    for client in (2, 3):
        for sequence in (1, 2):
            delay = world.rng.randint(500, 8_000) + 8_000 * sequence
            world.after(delay, partial(_pay, world, client, sequence))
    world.start_faults(DIVIDED_MS)
    world.run_until(DIVIDED_MS, lambda: False)
    world.leak = 1.0
    world.faults = replace(world.faults, crash_every_ms=0)
    for node in world.everybody:
        node.crash_at = None
        node.revive()
    world.run_until(DIVIDED_MS + AFTER_MS, lambda: False)
    return world


def _pay(world: Divided, client: int, sequence: int) -> None:
    world.clients.submit(world.clients.transfer(client, sequence))


def judge_history(seed: int, miners: int) -> Judged:
    """One history: is there a fork, who is named, is anybody honest named?"""
    with stub_signatures(True):
        world = divided(seed, miners)
        found = Judged(histories=1)
        everything = [said for kept in world.evidence.values() for said in kept]
        named = {guilt.index for guilt in guilty(world.genesis, everything)}
        fork = fork_of(world)
        if fork is not None:
            found.forks = 1
            found.later = int(fork.finals[0].certificate.view != fork.finals[1].certificate.view)
            found.culprits[len(fork.culprits)] += 1
            named |= {guilt.index for guilt in fork.culprits}
            if not fork.complete:
                found.incomplete.append(f"seed {seed}, R = {miners}: {len(fork.culprits)} of {fork.least}")
        honest = {node.index for node in world.honest_nodes} & named
        if honest:
            found.accused.append(Address(f"seed {seed}, R = {miners}: {sorted(honest)}"))
        return found


def fork_of(world: Divided) -> Fork | None:
    """The first height at which two honest ledgers differ, judged by all that honest miners kept of it."""
    for height in range(1, 1 + max(node.ledger.tip.height for node in world.honest_nodes)):
        finals = {}
        for node in world.honest_nodes:
            if node.ledger.tip.height >= height:
                certificate, block = node.ledger.certificate_of(height), node.ledger.block(height)
                if certificate is not None:
                    certificate.check(world.genesis, VoteKind.FINAL, height, block.id)
                    finals[block.id] = Certified(VoteKind.FINAL, height, block.id, certificate, None)
        if len(finals) > 1:
            one, other, *_ = finals.values()
            said = [s for (_, at), kept in world.evidence.items() if at == height for s in kept]
            return judge(world.genesis, (one, other), said)
    return None


def judge_many(seeds: int, start: int = 0) -> Judged:
    """So many histories for each R, on several cores."""
    context = multiprocessing.get_context("fork")
    total = Judged()
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        jobs = [
            pool.submit(judge_history, seed, miners)
            for seed in range(start, start + seeds)
            for miners in MINERS
        ]
        for job in jobs:
            total.add(job.result())
    return total


def test_every_fork_names_its_culprits_and_nobody_else() -> None:
    """Colluding twins fork honest miners: each fork names at least 2q − R of them, no honest miner is ever named."""
    found = judge_many(SAMPLE_SEEDS)
    assert found.forks >= found.histories // 4, "too few forks for this to prove anything"
    assert found.later, "no fork across views"
    assert found.incomplete == []
    assert found.accused == []


def test_without_evidence_files_some_culprits_cannot_be_named() -> None:
    """The certificates in the ledgers alone do not name enough where the fork went across views."""
    with stub_signatures(True):
        worlds = [divided(seed, 4) for seed in range(6)]
        named = []
        for world in worlds:
            world.evidence.clear()
            fork = fork_of(world)
            if fork is not None and fork.finals[0].certificate.view != fork.finals[1].certificate.view:
                named.append(len(fork.culprits))
    assert named
    assert not any(named)


@pytest.mark.parametrize("miners", MINERS)
def test_a_fork_from_files_with_real_signatures(tmp_path: Path, miners: int) -> None:
    """Ledgers and evidence on a disk: `compare` finds the fork and its culprits, and their proof stands alone."""
    world = next(world for seed in range(100) if fork_of(world := divided(seed, miners, real=True)))
    fork = fork_of(world)
    assert fork is not None
    folders = [_write(world, node, tmp_path / str(node.index)) for node in world.honest_nodes]
    here = next(
        node for node in world.honest_nodes if node.ledger.block(fork.height).id == fork.finals[0].block
    )
    there = next(
        node for node in world.honest_nodes if node.ledger.block(fork.height).id == fork.finals[1].block
    )
    for folder in folders:
        for path in sorted((folder / "evidence").glob("*.jsonl")):
            said = list(world.evidence[int(folder.name), int(path.stem)])
            keep_evidence(tmp_path / str(here.index) / "evidence", int(path.stem), said)
    found = compare(tmp_path / str(here.index), tmp_path / str(there.index))
    assert found.relation == "fork"
    assert found.common == fork.height - 1
    assert found.fork is not None
    assert found.fork.complete
    assert {guilt.index for guilt in found.fork.culprits} == {guilt.index for guilt in fork.culprits}
    write_proof(tmp_path / "proof", world.genesis, found.fork)
    genesis, again = read_proof((tmp_path / "proof").read_bytes(), "proof")
    assert genesis == world.genesis
    assert again.culprits == found.fork.culprits


def _write(world: Divided, node: Node, folder: Path) -> Path:
    """A miner's folder with ledger, tip file and evidence."""
    folder.mkdir()
    lines = [encode(world.genesis.to_json()), *node.ledger.lines]
    (folder / CHAIN_NAME).write_bytes(b"".join(line + b"\n" for line in lines))
    certificate = node.ledger.tip.certificate
    assert certificate is not None
    record = TipRecord(node.ledger.tip.height, node.ledger.tip.state.head, certificate)
    (folder / TIP_NAME).write_bytes(encode(record.to_json()) + b"\n")
    for (index, height), said in world.evidence.items():
        if index == node.index:
            keep_evidence(folder / "evidence", height, said)
    return folder


# Nobody honest ------------------------------------------------------------------------------------------------------


def accused_in(seed: int) -> tuple[list[str], int]:
    """One history of everything that may happen to at most f faulty miners: honest ones named, votes looked at."""
    said: dict[Vote | Certified, None] = {}
    honest: set[int] = set()

    def live(world: World) -> None:
        right = world.transmit

        def listen(sender: Node, to: Address, message: Message) -> None:
            if isinstance(message, Vote | Certified):
                said[replace(message, body=None) if isinstance(message, Certified) else message] = None
            right(sender, to, message)

        world.transmit = listen  # type: ignore[method-assign]  # a tap on the wire

        def keep(_: int, proofs: list[Vote | Certified]) -> None:
            said.update(dict.fromkeys(proofs))

        for node in world.everybody:
            node.keep_evidence = keep  # type: ignore[assignment]  # as files would
        simulator.trouble_and_calm(world)
        honest.update(node.index for node in world.nodes if node.truthful)
        named.extend(guilty(world.genesis, said))

    named: list[Guilt] = []
    simulator.run(seed, live=live)
    return [f"seed {seed}: {guilt.charge}" for guilt in named if guilt.index in honest], len(said)


def accused_in_many(seeds: int, start: int = 0) -> tuple[list[str], int]:
    """So many histories on several cores."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        results = list(pool.map(accused_in, range(start, start + seeds), chunksize=4))
    return [text for texts, _ in results for text in texts], sum(count for _, count in results)


def test_no_honest_miner_is_ever_accused() -> None:
    """Crashes, restarts, lost logs, partitions, liars: of all that was ever said nothing accuses an honest miner."""
    accused, looked_at = accused_in_many(SAMPLE_HONEST)
    assert accused == []
    assert looked_at > 50 * SAMPLE_HONEST


# The table ----------------------------------------------------------------------------------------------------------


def measure(*, full: bool) -> list[Row]:
    """Forks by colluding twins; then honest miners in every kind of trouble."""
    found = judge_many(RELEASE_SEEDS if full else SAMPLE_SEEDS)
    spread = ", ".join(f"{count} × {named}" for named, count in sorted(found.culprits.items()))
    accused, looked_at = accused_in_many(RELEASE_HONEST if full else SAMPLE_HONEST)
    return [
        Row(
            "more than f liars",
            f"{found.histories} histories of 2q − R to q − 1 colluding twins, R = {MINERS[0]}..{MINERS[-1]}, simulated",
            "every fork detected, ≥ 2q − R culprits named, 0 honest accused",
            f"{found.forks} forks, {found.later} of them across views; named {spread}; "
            f"{len(found.incomplete)} with too few, {len(found.accused)} with an honest one",
            bool(found.forks) and not found.incomplete and not found.accused,
        ),
        Row(
            "honest miners in trouble",
            f"{RELEASE_HONEST if full else SAMPLE_HONEST} histories of the simulator, R = 1..7, ≤ f faulty",
            "0 honest accused",
            f"{len(accused)} accused by {looked_at} signed votes and certificates",
            not accused,
        ),
    ]
