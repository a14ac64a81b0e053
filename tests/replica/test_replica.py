"""Whole replicas in the simulated world: what happens between rooms, at starts and restarts, line by line."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from chains import history_of
from simulated.disks import MemoryLog
from simulated.nodes import Node
from simulated.signatures import stub_signatures
from simulated.world import Faults, World

from fedcoin_cli.protocol.message import (
    Certified,
    CommitNote,
    Fetch,
    FinalBlock,
    Message,
    Proposal,
    Status,
    TransactionNote,
    Vote,
)
from fedcoin_cli.replica import catchup, jobs
from fedcoin_cli.replica.catchup import PEERS_REMEMBERED
from fedcoin_cli.replica.early import EARLY_A_PEER, EARLY_BODIES_A_PEER
from ledger_store.base.names import Address, MinerIndex
from ledger_store.base.words import TaskState, VoteKind
from ledger_store.block import Certificate, make_block
from ledger_store.transaction import Cancel, Result, Task, Transaction, sign

HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def stubs() -> Iterator[None]:
    """Stub signatures: what is tested here is not cryptography."""
    with stub_signatures(True):
        yield


def quiet(miners: int = 4, seed: int = 11, *, down: tuple[int, ...] = ()) -> World:
    """A world without faults, started; nodes `down` are not."""
    world = World(seed, miners, Faults())
    for index in down:
        world.nodes[index].dead = True
    world.heal()
    for index in down:
        world.nodes[index].dead = False
    return world


def until(world: World, done: Callable[[], bool], within_ms: int = HOUR_MS) -> None:
    """Let time pass until `done`; fails when it does not come."""
    world.run_until(world.now + within_ms, done)
    assert world.witness.problems == []
    assert done(), f"not within {within_ms} ms"


def wait(world: World, milliseconds: int) -> None:
    world.run_until(world.now + milliseconds, lambda: False)
    assert world.witness.problems == []


def sent(world: World) -> list[tuple[Node, Message]]:
    """Every message that anybody sends from now on."""
    messages: list[tuple[Node, Message]] = []
    right = world.transmit

    def listen(sender: Node, to: Address, message: Message) -> None:
        messages.append((sender, message))
        right(sender, to, message)

    world.transmit = listen  # type: ignore[method-assign]  # a tap on the wire
    return messages


def pay(world: World, sequence: int = 1, client: int = 2) -> Transaction:
    """A transfer that its client insists on."""
    transfer = world.clients.transfer(client, sequence)
    world.clients.submit(transfer)
    return transfer


def height(world: World, index: int = 0) -> int:
    return world.nodes[index].ledger.tip.height


def isolate(world: World, index: int) -> None:
    """Cut one node off; its clients still reach it."""
    own = world.nodes[index].address
    pairs = {(own, other) for other in world.genesis.roster} | {
        (other, own) for other in world.genesis.roster
    }
    world._blocked |= pairs


# Idle ---------------------------------------------------------------------------------------------------------------


def test_an_idle_chain_burns_no_views_and_says_only_its_height() -> None:
    """Hours without transactions: STATUS and nothing else, no view but the first, no block [P-11.20]."""
    world = quiet()
    until(world, lambda: all(node.replica is not None and node.replica.voting for node in world.nodes))
    wait(world, 10_000)
    messages = sent(world)
    wait(world, 2 * HOUR_MS)
    assert {message.kind for _, message in messages} == {"status"}
    assert height(world) == 0
    assert {node.replica.finality.simplex.view for node in world.nodes if node.replica is not None} == {0}


def test_a_task_without_files_burns_no_views() -> None:
    """Its transaction is gossiped, and so is one behind it, but nothing is decided and no view is left."""
    world = quiet()
    task = world.clients.task(0, 1)
    world.clients._files.clear()
    behind = world.clients.transfer(0, 2)
    for node in world.nodes:
        node.deliver(task.sender, TransactionNote(task))
        node.deliver(task.sender, TransactionNote(behind))
    wait(world, 300_000)
    assert [node.replica.finality.simplex.view for node in world.nodes if node.replica is not None] == [0] * 4
    assert [len(node.replica._intake.mempool) for node in world.nodes if node.replica is not None] == [2] * 4


# Starting and restarting --------------------------------------------------------------------------------------------


def test_no_vote_before_others_have_answered() -> None:
    """A restarted miner that reaches nobody says nothing new; once q − 1 others have answered it votes [P-10.27]."""
    world = quiet()
    pay(world)
    until(world, world.converged)
    node = world.nodes[0]
    isolate(world, 0)
    node.die()
    until(world, lambda: node.replica is not None)
    node.deliver(world.client_keys[2].address, TransactionNote(world.clients.transfer(2, 2)))
    messages = sent(world)
    wait(world, 60_000)
    assert node.replica is not None
    assert not node.replica.voting
    assert not any(isinstance(message, Vote | Proposal) for sender, message in messages if sender is node)
    world._blocked.clear()
    until(world, lambda: node.replica is not None and node.replica.voting, 10_000)


def test_a_lost_log_observes_until_a_height_nobody_can_have_reached() -> None:
    """It follows without a vote, also across another restart, and votes again two heights later [P-10.29]."""
    world = quiet()
    pay(world, 1)
    until(world, world.converged)
    node = world.nodes[0]
    node.die()
    node.log.lose()
    until(world, lambda: node.replica is not None)
    wait(world, 10_000)
    node.die()
    until(world, lambda: node.replica is not None)
    assert not node.log.load().whole
    messages = sent(world)
    for sequence in (2, 3):
        said = [message for sender, message in messages if sender is node]
        assert not any(isinstance(message, Vote | Proposal) for message in said)
        pay(world, sequence)
        until(world, world.converged)
    wait(world, 10_000)
    assert node.replica is not None
    assert node.replica.voting
    assert node.log.load().whole
    pay(world, 4)
    until(world, world.converged)
    assert any(isinstance(message, Vote) for sender, message in messages if sender is node)


def test_with_three_miners_a_lost_log_halts_the_chain() -> None:
    """q = R: nothing is decided without the observer, and it never votes on hope alone."""
    world = quiet(3)
    pay(world, 1)
    until(world, world.converged)
    world.nodes[0].die()
    world.nodes[0].log.lose()
    pay(world, 2)
    wait(world, HOUR_MS)
    assert [height(world, index) for index in range(3)] == [1, 1, 1]


def test_a_lost_log_does_not_commit_in_the_attempt_at_work() -> None:
    """What it committed to before is unknown to it: another commit for this attempt would contradict that one."""
    world = quiet(4, seed=12)
    task = long_task(world)
    until(world, lambda: world.nodes[0].ledger.tip.state.current is not None)
    node = world.nodes[0]
    node.die()
    node.log.lose()
    messages = sent(world)
    until(world, lambda: task.id in ended(world))
    commits = [message for sender, message in messages if isinstance(message, CommitNote) and sender is node]
    assert all(note.commit.miner != node.address for note in commits)


def test_an_estimate_waits_until_the_log_is_trusted() -> None:
    """A miner cut off at its restart mines on, commits nothing, and commits once the others have answered."""
    world = quiet(4, seed=12)
    task = long_task(world)
    node = world.nodes[0]
    until(world, lambda: node.ledger.tip.state.current is not None)
    isolate(world, 0)
    node.die()
    messages = sent(world)
    until(world, lambda: node.replica is not None and node.replica.taskwork._unsigned is not None)
    assert not any(isinstance(message, CommitNote) for sender, message in messages if sender is node)
    world._blocked.clear()
    until(world, lambda: any(_own_commit(node, message) for _, message in messages))
    until(world, lambda: task.id in ended(world))


def _own_commit(node: Node, message: Message) -> bool:
    return isinstance(message, CommitNote) and message.commit.miner == node.address


def long_task(world: World) -> Task:
    """A task with 15 s of RUNTIME that somebody will settle."""
    for _ in range(200):
        task = world.clients.task(0, 1)
        if task.runtime_ms == 15_000 and task.difficulty_micro:
            world.clients.submit(task)
            return task
    raise AssertionError("no such task in 200 draws")


def ended(world: World) -> set[str]:
    """Tasks whose end is final at node 1."""
    tasks = history_of(world.nodes[1].ledger)
    return {task for task, record in tasks.items() if record.end_height is not None}


def test_a_miner_that_was_away_gets_the_files_and_mines() -> None:
    """The task came while it was down and the requester has left: it takes the files from the others and commits."""
    world = quiet(4, seed=12, down=(3,))
    task = long_task(world)
    until(world, lambda: world.nodes[0].ledger.tip.state.current is not None)
    late = world.nodes[3]
    assert not late.files
    assert not world.clients.hosts(task.sender, task.model) or task.id in world.final
    late.revive()
    until(world, lambda: task.id in ended(world) and height(world, 3) == height(world, 0))
    assert set(task.files) <= late.files
    results = [
        t for block in world.witness.blocks.values() for t in block.transactions if isinstance(t, Result)
    ]
    assert late.address in {reveal.miner for result in results for reveal in result.reveals}


def test_an_old_ledger_never_undoes_what_the_log_saw_final() -> None:
    """One miner alone decides, falls, and gets an older chain file: the height keeps its block, on every node.

    [P-10.30] [P-13.10]
    """
    world = quiet(3, seed=21)
    for sequence in (1, 2):
        pay(world, sequence)
        until(world, world.converged)
    node, *others = world.nodes
    alone, right = {other.address for other in others}, world.transmit

    def transmit(sender: Node, to: Address, message: Message) -> None:
        """FINAL votes of height 3 reach node 0 only, and then it reaches nobody."""
        final = isinstance(message, Vote) and message.kind == "final" and to in alone
        if not final and (sender is not node or height(world) < 3):
            right(sender, to, message)

    world.transmit = transmit  # type: ignore[method-assign]  # a tap on the wire
    pay(world, 3)
    until(world, lambda: height(world) == 3)
    assert [other.ledger.tip.height for other in others] == [2, 2]
    block = node.ledger.block(3)
    node.die()
    node.ledger.cut(2)
    world.transmit = right  # type: ignore[method-assign]  # whole again
    until(world, world.converged)
    assert {other.ledger.block(3).id for other in world.nodes} == {block.id}


def test_a_lost_tip_file_is_fetched_from_a_peer() -> None:
    """Without its certificate nothing is packed on the tip; a peer's copy puts it back."""
    world = quiet()
    for sequence in (1, 2):
        pay(world, sequence)
        until(world, world.converged)
    node = world.nodes[0]
    node.die()
    node.ledger.cut(0)
    assert isinstance(node.log, MemoryLog)
    node.log.put_back(([], None, True))
    assert node.ledger.tip.certificate is None
    until(world, lambda: node.replica is not None and node.ledger.tip.certificate is not None, 60_000)


