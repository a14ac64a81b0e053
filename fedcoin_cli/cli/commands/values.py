"""Compare values by Shapley, Banzhaf and leave-one-out.

How counts become values is decided in `learning.shapley.semivalues`; what is paid is Shapley's value alone.
"""

from enum import StrEnum
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.program.options import Call, no_nan

if TYPE_CHECKING:
    from fedcoin_cli.application.workspace.workspace import Workspace
    from fedcoin_cli.learning.shapley.semivalues import Method, Semivalues

EXAMPLES = (
    ("fedcoin values", "the newest round's updates by all three methods; no miner is needed"),
    ("fedcoin values rounds/1 --method banzhaf --json", "one method, for a program"),
)

_SECONDS = 15.0


class By(StrEnum):
    """By which method."""

    shapley = "shapley"
    banzhaf = "banzhaf"
    loo = "loo"


def run(
    call: Call,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="ROUND_DIR|TASK",
            help="A round's folder, or the beginning of a settled task's id; default: the newest round.",
        ),
    ] = None,
    method: Annotated[By | None, typer.Option(help="By one method only; default: all three.")] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, callback=no_nan, help="How long a round is counted at most.  [default: 15]"),
    ] = None,
    rankings: Annotated[
        int | None, typer.Option(min=2, help="Walk so many rankings of a round instead, whatever the time.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Fixes what is drawn.  [default: 0]")] = None,
) -> None:
    """Compare values by Shapley, Banzhaf and leave-one-out.

    For comparison only: miners pay Shapley's value. Of a round's folder the counts are made here, without ledger or
    miners; of a settled task they are those of the miners' tables, as far as this workspace keeps them. With few
    clients all coalitions are counted, and all values are exact. Else Banzhaf's values are estimated from the same
    rankings as Shapley's, each place in them weighted anew; leave-one-out needs K + 1 coalitions and stays exact,
    of a task where the tables hold them all. What is estimated comes with its standard error.
    """
    from fedcoin_cli.learning.shapley.semivalues import Method

    workspace = call.workspace()
    methods = [Method(method.value)] if method else list(Method)
    folder = workspace.latest_round() if what is None else Path(what)
    if what is None or folder.is_dir():
        found, clients = _of_round(call, workspace, folder, methods, (seconds, rankings, seed))
        source = {"round": str(folder)}
    else:
        task, found, clients = _of_task(workspace, what, methods)
        source = {"task": task}
    _answer(call, workspace, source, found, clients)


def _of_round(
    call: Call,
    workspace: "Workspace",
    folder: Path,
    methods: "list[Method]",
    asked: tuple[float | None, int | None, int | None],
) -> "tuple[tuple[Semivalues, ...], list[str]]":
    from fedcoin_cli.application.rounds.files import read_round
    from fedcoin_cli.application.rounds.valuing import owners_of, value_round
    from fedcoin_cli.learning.valuation import How

    made = read_round(folder, workspace.genesis())
    seconds, rankings, seed = asked
    how = How(_SECONDS if seconds is None else seconds, rankings=rankings, seed=seed or 0)
    found = value_round(made, call.settings(workspace).task, how, methods)
    return found, list(owners_of(made))


def _of_task(
    workspace: "Workspace", beginning: str, methods: "list[Method]"
) -> "tuple[str, tuple[Semivalues, ...], list[str]]":
    from fedcoin_cli.application.books.books import Books
    from fedcoin_cli.application.books.lookup import task_id
    from fedcoin_cli.application.reasons.kept_tables import kept_of

    with Books.open(workspace) as books:
        record = books.history[task_id(books.history, beginning)]
        kept = kept_of(books, workspace, record)
        return record.task.id, kept.semivalues(methods), list(record.task.owners)


def _answer(
    call: Call,
    workspace: "Workspace",
    source: dict[str, str],
    found: "tuple[Semivalues, ...]",
    clients: list[str],
) -> None:
    from fedcoin_cli.application.workspace.address_names import Names
    from fedcoin_cli.cli.program.output import table
    from fedcoin_cli.cli.views.naming import told

    names = Names.of(workspace)
    rows = [
        {
            "address": client,
            **{
                one.method: {
                    "value": round(float(one.fractions[number]), 9),
                    "error": None if isnan(one.errors[number]) else round(one.errors[number], 9),
                }
                for one in found
            },
        }
        for number, client in enumerate(clients)
    ]
    methods = {one.method: {"exact": one.exact, "unseen": round(one.unseen, 9)} for one in found}
    header = ["client"]
    for one in found:
        header += [f"{one.method} (pp)", *([] if one.exact else ["±"])]
    cells = []
    for number, client in enumerate(clients):
        row = [names.name(client)]
        for one in found:
            row += [f"{one.values[number]:.6f}"]
            row += [] if one.exact else ["–" if isnan(one.errors[number]) else f"{one.errors[number]:.6f}"]
        cells.append(row)
    total = ["total"]
    for one in found:
        total += [f"{float(sum(one.fractions)):.6f}", *([] if one.exact else [""])]
    lines = [*(f"{name}  {value}" for name, value in source.items()), "", *table(header, [*cells, total]), ""]
    lines += [_how(one) for one in found]
    lines += ["payments are by Shapley's values alone"]
    call.output.answer(told({**source, "methods": methods, "clients": rows}, names), lines)


def _how(one: "Semivalues") -> str:
    """Which is exact and which estimated."""
    if one.exact:
        return f"{one.method}: exact, every coalition that it asks for was counted"
    rest = f"; {one.unseen:.1%} of its weight is on sizes that were not seen" if one.unseen > 1e-6 else ""
    how = {
        "shapley": "estimated by rankings",
        "banzhaf": "estimated by the same rankings, their places weighted anew",
        "loo": "estimated: not in every block of images each client was the last once",
    }
    return f"{one.method}: {how[one.method]}, with standard errors{rest}"
