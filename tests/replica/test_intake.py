"""Intake over real replicas in the simulated world."""

from dataclasses import replace

import pytest
from simulated.nodes import Node
from simulated.world import Faults, World
from simulator import run

from fedcoin_cli.protocol.frame import to_frame
from fedcoin_cli.protocol.message import Message, Proposal, Receipt, TransactionNote
from fedcoin_cli.replica import intake, jobs
from fedcoin_cli.replica.inspections import FILES_PATIENCE_MS
from fedcoin_cli.replica.mempool import Pendable
from fedcoin_cli.replica.replica import Replica
from ledger_store.base.names import Address, MinerIndex
from ledger_store.block import make_block
from ledger_store.transaction import Task, Transfer, sign


def test_a_task_whose_files_never_come_gives_its_sequence_free() -> None:
    """After the patience for files the account's next transaction takes the task's sequence number and is final."""

    def live(world: World) -> None:
        world.heal()
        orphan, payment = world.clients.task(2, 1), world.clients.transfer(2, 1)
        world.clients._files.clear()  # nobody has them
        world.run_until(1_000, lambda: False)
        for node in world.nodes:
            node.deliver(orphan.sender, TransactionNote(orphan))
        world.after(10_000, lambda: world.clients.submit(payment))
        world.run_until(FILES_PATIENCE_MS - 60_000, lambda: False)
        assert payment.id not in world.final
        world.run_until(2 * FILES_PATIENCE_MS, world.converged)
        assert payment.id in world.final
        assert orphan.id not in world.final

    report = run(1, miners=4, faults=Faults(), real=False, live=live)
    assert report.problems == []


def test_without_room_on_the_disk_no_task_is_voted_for() -> None:
    """Two of four miners lack room: a transfer is final, a task is not until there is room again [P-10.13]."""

    def live(world: World) -> None:
        world.heal()
        for node in world.nodes[:2]:
            node.room = False
        task, payment = world.clients.task(0, 1), world.clients.transfer(2, 1)
        world.clients.submit(task)
        world.clients.submit(payment)
        world.run_until(60_000, lambda: False)
        assert payment.id in world.final
        assert task.id not in world.final
        for node in world.nodes:
            node.room = True
        world.run_until(300_000, world.converged)
        assert task.id in world.final

    report = run(1, miners=4, faults=Faults(), real=False, live=live)
    assert report.problems == []


def test_proposals_that_nobody_signed_move_nothing() -> None:
    """A liar shows a block with an older task of the same number: the pending one stays, and is packed [P-11.19]."""

    def live(world: World) -> None:
        world.heal()
        older, task = world.clients.task(0, 1), world.clients.task(0, 1)
        world.clients.submit(task)
        honest = world.nodes[:3]
        world.run_until(60_000, lambda: all(_checked(node, task) for node in honest))
        assert world.nodes[0].ledger.tip.height == 0
        for node in honest:
            node.deliver(world.genesis.roster[3], _unsigned(world, older))
            assert task in _replica(node)._intake.mempool.tasks()
        world.nodes[3].die()
        world.nodes[3].dead = True
        world.run_until(world.now + 30_000, lambda: task.id in world.final)
        assert task.id in world.final
        world.nodes[3].dead = False
        world.nodes[3].revive()
        world.run_until(world.now + 600_000, world.converged)

    assert run(11, miners=4, faults=Faults(), real=False, live=live).problems == []


def test_a_task_that_comes_back_is_ready_although_nobody_looks_again() -> None:
    """Its files were found good before a rival took its place for a while: nothing else would make it ready."""

    def live(world: World) -> None:
        world.heal()
        task = world.clients.task(0, 1)
        world.clients.submit(task)
        world.run_until(60_000, lambda: all(_checked(node, task) for node in world.nodes))
        for node in world.nodes:
            own = _replica(node)._intake
            own.mempool.drop(task)
            own._admit(task, task.sender)
            assert own.mempool.armed
        world.run_until(world.now + 30_000, lambda: task.id in world.final)
        assert task.id in world.final
        world.run_until(world.now + 600_000, world.converged)

    assert run(11, miners=4, faults=Faults(), real=False, live=live).problems == []


