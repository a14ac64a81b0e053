"""A task's life as the contract sees it.

Which terms are admissible beyond what the ledger bounds, and what an attempt fixes for the miners.
"""

from fedcoin_cli.consensus.posap import Attempt
from fedcoin_cli.consensus.rankings import on_grid
from ledger_store.genesis import Genesis
from ledger_store.state import TaskRecord, eligible_refusals, refuse
from ledger_store.transaction import Reveal, Task

_COUNT_BYTES = 4


def check_task(task: Task) -> None:
    """Raise `InvalidTransaction` for terms that no miner could fulfil to the letter."""
    refuse(task.baseline is None and task.empty != 0, "without a baseline the empty coalition is worth 0")
    refuse(not on_grid(task.least_rankings), f"{task.least_rankings} least rankings are not on the grid")
    refuse(not on_grid(task.most_rankings), f"{task.most_rankings} most rankings are not on the grid")


def most_table_bytes(task: Task, reveal: Reveal) -> int:
    """The most that a table of this reveal can weigh, an exact one also the least.

    That is all counts, or the masks that t rankings visit with theirs.
    """
    coalitions = (1 << task.clients) - 1
    if reveal.exact:
        return _COUNT_BYTES * coalitions
    return min(reveal.rankings * task.clients, coalitions) * ((task.clients + 7) // 8 + _COUNT_BYTES)


def attempt_of(record: TaskRecord, genesis: Genesis) -> Attempt:
    """What the record's present attempt fixes for every miner."""
    task = record.task
    return Attempt(
        task=task.id,
        number=record.attempt,
        roster=genesis.roster,
        refused=eligible_refusals(record),
        clients=task.clients,
        runtime_ms=task.runtime_ms,
        least_rankings=task.least_rankings,
        most_rankings=task.most_rankings,
        delta_ms=genesis.delta_ms,
    )
