"""One task on a real game among real replicas in the simulated world, with attackers among its miners.

The replicas, the finality, the mining children (in this process), their tables, checks and settlements are the
product's own; only sockets, disks and signatures have twins. A `Strategy` lies where a liar can: in what its node says,
in what its child finds, and in what it answers about others' tables.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from attacking.games import Played, small_game, write_game
from chains import TO_SIGN, answered
from simulated.clients import COIN
from simulated.liars import LIES, Lie
from simulated.nodes import Node
from simulated.signatures import StubKey, stub_signatures
from simulated.world import Faults, Table, World

from fedcoin_cli.consensus.estimate import Terms, agree
from fedcoin_cli.consensus.rankings import grid_up_to, table_entries
from fedcoin_cli.contract.metric import blocks_of
from fedcoin_cli.contract.possession import held_by
from fedcoin_cli.contract.settlement import pay_weights
from fedcoin_cli.incentive.payment import Price, pay_settled, shapley_shares
from fedcoin_cli.learning.worker import Worker
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.replica import jobs
from ledger_store.base.names import Address, Digest
from ledger_store.transaction import ZERO, Close, Estimate, Pay, Result, Reveal, Task, Update, sign

LIMIT_MS = 600_000
A_JOB = 10
CLIENTS = 8
PRICE, TRAIN, SERVER, SHAPLEY = 1_000 * COIN, 700 * COIN, 100 * COIN, 200 * COIN
Falsify = Callable[["Arena", Node, Estimate, bytes], tuple[Estimate, bytes]]
"""What an attacker's child claims instead: its answer and its table's bytes."""
_FOLDERS: list[TemporaryDirectory[str]] = []  # removed when the process that made them ends


@dataclass(frozen=True)
class Strategy:
    """How an attacker lies; what it leaves out it does honestly.

    `claim` changes its estimate; `say` what its node sends; `accuse` the entries, of so many, that it calls wrong in
    others' tables; `world` is one of the simulated world's own ways to lie. One that does not mine has no estimate of
    its own: if it counts in the end, that is a lie that came through.
    """

    claim: Falsify | None = None
    say: Lie | None = None
    accuse: Callable[[Random, int], tuple[int, ...]] | None = None
    world: str = ""
    mines: bool = True


@dataclass(frozen=True)
class Ended:
    """What became of an attack's task.

    `told`: how often they lied. `counted`: attackers whose false claim made the average. `omitted`, `accused`: honest
    miners left out or called frauds; `named`: attackers called so. `gained_micro`: what the attackers were paid;
    `lost_micro`: what honest parties got less than was due to them.
    """

    settled: bool
    told: int
    counted: int
    omitted: int
    accused: int
    named: int
    gained_micro: int
    lost_micro: int
    problems: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        """Whether a lie came through, or an honest miner was harmed, or the task never ended."""
        return bool(self.counted or self.omitted or self.accused or self.problems)


class Child(Worker):
    """A miner's child without a pipe: an order goes in, its answers come out."""

    def __init__(self, store: Store, address: Address) -> None:
        super().__init__(-1, -1)
        self._said: list[jobs.Answer] = []
        self.serve(jobs.Configure(str(store.folder), address, 1, "balanced"))

    def serve(self, order: jobs.Order) -> list[jobs.Answer]:
        """Carry out an order to its end."""
        self._serve(order)
        while self._mining or self._inspections or self._verifications:
            self._look(60.0)
            if self._verifications:
                self._verify()
            elif self._mining:
                self._slice(*self._mining)
        said, self._said = self._said, []
        return [answer for answer in said if not isinstance(answer, jobs.Mined | jobs.Inspecting)]

    def _answer(self, answer: jobs.Answer) -> None:
        self._said.append(answer)


