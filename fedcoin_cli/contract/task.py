"""A task's life as the contract sees it.

Which terms are admissible beyond what the ledger bounds, and what an attempt fixes for the miners: among that the most
rankings, for a table that others cannot have in time proves nothing to them.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from fedcoin_cli.consensus.rankings import grid_up_to, on_grid, table_entries
from fedcoin_cli.contract.metric import (
    RATIO,
    STEPS,
    WEIGHTS,
    Family,
    blocks_of,
    entry_bytes,
    exact_bytes,
    metric_of,
)
from ledger_store.genesis import Genesis
from ledger_store.state import TaskRecord, eligible_refusals, refuse
from ledger_store.transaction import ZERO, Reveal, Task

if TYPE_CHECKING:
    from fedcoin_cli.consensus.attempt import Attempt

CARRIED_BYTES_A_SECOND = 20 * 2**20
"""What a miner's line is assumed to carry of the others' tables: a server's at 200 Mbit/s, with room for the rest."""


def check_task(task: Task, genesis: Genesis) -> None:
    """Raise `InvalidTransaction` for terms that no miner could fulfil to the letter.

    [P-5.10] [P-5.11] [P-5.12] [P-5.19]
    """
    refuse(task.baseline == ZERO and task.empty != 0, "without a baseline the empty coalition is worth 0")
    refuse(
        not _may_be_whole(task),
        f"{task.whole} is nothing that {task.images} images can be worth by {task.metric}",
    )
    refuse(not on_grid(task.least_rankings), f"{task.least_rankings} least rankings are not on the grid")
    refuse(not on_grid(task.most_rankings), f"{task.most_rankings} most rankings are not on the grid")
    least_bytes = table_bytes(task, task.least_rankings)
    refuse(
        least_bytes > _carried_bytes(_terms(task, genesis), genesis),
        f"the least rankings make a table of {least_bytes} bytes, more than miners can exchange in time",
    )


def _may_be_whole(task: Task) -> bool:
    """Whether a perfect model can be worth what the task says, whatever the labels are."""
    match metric_of(task).family:
        case Family.counts:
            return task.whole == task.images
        case Family.steps:
            return task.whole == STEPS * task.images
        case Family.weights:
            return task.whole <= WEIGHTS
        case Family.ratios:
            return task.whole <= RATIO
        case Family.tokens:
            return task.whole >= task.images
        case Family.losses:
            return task.whole >= STEPS * task.images and task.whole % STEPS == 0
        case Family.pairs:
            return task.whole <= 2 * (task.images // 2) * (task.images - task.images // 2)


def table_bytes(task: Task, rankings: int | None) -> int:
    """What a table of t rankings in each block weighs (bytes), or one of all coalitions (None): to the byte."""
    entries = table_entries(task.clients, blocks_of(task), rankings)
    return entries * (exact_bytes(task) if rankings is None else entry_bytes(task))


def most_table_bytes(task: Task, reveal: Reveal) -> int:
    """What the table of this reveal weighs, least and most."""
    return table_bytes(task, None if reveal.exact else reveal.rankings)


def attempt_of(record: TaskRecord, genesis: Genesis) -> "Attempt":
    """What the record's present attempt fixes for every miner.

    Nobody may claim more rankings, or exact values, than make a table that all others can have before reveals freeze.
    [P-7.12]
    """
    terms = _terms(record.task, genesis)
    carried_bytes = _carried_bytes(terms, genesis)
    return replace(
        terms,
        number=record.attempt,
        refused=eligible_refusals(record),
        most_rankings=_most_rankings(record.task, carried_bytes),
        exact=table_bytes(record.task, None) <= carried_bytes,
    )


def attempt_bytes(record: TaskRecord, genesis: Genesis) -> int:
    """The most that one miner's table of the record's present attempt can weigh."""
    attempt = attempt_of(record, genesis)
    sampled = table_bytes(record.task, attempt.most_rankings)
    return max(sampled, table_bytes(record.task, None)) if attempt.exact else sampled


def _terms(task: Task, genesis: Genesis) -> "Attempt":
    """A first attempt by the task's own words."""
    # Here, because only miners need the machine: whoever reads a ledger would load it and all messages for nothing.
    from fedcoin_cli.consensus.attempt import Attempt

    return Attempt(
        task=task.id,
        number=1,
        roster=genesis.roster,
        refused=frozenset(),
        clients=task.clients,
        blocks=blocks_of(task),
        runtime_ms=task.runtime_ms,
        least_rankings=task.least_rankings,
        most_rankings=task.most_rankings,
        delta_ms=genesis.delta_ms,
    )


def _carried_bytes(terms: "Attempt", genesis: Genesis) -> int:
    """What each table may weigh: all the others' arrive in what REVEAL_T leaves beside the checks.

    (docs/adr/0025) [P-7.11]
    """
    carry_ms = terms.reveal_ms - terms.check_budget_ms
    others = max(1, len(terms.roster) - 1)
    return min(genesis.bounds.table_bytes, CARRIED_BYTES_A_SECOND * carry_ms // 1_000 // others)


def _most_rankings(task: Task, carried_bytes: int) -> int:
    """The greatest number on the grid, up to the task's most, whose table weighs no more than that [P-7.11]."""
    fitting = (carried_bytes // (blocks_of(task) * entry_bytes(task)) - 2) // (task.clients - 1)
    return max(task.least_rankings, grid_up_to(max(1, min(task.most_rankings, fitting))))