# Strange messages ---------------------------------------------------------------------------------------------------


def test_messages_of_the_next_height_are_few_a_peer() -> None:
    """A peer that runs ahead, or lies, fills no memory: so many messages, and fewer that carry blocks [P-11.23]."""
    world = quiet()
    node, liar = world.nodes[0], world.nodes[1]
    until(world, lambda: node.replica is not None and node.replica.voting)
    block = make_block(world.genesis.id, 2, 0, MinerIndex(3), 0, (), None)
    proof = Certified(VoteKind.NOTAR, 2, block.id, Certificate(0, ((MinerIndex(0), "0" * 128),)), block)
    for view in range(100):
        node.deliver(liar.address, Proposal(MinerIndex(1), view, block, -1, None, (), "0" * 128))
        node.deliver(liar.address, proof)
        node.deliver(liar.address, Vote(VoteKind.NOTAR, MinerIndex(1), 2, view, block.id, "0" * 128))
        node.deliver(liar.address, Vote(VoteKind.NOTAR, MinerIndex(1), 3, view, block.id, "0" * 128))
    assert node.replica is not None
    early = node.replica.finality._early.waiting[liar.address]
    assert len(early) == EARLY_A_PEER
    assert sum(not isinstance(message, Vote) for message in early) == EARLY_BODIES_A_PEER