@cache
def laid_out(clients: int, seed: int) -> tuple[Store, dict[str, str]]:
    """A store that holds a game's files, and their digests by name."""
    kept = TemporaryDirectory(prefix="fedcoin-arena-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    _FOLDERS.append(kept)
    folder = Path(kept.name)
    store = Store(folder / "store")
    paths = write_game(small_game(clients, seed=seed).game, folder / "files")
    return store, {name: store.put_file(path) for name, path in paths.items()}


class Arena(World):
    """R miners and one task; `attackers` maps roster indices to strategies."""

    def __init__(
        self, seed: int, miners: int, attackers: dict[int, Strategy], rankings: int = 16, **terms: Any
    ) -> None:
        super().__init__(seed, miners, Faults(delay_ms=(1, 20)))
        self.certain = False  # checks are real here: a false count is found when somebody looks at it
        self.attackers = attackers
        self.played: Played = small_game(terms.pop("clients", CLIENTS), seed=1)
        self.store, self.files = laid_out(self.played.clients, 1)
        self.task = self._task(grid_up_to(rankings), **terms)
        self.found: dict[str, Estimate] = {}
        self.false: set[str] = set()
        self.results: list[Result] = []
        self.closes: list[Close] = []
        self._children: dict[str, Child] = {}
        for node in self.nodes:
            node.files |= set(self.task.files)
            strategy = attackers.get(node.index)
            if strategy is not None:
                node.behaviour = strategy.world or "attacker"
                node.dead = node.behaviour == "silent"
        self.honest = {node.address for node in self.nodes if node.truthful}

    def _task(self, rankings: int, **changes: Any) -> Task:
        key, game = self.client_keys[0], self.played.game
        owners: list[Any] = [
            StubKey(sha256(f"owner {number}".encode()).digest()) for number in range(game.clients)
        ]
        nonce = f"{self.rng.getrandbits(128):032x}"
        updates = [
            Update(Digest(self.files[f"client-{number:03d}"]), owner.address, 90, TO_SIGN)
            for number, owner in enumerate(owners, 1)
        ]
        task = Task(
            sender=key.address,
            sequence=1,
            signature="",
            server=self.client_keys[1].address,
            nonce=nonce,
            model=Digest(self.files["model"]),
            test=Digest(self.files["test"]),
            least_clients=game.clients,
            most_clients=game.clients,
            baseline=ZERO,
            frozen=None,
            held=held_by(
                key.address, (self.store.path(Digest(self.files[name])) for name in ("model", "test"))
            ),
            groups=(),
            updates=tuple(updates),
            images=game.images,
            block_images=16,
            metric="accuracy",
            whole=game.images,
            empty=0,
            aggregation="mean",
            price_micro=PRICE,
            train_micro=TRAIN,
            computation_micro=SERVER,
            shapley_micro=SHAPLEY,
            runtime_ms=2_000,
            difficulty_micro=3_000_000,
            least_rankings=1,
            most_rankings=rankings,
            payment_error_micro=None,
            attempts=1,
            sap_rule="winner",
        )
        return sign(answered(replace(task, **changes), self.genesis.id, owners), key, self.genesis.id)

    # Children ---------------------------------------------------------------------------------------------------

    def child(self, node: Node) -> Child:
        """The node's child; it keeps what it knows over the node's restarts."""
        if node.address not in self._children:
            self._children[node.address] = Child(self.store, node.address)
        return self._children[node.address]

    def compute(self, node: Node, order: jobs.Order) -> None:
        """The real child's answers, after a while; attackers' children lie."""
        if isinstance(order, jobs.Mine):
            order = replace(order, deadline_ms=int(time.monotonic() * 1_000) + 3_600_000)
        life = node.life
        for answer in self.child(node).serve(order):
            said = self._said(node, order, answer)
            if said is not None:
                self.after(self.rng.randint(5, 400), partial(node.answer, life, said))

    def _said(self, node: Node, order: jobs.Order, answer: jobs.Answer) -> jobs.Answer | None:
        """What the node hears of its child's answer."""
        strategy = self.attackers.get(node.index)
        if isinstance(answer, jobs.Estimated):
            claimed = replace(answer, estimate=self._estimated(node, answer.estimate, strategy))
            return claimed if strategy is None or strategy.mines else None
        if isinstance(answer, jobs.TableVerified) and strategy is not None and strategy.accuse is not None:
            assert isinstance(order, jobs.VerifyTable)
            self.count("lies about others")
            entries = table_entries(self.task.clients, blocks_of(self.task), order.reveal.rankings)
            return replace(answer, follows=True, wrong=strategy.accuse(self.rng, entries))
        return answer

    def _estimated(self, node: Node, own: Estimate, strategy: Strategy | None) -> Estimate:
        self.found.setdefault(node.address, own)
        if strategy is not None and strategy.claim is not None:
            data = self.store.path(own.table).read_bytes()
            own, data = strategy.claim(self, node, own, data)
            own = replace(own, table=self.store.put_bytes(data))
            self.false.add(node.address)
            self.count("lies about itself")
        node.files.add(own.table)
        self.tables[own.table] = Table((), True)  # the witness judges simulated tables; here `ended` does
        return own

    # The network ------------------------------------------------------------------------------------------------

    def transmit(self, sender: Node, to: Address, message: Any) -> None:
        """What a strategy says instead; else as everywhere."""
        strategy = self.attackers.get(sender.index)
        if strategy is None or strategy.say is None or to not in self.honest:
            super().transmit(sender, to, message)
            return
        behaviour, sender.behaviour = sender.behaviour, "arena"
        LIES["arena"] = strategy.say
        try:
            super().transmit(sender, to, message)
        finally:
            del LIES["arena"]
            sender.behaviour = behaviour

    # The end ----------------------------------------------------------------------------------------------------

    def live_through(self) -> None:
        """From the task's arrival to its end."""
        for node in self.nodes:
            node.revive()
        self.clients.wanted.append(self.task)
        self.after(100, self._publish)
        self.run_until(LIMIT_MS, self.over)

    def _publish(self) -> None:
        from fedcoin_cli.protocol.message import TransactionNote

        for node in self.nodes:
            node.deliver(self.task.sender, TransactionNote(self.task))
        if self.task.id not in self.final:
            self.after(3_000, self._publish)

    def over(self) -> bool:
        """Whether every live miner has applied the task's last block."""
        return self.task.id in self.final and self.converged()

    def ended(self) -> Ended:
        """Judge the history."""
        blocks = [self.witness.blocks[height] for height in sorted(self.witness.blocks)]
        results = [t for block in blocks for t in block.transactions if isinstance(t, Result)]
        last = results[-1] if results else None
        problems = tuple(self.finish())
        told = sum(times for what, times in self.happened.items() if what.startswith("lies"))
        if last is None:
            return Ended(False, told, 0, 0, 0, 0, 0, 0, problems or ("no result",))
        cheats = {fraud.miner for fraud in last.frauds}
        counted = [reveal for reveal in last.reveals if reveal.miner not in cheats]
        names = {reveal.miner for reveal in counted}
        lies = sum(self._is_lie(reveal) for reveal in counted)
        due = self._due(counted)
        got, liars = self._by_party(last.outcome.pay), {self.nodes[index].address for index in self.attackers}
        return Ended(
            settled=last.outcome.state == "SETTLED",
            told=told,
            counted=lies,
            omitted=len(self.honest - names - cheats),
            accused=len(cheats & self.honest),
            named=len(cheats - self.honest),
            gained_micro=sum(got.get(address, 0) for address in liars),
            lost_micro=sum(max(0, due[who] - got.get(who, 0)) for who in due if who not in liars),
            problems=problems,
        )

    def _is_lie(self, reveal: Reveal) -> bool:
        """Whether what counts is not what this miner's own rankings and true counts give."""
        own = self.found.get(reveal.miner)
        true = own is not None and (own.rankings, own.sums) == (reveal.rankings, reveal.sums)
        seat = self.genesis.roster.index(reveal.miner)
        idle = seat in self.attackers and not self.attackers[seat].mines
        return reveal.miner in self.false or idle or not true

    def _due(self, counted: list[Reveal]) -> dict[Address, int]:
        """What everybody was due: the outcome of all true estimates, attackers' own included where they count."""
        true = {reveal.miner for reveal in counted if not self._is_lie(reveal)} | self.honest
        estimates = [
            found.opened(miner, "")
            for miner in self.genesis.roster
            if miner in true and (found := self.found.get(miner)) is not None
        ]
        task = self.task
        terms = Terms(task.clients, task.images, task.difficulty_micro, self.genesis.faults)
        agreement = agree(estimates, terms)
        if not agreement.within:
            return {}
        price = Price(task.train_micro, task.computation_micro, task.shapley_micro)
        shares = shapley_shares(task.sap_rule, agreement, estimates)
        return self._by_party(pay_settled(price, pay_weights(task, self.genesis, agreement), shares))

    def _by_party(self, pay: Pay) -> dict[Address, int]:
        clients = {update.client: micro for update, micro in zip(self.task.updates, pay.clients, strict=True)}
        return clients | {self.task.server: pay.server, self.task.sender: pay.requester} | dict(pay.miners)


@dataclass
class Tried:
    """What many histories of one attack came to."""

    attempts: int = 0
    told: int = 0
    accepted: int = 0
    named: int = 0
    unsettled: int = 0
    gained_micro: int = 0
    lost_micro: int = 0
    omitted: int = 0
    accused: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, ended: Ended) -> None:
        """One more history."""
        self.attempts += 1
        self.told += bool(ended.told)
        self.accepted += ended.accepted
        self.named += ended.named
        self.unsettled += not ended.settled
        self.gained_micro += ended.gained_micro
        self.lost_micro += ended.lost_micro
        self.omitted += ended.omitted
        self.accused += ended.accused
        self.problems += ended.problems

    def merge(self, other: "Tried") -> None:
        """The histories of another, too."""
        for part in fields(self):
            setattr(self, part.name, getattr(self, part.name) + getattr(other, part.name))


