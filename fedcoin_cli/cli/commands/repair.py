"""Repair the local miners' ledgers; nothing is ever deleted.

What can be repaired, and how, is decided in `application.repair`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.options import Call

if TYPE_CHECKING:
    from fedcoin_cli.application.repair.repair import Repaired


def run(
    call: Call,
    donor: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Another ledger to complete a damaged one from."),
    ] = None,
) -> None:
    """Repair the local miners' ledgers; nothing is ever deleted.

    A torn tail is moved aside. A last block or certificate that is missing is put back from the miner's vote
    log. A ledger damaged in the middle is kept as a copy and completed from another one. The miners must be
    stopped.
    """
    from fedcoin_cli.application.repair.repair import repair

    repaired = repair(call.workspace(), donor)
    data = {"miners": [_data(one) for one in repaired]}
    call.output.answer(data, [line for one in repaired for line in _lines(one)])
    for one in repaired:
        if one.problem is not None:
            raise one.problem


def _data(one: "Repaired") -> dict[str, object]:
    return {
        "miner": one.miner,
        "ledger": str(one.path),
        "height": one.height,
        "certified": one.certified,
        "done": list(one.done),
        "problem": None if one.problem is None else one.problem.message,
    }


def _lines(one: "Repaired") -> list[str]:
    if one.problem is not None:
        state = f"not repaired: {one.problem.message}"
    else:
        certified = "" if one.certified else ", its certificate missing: the miner asks the others for it"
        state = f"height {one.height}{certified}" + ("" if one.done else ", nothing to repair")
    return [f"miner {one.miner}  {state}", *(f"{'':9}{text}" for text in one.done)]
