"""Intake over real replicas in the simulated world."""

from simulated.world import Faults, World
from simulator import run

from fedcoin_cli.application.miner.intake import FILES_PATIENCE_MS
from fedcoin_cli.network.message import TransactionNote


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
    """Two of four miners lack room: a transfer is final, a task is not until there is room again."""

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
