"""Look at a round's updates: copies, free riders, outliers.

What is looked at is decided in `application.rounds.inspecting`, how it reads in `cli.views.inspection_lines`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.program.options import Call

if TYPE_CHECKING:
    from fedcoin_cli.application.rounds.inspecting import Inspected
    from fedcoin_cli.application.workspace.workspace import Workspace

EXAMPLES = (
    ("fedcoin inspect", "what the newest round's updates look like, before anybody is paid"),
    ("fedcoin inspect rounds/1 --json", "the same of round 1 for a program"),
)


def run(
    call: Call,
    round_dir: Annotated[
        Path | None,
        typer.Argument(metavar="ROUND_DIR", help="The round's folder; default: the newest under rounds/."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.safetensors",
            exists=True,
            dir_okay=False,
            help="The weights that all clients began with; default: those that the round keeps.",
        ),
    ] = None,
) -> None:
    """Look at a round's updates: copies, free riders, outliers.

    Each client's step, from the weights that all began with to its own, is compared with the others': its length
    over the median, its cosine with the mean of the others', its distance from that mean over the median, and the
    step most like it. Told are copies (exact, scaled, mirrored, noised), updates that are untouched or echo the mean,
    steps against or unlike the others', very long or short ones, weights that are no numbers or huge, and example
    counts that do not fit; once the round was settled, too, who is worth less than nothing. Signs are no proof:
    docs/inspection.md has how often each attack is seen, how often honest clients are suspected, and what cannot be
    seen. Nothing is refused here; publish refuses exact copies unless --allow-copies says that they are meant.
    """
    from fedcoin_cli.application.rounds.files import listed_round
    from fedcoin_cli.application.rounds.inspecting import inspect_round
    from fedcoin_cli.application.workspace.address_names import Names
    from fedcoin_cli.cli.views.inspection_lines import inspection_lines
    from fedcoin_cli.cli.views.naming import told

    workspace = call.workspace()
    made = listed_round(round_dir or workspace.latest_round(), workspace.genesis())
    found, task = _valued(call, workspace, inspect_round(made, start))
    names = Names.of(workspace)
    data = {"round": str(made.folder), "task": task, **found.to_json()}
    lines = [
        f"round  {made.folder}",
        *([f"task   {task}"] if task else []),
        "",
        *inspection_lines(found, names),
    ]
    call.output.answer(told(data, names), lines)


def _valued(call: Call, workspace: "Workspace", found: "Inspected") -> tuple["Inspected", str | None]:
    """With the values of the task that the round became, where the ledger here has it."""
    from fedcoin_cli.application.books.books import Books
    from fedcoin_cli.application.reasons.worth_looking import valued
    from ledger_store.base.errors import FedCoinError

    try:
        books = Books.open(workspace)
    except FedCoinError as error:
        call.output.detail(f"no values: {error.message}")
        return found, None
    with books:
        return valued(found, books, workspace)
