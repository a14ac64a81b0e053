"""The terms that `publish` and `round call` take from options and settings."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from fedcoin_cli.application.rounds.terms import AskedTerms
from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.views.amounts import amount_micro
from ledger_store.base.names import Address

if TYPE_CHECKING:
    from fedcoin_cli.application.workspace.configuration import Configuration
    from fedcoin_cli.application.workspace.workspace import Workspace

AUTO: Final = "auto"

Price = Annotated[str | None, typer.Option(metavar="FEDCOIN", help="Reward for the task.")]
Runtime = Annotated[str | None, typer.Option(metavar="S", help="Seconds to mine.")]
Attempts = Annotated[str | None, typer.Option(metavar="N", help="Attempts before a refund.")]
BlockImages = Annotated[
    str | None, typer.Option(metavar="N", help="Test images a block; each block walks rankings of its own.")
]
Metric = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What models are judged by: accuracy, balanced_accuracy, roc_auc, neg_log_loss:CAP, ...; docs/metrics.md.",
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        metavar="zero|chance|FILE",
        help="What nobody is worth: nothing, a constant output, or a model's weights.",
    ),
]
Difficulty = Annotated[
    str | None,
    typer.Option(
        metavar="D|auto",
        help="Greatest distance from the average, percentage points; auto: learnt from the ledger.",
    ),
]
Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        metavar="WHO,WHO[,...]",
        help="Clients of one owner: together one client, whose coins go to the first. Once a group.",
    ),
]
PaymentError = Annotated[
    str | None,
    typer.Option(metavar="FEDCOIN", help="Stop mining once every payment is known to this, at 95 percent."),
]


def terms_of(configuration: "Configuration", server: Address, payment_error: str | None) -> AskedTerms:
    """Settings and the wanted precision as terms."""
    error_micro = None if payment_error is None else amount_micro(payment_error, "--payment-error")
    return AskedTerms(configuration.settings, server, error_micro)


def learnt(call: Call, workspace: "Workspace", terms: AskedTerms, clients: int) -> AskedTerms:
    """The same with the D that the ledger tells for so many clients."""
    from fedcoin_cli.application.requester.difficulty import with_learnt_difficulty
    from ledger_store.base.amount import format_micro

    changed, found = with_learnt_difficulty(workspace, terms, clients)
    call.output.note(f"D is {format_micro(found.difficulty_micro)} pp, learnt from task {found.task_id[:12]}")
    return changed
