"""One corrupted ledger for each finding of audit level 3: what the miners certified does not follow."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chains import ChainMaker

from ledger_store.base.words import TaskState
from ledger_store.transaction import Close, Pay


def corrupted(code: str, folder: Path) -> tuple[Path, int]:
    """The ledger file whose audit must end with this finding, and the height at fault."""
    maker, height = _BUILDERS[code]()
    return maker.write(folder), height


def codes() -> list[str]:
    """Every code that has a ledger."""
    return list(_BUILDERS)


def _impossible_terms() -> tuple[ChainMaker, int]:
    maker = ChainMaker()
    maker.add_transfers(1)
    maker.add(maker.task(most_rankings=10_001))
    return maker, 2


def _idle_miner_paid() -> tuple[ChainMaker, int]:
    maker = ChainMaker()
    task = maker.task(attempts=1)
    maker.add(task)
    back = task.price_micro - task.shapley_micro
    pay = Pay((0,) * task.clients, 0, ((maker.miners[0].address, task.shapley_micro),), back)
    maker.add(Close(task.id, 1, (), replace(maker.failed(task, TaskState.REFUNDED), pay=pay)))
    return maker, 2


def _wrong_payments() -> tuple[ChainMaker, int]:
    maker = ChainMaker()
    maker.add_round()
    return maker, 3


_BUILDERS: dict[str, Callable[[], tuple[ChainMaker, int]]] = {
    "E411": _impossible_terms,
    "E412": _idle_miner_paid,
    "E413": _wrong_payments,
}