def test_a_final_block_is_believed_for_its_certificate_alone() -> None:
    """Anybody may bring one; without q right signatures, or out of place, it changes nothing [P-11.22]."""
    world = quiet(4, down=(3,))
    pay(world, 1)
    until(world, lambda: height(world) == 1)
    late, stranger = world.nodes[3], world.client_keys[3].address
    late.revive()
    world._blocked |= {(other, late.address) for other in world.genesis.roster}
    ledger = world.nodes[0].ledger
    block, certificate = ledger.block(1), ledger.certificate_of(1)
    assert certificate is not None
    twice = Certificate(certificate.view, certificate.signatures[:1] * 3)
    forged = Certificate(certificate.view, tuple((index, "0" * 128) for index, _ in certificate.signatures))
    other = make_block(
        block.header.parent, 1, block.header.time_ms + 1, MinerIndex(1), 0, block.transactions, None
    )
    for wrong in (FinalBlock(block, twice), FinalBlock(block, forged), FinalBlock(other, certificate)):
        late.deliver(stranger, wrong)
        assert height(world, 3) == 0
    late.deliver(stranger, FinalBlock(block, certificate))
    assert height(world, 3) == 1


def test_votes_of_strangers_do_not_count() -> None:
    """Only the roster takes part: an account's connection can ask and pay, not vote [P-11.7]."""
    world = quiet()
    node = world.nodes[0]
    until(world, lambda: node.replica is not None and node.replica.voting)
    replica = node.replica
    assert replica is not None
    vote = Vote(
        VoteKind.SKIP,
        MinerIndex(1),
        1,
        0,
        None,
        world.nodes[1].key.sign("skip", world.genesis.id, _skip_terms()),
    )
    node.deliver(world.client_keys[0].address, vote)
    assert replica.finality.simplex.ballots.votes_of(MinerIndex(1)) == ()
    node.deliver(world.nodes[1].address, vote)
    assert replica.finality.simplex.ballots.votes_of(MinerIndex(1)) == (vote,)