def test_what_is_refused_is_forgotten() -> None:
    """A task that its inspection refuses leaves nothing behind; its account hears why, in ASCII."""

    def live(world: World) -> None:
        world.heal()
        task = world.clients.task(0, 1)
        world.clients.submit(task)
        world.run_until(60_000, lambda: task.id in _replica(world.nodes[0])._intake.inspections._given)
        replica = _replica(world.nodes[0])
        assert task.id in replica._intake.inspections._given
        orders: list[jobs.Order] = []
        replica.ports.order = orders.append  # type: ignore[assignment, method-assign]  # what is ordered
        sent: list[Message] = []
        replica.ports.send = lambda _, message: sent.append(message)  # type: ignore[assignment, method-assign]  # what is said
        replica._orders.give(("inspect", task.id), jobs.Inspect(task))
        replica.answer(jobs.Inspected(task.id, "layer d\u00e9but: no good"))
        (told,) = (message for message in sent if isinstance(message, Receipt))
        assert to_frame(told)
        assert told.error == "layer d\\xe9but: no good"
        assert task.id not in replica._intake.inspections._given
        assert jobs.Forget(task) in orders

    problems = run(11, miners=4, faults=Faults(), real=False, live=live).problems
    assert [problem for problem in problems if problem.startswith("error")] == []


def test_a_long_task_is_verified_in_slices_and_becomes_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one signature a turn a task is no less final, and it is not pending before its last one was looked at.

    [P-11.15]
    """
    monkeypatch.setattr(intake, "SIGNATURES_A_TURN", 1)

    def live(world: World) -> None:
        world.heal()
        task = world.clients.task(0, 1)
        replica = _replica(world.nodes[0])
        world.run_until(1_000, lambda: False)
        world.nodes[0].deliver(task.sender, TransactionNote(task))
        assert replica._intake.is_verifying
        assert replica.deadline_ms <= replica.ports.now_ms() + 1
        assert task.id not in replica._intake.mempool
        world.clients.submit(task)
        world.run_until(300_000, world.converged)
        assert task.id in world.final

    assert run(11, miners=4, faults=Faults(), real=True, live=live).problems == []


@pytest.mark.parametrize("slices", [1, 16])
def test_an_account_that_signs_for_a_false_signature_waits(
    monkeypatch: pytest.MonkeyPatch, slices: int
) -> None:
    """Its good task is not looked at until its time is over; its payments, and others' tasks, are taken at once.

    [P-11.16]
    """
    monkeypatch.setattr(intake, "SIGNATURES_A_TURN", slices)

    def live(world: World) -> None:
        world.heal()
        node, key, genesis = world.nodes[0], world.client_keys[0], world.genesis.id
        pending = _replica(node)._intake.mempool
        good, payment, others = (
            world.clients.task(0, 1),
            world.clients.transfer(0, 1),
            world.clients.task(1, 1),
        )
        false = replace(good.updates[-1], signature="00" * 64)
        bad = sign(replace(good, updates=(*good.updates[:-1], false), signature=""), key, genesis)
        node.deliver(bad.sender, TransactionNote(bad))
        world.run_until(2_000, lambda: False)
        for transaction in (good, others):
            node.deliver(transaction.sender, TransactionNote(transaction))
        world.run_until(4_000, lambda: False)
        node.deliver(payment.sender, TransactionNote(payment))
        world.run_until(8_000, lambda: False)
        assert [one.id in pending or one.id in world.final for one in (bad, good, payment, others)] == [
            False,
            False,
            True,
            True,
        ]
        world.run_until(600_000, world.converged)
        assert payment.id in world.final

    assert run(11, miners=4, faults=Faults(), real=True, live=live).problems == []


def test_one_task_a_peer_is_verified_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second that comes the same way is sent back; the same one again changes nothing [P-11.15]."""
    monkeypatch.setattr(intake, "SIGNATURES_A_TURN", 1)

    def live(world: World) -> None:
        world.heal()
        node = world.nodes[0]
        first, second = world.clients.task(0, 1), world.clients.task(1, 1)
        own = _replica(node)._intake
        answers: list[Message] = []
        own._ports.send = lambda _, message: answers.append(message)  # type: ignore[assignment, method-assign]  # what is said
        for task in (first, first, second):
            own.receive(Address("somebody"), task)
        assert [one.task.id for one in own._verifying.values()] == [first.id]
        assert [(one.transaction, one.error is None) for one in answers if isinstance(one, Receipt)] == [
            (second.id, False)
        ]

    problems = run(11, miners=4, faults=Faults(), real=True, live=live).problems
    assert [problem for problem in problems if problem.startswith("error")] == []