def side_by_side(names: Sequence[str], attempts: int, processes: int = 2, **terms: Any) -> dict[str, Tried]:
    """So many histories of each named strategy, on several cores."""
    found = {name: Tried() for name in names}
    laid_out(terms.get("clients", CLIENTS), 1)  # before there are several processes: they share it
    with ProcessPoolExecutor(processes, get_context("fork")) as pool:
        jobs = [
            (name, pool.submit(_job, name, min(A_JOB, attempts - start), start, terms))
            for name in names
            for start in range(0, attempts, A_JOB)
        ]
        for name, job in jobs:
            found[name].merge(job.result())
    return found


def _job(name: str, attempts: int, start: int, terms: dict[str, Any]) -> Tried:
    from attacking.strategies import STRATEGIES  # they are made of what this module defines

    return attacks(STRATEGIES[name], attempts, start=start, **terms)


def attack(seed: int, miners: int, attackers: dict[int, Strategy], **terms: Any) -> Ended:
    """One history."""
    with stub_signatures(True):
        arena = Arena(seed, miners, attackers, **terms)
        arena.live_through()
        return arena.ended()


def attacks(
    strategy: Strategy, attempts: int, miners: int = 4, attackers: int = 1, start: int = 0, **terms: Any
) -> Tried:
    """Many histories, seed after seed; the attackers sit elsewhere each time."""
    tried = Tried()
    for seed in range(start, start + attempts):
        seats = Random(seed).sample(range(miners), attackers)
        tried.add(attack(seed, miners, dict.fromkeys(seats, strategy), **terms))
    return tried