def _skip_terms() -> dict[str, Any]:
    return {"block": None, "height": 1, "view": 0}


def test_an_account_that_signs_two_tasks_does_not_divide_the_miners() -> None:
    """Half of them get one task, half another with the same number: one of them becomes final within a few views.

    [P-11.19]
    """
    world = quiet(4, seed=31)
    first, second = world.clients.task(0, 1), world.clients.task(0, 1)
    assert first.id != second.id
    for node, task in zip(world.nodes, (first, first, second, second), strict=True):
        until(world, lambda node=node: node.replica is not None)  # type: ignore[misc]  # bound to this node
        node.deliver(task.sender, TransactionNote(task))
    until(world, lambda: bool({first.id, second.id} & world.final), 60_000)
    until(world, lambda: height(world) > 2, 10 * 60_000)
    counts = Counter(task in history_of(world.nodes[0].ledger) for task in (first.id, second.id))
    assert counts == {True: 1, False: 1}


def test_a_block_from_the_future_is_not_acceptable() -> None:
    """A fresh block may be at most ten minutes ahead of the voter's clock [P-10.12]."""
    world = quiet()
    pay(world)
    until(world, world.converged)
    node = world.nodes[0]
    replica = node.replica
    assert replica is not None
    state = node.ledger.tip.state
    transfer = world.clients.transfer(2, 2)
    for ahead_ms, accepted in ((600_000, True), (600_001, False)):
        time_ms = node.wall_ms() + ahead_ms
        block = make_block(state.head, 2, time_ms, MinerIndex(2), 0, (transfer,), node.ledger.tip.certificate)
        assert replica.judge.valid(block)
        assert replica.judge.acceptable(block) is accepted
        assert replica.judge.clock_behind_ms == (0 if accepted else ahead_ms)


def test_a_task_that_kills_those_who_look_at_it_is_let_go() -> None:
    """Three mining children died over its files: it is refused, and the account's other wishes go on."""
    world = quiet(1, seed=51)
    node = world.nodes[0]
    right = world.compute

    def compute(node: Node, order: jobs.Order) -> None:
        """Looking at a task's files ends the child."""
        if isinstance(order, jobs.Inspect):
            node.lose_child()
        else:
            right(node, order)

    world.compute = compute  # type: ignore[method-assign]  # a child that dies of it
    task = world.clients.task(0, 1)
    node.deliver(task.sender, TransactionNote(task))
    replica = node.replica
    assert replica is not None
    until(world, lambda: task.id not in replica._intake.mempool, 60_000)
    assert node.life > 3
    pay(world, 1, client=0)
    until(world, world.converged)


