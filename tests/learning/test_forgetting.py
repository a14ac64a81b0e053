"""What the mining child keeps of a task that it was told to forget: nothing, and at once."""

import gc
import weakref
from functools import partial
from itertools import count

from attacking.arena import Arena

from fedcoin_cli.learning.shapley.looking import Look, Steps
from fedcoin_cli.learning.worker import Problem
from fedcoin_cli.replica import jobs
from ledger_store.transaction import Reveal


def look_at(problem: Problem) -> Steps[bool]:
    """A check that knows its task, and is not to go on once that is forgotten."""
    yield
    raise AssertionError(problem.task.id)


def test_a_forgotten_task_takes_no_memory() -> None:
    """A game may be a gigabyte of arrays: it waits for no collector that counts objects, and not bytes.

    Nor for the end of a check that is on its way.
    """
    arena = Arena(1, 1, {})
    child = arena.child(arena.nodes[0])
    gc.collect()
    gc.disable()
    try:
        child.serve(jobs.Inspect(arena.task))
        problem = weakref.ref(child._problems[arena.task.id])
        assert isinstance(problem(), Problem)
        reveal = Reveal(arena.nodes[0].key.address, 1, False, (0,), "00" * 32, "00" * 16, "00" * 64)  # type: ignore[arg-type]
        order = jobs.VerifyEntry(arena.task, 1, "00" * 32, reveal, 0)
        place = (arena.task.id, 1, reveal.miner, 0)
        look = Look(look_at(child._problems[arena.task.id]), clock=partial(next, count(0.0)))
        child._verifications.add(order, look, lambda wrong: jobs.EntryVerified(*place, wrong))
        assert child._verifications.advance() is None
        del look
        child.serve(jobs.Forget(arena.task))
        assert problem() is None
    finally:
        gc.enable()
