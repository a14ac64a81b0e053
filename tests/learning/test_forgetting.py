"""What the mining child keeps of a task that it was told to forget: nothing, and at once."""

import gc
import weakref

from attacking.arena import Arena

from fedcoin_cli.learning.worker import Problem
from fedcoin_cli.replica import jobs


def test_a_forgotten_task_takes_no_memory() -> None:
    """A game may be a gigabyte of arrays: it does not wait for a collector that counts objects, and not bytes."""
    arena = Arena(1, 1, {})
    child = arena.child(arena.nodes[0])
    gc.collect()
    gc.disable()
    try:
        child.serve(jobs.Inspect(arena.task))
        problem = weakref.ref(child._problems[arena.task.id])
        assert isinstance(problem(), Problem)
        child.serve(jobs.Forget(arena.task))
        assert problem() is None
    finally:
        gc.enable()