def test_reminders_keep_to_a_budget_and_reach_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """One transaction a standstill when the budget is small, each in its turn; no task to who says that it has it.

    [P-11.18]
    """
    monkeypatch.setattr(intake, "REMINDED_BYTES", 1)

    def live(world: World) -> None:
        world.heal()
        own = _replica(world.nodes[0])._intake
        task, payments = world.clients.task(0, 1), [world.clients.transfer(client, 1) for client in (1, 2)]
        offered: list[Pendable] = [task, *payments]
        for transaction in offered:
            own._admit(transaction, transaction.sender)
        miner = world.genesis.roster[1]
        own.inspections.checked_elsewhere(miner, (task.id,))
        said: list[tuple[str, str]] = []

        def say(to: Address, message: Message) -> None:
            assert isinstance(message, TransactionNote)
            assert isinstance(message.transaction, Transfer | Task)
            said.append((to, message.transaction.id))

        own._ports.send = say  # type: ignore[method-assign]  # what is said
        for count in range(1, 4):
            own._remind()
            assert len({transaction for _, transaction in said}) == count
        assert (miner, task.id) not in said
        assert (world.genesis.roster[2], task.id) in said

    problems = run(11, miners=4, faults=Faults(), real=True, live=live).problems
    assert [problem for problem in problems if problem.startswith("error")] == []


def _replica(node: Node) -> Replica:
    assert node.replica is not None
    return node.replica


def _checked(node: Node, task: Task) -> bool:
    return node.replica is not None and node.replica._intake.inspections.has_checked(task.id)


def _unsigned(world: World, task: Task) -> Proposal:
    block = make_block(world.genesis.id, 1, 5, MinerIndex(3), 0, [task], None)
    return Proposal(MinerIndex(3), 0, block, -1, None, (), "00" * 64)


def test_a_payment_goes_to_the_leader_and_a_task_to_all() -> None:
    """What one miner takes from an account it tells the present leader only; a task it tells everybody at once.

    [P-11.17]
    """

    def live(world: World) -> None:
        world.heal()
        world.run_until(world.now + 20_000, lambda: False)
        leader = _replica(world.nodes[0])._leader()
        node = next(node for node in world.nodes if node.address != leader)
        told: list[tuple[str, str]] = []
        right = world.transmit

        def listen(sender: Node, to: Address, message: Message) -> None:
            if sender is node and isinstance(message, TransactionNote):
                told.append((message.transaction.kind, to))
            right(sender, to, message)

        world.transmit = listen  # type: ignore[method-assign]  # a tap on the wire
        payment, task = world.clients.transfer(2, 1), world.clients.task(0, 1)
        node.deliver(payment.sender, TransactionNote(payment))
        assert told == [("transfer", leader)]
        told.clear()
        node.deliver(task.sender, TransactionNote(task))
        assert {to for kind, to in told if kind == "task"} == set(world.genesis.roster) - {node.address}
        world.run_until(world.now + 600_000, world.converged)

    assert run(11, miners=4, faults=Faults(), real=False, live=live).problems == []