# Packing ------------------------------------------------------------------------------------------------------------


def test_odd_views_leave_out_tasks_and_results_when_there_is_anything_else() -> None:
    """So that one that others cannot accept yet does not hold up the rest; alone, it is packed in odd views too.

    [P-10.25]
    """
    world = quiet(1, seed=41)
    node = world.nodes[0]
    until(world, lambda: node.replica is not None)
    replica = node.replica
    assert replica is not None
    task, transfer = world.clients.task(0, 1), world.clients.transfer(2, 1)
    mempool, state, now = replica._intake.mempool, node.ledger.tip.state, node.now_ms()
    mempool.admit(task, state, now)
    mempool.task_checked(task, now - 10**6)

    def kinds(view: int) -> list[str]:
        block = replica.judge.pack(view)
        return [] if block is None else [transaction.kind for transaction in block.transactions]

    assert kinds(0) == kinds(1) == ["task"]
    mempool.admit(transfer, state, now)
    assert sorted(kinds(2)) == ["task", "transfer"]
    assert kinds(3) == ["transfer"]


def test_blocks_keep_their_pace() -> None:
    """Not more than one block an interval, however much is pending [P-10.25]."""
    world = quiet(1, seed=42)
    for client in range(4):
        for sequence in (1, 2, 3):
            world.after(
                sequence * 10, partial(world.clients.submit, world.clients.transfer(client, sequence))
            )
    until(world, lambda: len(world.clients.wanted) == 12 and world.converged())
    times = [world.nodes[0].ledger.block(h).header.time_ms for h in range(1, height(world) + 1)]
    interval = world.genesis.bounds.block_interval_ms
    assert all(later - earlier >= interval for earlier, later in pairwise(times))
    assert height(world) < 12


def test_what_is_told_about_a_miner_at_work() -> None:
    """`standing` names task, attempt and phase as they follow each other."""
    world = quiet(4, seed=12)
    task = long_task(world)
    phases: list[str] = []

    def watch() -> bool:
        replica = world.nodes[0].replica
        assert replica is not None
        replica.report.engine = "simulated"
        standing = replica.report.standing()
        if not phases or phases[-1] != standing.phase:
            phases.append(standing.phase)
        if standing.task is not None:
            record = world.nodes[0].ledger.tip.state.record(task.id)
            assert (standing.task, standing.attempt) == (task.id, record.attempt)
        return task.id in ended(world)

    until(world, watch)
    shown = [phase for phase in phases if phase != "idle"]
    assert shown[:4] == ["files", "mining", "committed", "revealing"]
    assert world.nodes[0].ledger.tip.state.tasks == {}


# Memory -------------------------------------------------------------------------------------------------------------


def test_a_withdrawn_task_is_forgotten_by_all() -> None:
    """When a queued task is cancelled, its miners' children may forget it, and nothing of it stays in memory."""
    world = quiet()
    forgotten: list[str] = []
    right = world.compute

    def listen(node: Node, order: jobs.Order) -> None:
        if isinstance(order, jobs.Forget):
            forgotten.append(order.task.id)
        right(node, order)

    world.compute = listen  # type: ignore[method-assign]  # a tap on the pipes
    first, second = world.clients.task(0, 1), world.clients.task(1, 1)
    world.clients.submit(first)
    until(world, lambda: first.id in world.final)
    world.clients.submit(second)
    until(world, lambda: second.id in world.final)
    key = world.client_keys[1]
    cancel = sign(Cancel(key.address, 2, "", second.id), key, world.genesis.id)
    world.clients.submit(cancel)  # type: ignore[arg-type]  # a client insists on it like on the others
    until(world, world.converged)
    assert history_of(world.nodes[0].ledger)[second.id].state == TaskState.CANCELLED
    assert set(Counter(forgotten)) == {first.id, second.id}
    assert Counter(forgotten)[second.id] == len(world.nodes)
    for node in world.nodes:
        assert node.replica is not None
        inspections = node.replica._intake.inspections
        assert not inspections._given
        assert not inspections._checked
        assert not inspections._elsewhere
        assert not inspections._moved


def test_accounts_that_ask_once_are_not_remembered() -> None:
    """Thousands of accounts that fetch a block and leave take no more memory than the newest thousand."""
    world = quiet()
    pay(world)
    until(world, lambda: bool(height(world)) and world.converged())
    replica = world.nodes[0].replica
    assert replica is not None
    for number in range(5_000):
        if number % 100 == 0:
            wait(world, 150)
        replica.receive(Address(f"{number:064x}"), Fetch(1))
    assert len(replica._catchup._served) <= PEERS_REMEMBERED + 100


def test_who_is_behind_gets_blocks_with_their_certificates_then_the_status() -> None:
    """From the height asked for on, each with its own certificate, no further than the tip; a height beyond: nothing.

    [P-11.21]
    """
    world = quiet()
    for sequence in range(1, 4):
        pay(world, sequence)
        until(world, world.converged)
    node, messages = world.nodes[0], sent(world)
    node.deliver(world.client_keys[2].address, Fetch(2))
    answers = [message for sender, message in messages if sender is node]
    assert [type(message) for message in answers] == [FinalBlock] * (height(world) - 1) + [Status]
    for number, answer in enumerate(answers[:-1], 2):
        assert isinstance(answer, FinalBlock)
        assert answer.block.height == number
        answer.certificate.check(world.genesis, VoteKind.FINAL, number, answer.block.id)
    messages.clear()
    node.deliver(world.client_keys[2].address, Fetch(height(world) + 1))
    assert [message for sender, message in messages if sender is node] == []


def test_an_account_is_sent_blocks_within_an_allowance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads a chain again and again waits once it has had its share; miners do not, others neither.

    [P-11.21]
    """
    world = quiet()
    for sequence in range(1, 4):
        pay(world, sequence)
        until(world, world.converged)
    node, messages = world.nodes[0], sent(world)
    assert node.replica is not None
    whole = sum(len(node.ledger.block(number).line) for number in range(1, height(world) + 1))
    monkeypatch.setattr(catchup, "ACCOUNT_BYTES_AT_ONCE", 2 * whole)
    monkeypatch.setattr(catchup, "ACCOUNT_BYTES_A_S", whole // 10)

    def blocks(asker: Address) -> int:
        wait(world, catchup.ANSWER_INTERVAL_MS)
        messages.clear()
        assert node.replica is not None
        node.replica.receive(asker, Fetch(1))
        return sum(isinstance(message, FinalBlock) for sender, message in messages if sender is node)

    guest, other = world.client_keys[2].address, world.client_keys[1].address
    all_of_it = height(world)
    assert [blocks(guest) for _ in range(5)] == [all_of_it] * 3 + [0] * 2
    assert blocks(other) == all_of_it
    assert [blocks(world.nodes[1].address) for _ in range(5)] == [all_of_it] * 5
    wait(world, 12_000)
    assert [blocks(guest) for _ in range(2)] == [all_of_it, 0]


def test_all_tables_share_the_time_for_checks() -> None:
    """Four miners reveal: what one miner may spend on the tables of an attempt is within CHECK, however many come.

    [P-8.17]
    """
    world = quiet()
    orders: list[jobs.VerifyTable] = []
    right = world.compute

    def listen(node: Node, order: jobs.Order) -> None:
        if isinstance(order, jobs.VerifyTable) and node is world.nodes[0]:
            orders.append(order)
        right(node, order)

    world.compute = listen  # type: ignore[method-assign]  # a tap on the pipe to the child
    task = world.clients.task(0, 1)
    world.clients.submit(task)
    until(world, world.converged)
    budget_ms = max(5_000, task.runtime_ms // 10)
    others = [order for order in orders if order.reveal.miner != world.nodes[0].address]
    first = [order for order in others if order.attempt == 1]
    assert len(first) == 3
    assert sum(order.budget_ms for order in first) <= budget_ms
    assert all(order.budget_ms == budget_ms // 3 for order in orders)
