"""The terms that `publish` and `round call` take from options and settings, and which of them a signed call fixes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fedcoin_cli.application.rounds.terms import Terms
from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.views.amounts import amount_micro
from ledger_store.base.names import Address

if TYPE_CHECKING:
    from fedcoin_cli.application.workspace.configuration import Configuration
    from fedcoin_cli.application.workspace.workspace import Workspace
    from ledger_store.transaction import Task

AUTO: Final = "auto"

Price = Annotated[str | None, typer.Option(metavar="FEDCOIN", help="Reward for the task.")]
Runtime = Annotated[str | None, typer.Option(metavar="S", help="Seconds to mine.")]
Attempts = Annotated[str | None, typer.Option(metavar="N", help="Attempts before a refund.")]
BlockImages = Annotated[
    str | None, typer.Option(metavar="N", help="Test images a block; each block walks rankings of its own.")
]
Difficulty = Annotated[
    str | None,
    typer.Option(
        metavar="D|auto",
        help="Greatest distance from the average, percentage points; auto: learnt from the ledger.",
    ),
]
PaymentError = Annotated[
    str | None,
    typer.Option(metavar="FEDCOIN", help="Stop mining once every payment is known to this, at 95 percent."),
]

_FIXED: Final[Mapping[str, str]] = {
    "task.price": "price_micro",
    "task.runtime": "runtime_ms",
    "task.attempts": "attempts",
    "task.least-rankings": "least_rankings",
    "task.most-rankings": "most_rankings",
    "task.block-images": "block_images",
    "task.aggregation": "aggregation",
    "task.server": "server",
    "consensus.difficulty": "difficulty_micro",
    "payment.train": "train_micro",
    "payment.computation": "computation_micro",
    "payment.shapley": "shapley_micro",
    "payment.rule": "sap_rule",
}
"""Which field of a call a setting becomes."""


def terms_of(configuration: "Configuration", server: Address, payment_error: str | None) -> Terms:
    """Settings and the wanted precision as terms."""
    error_micro = None if payment_error is None else amount_micro(payment_error, "--payment-error")
    return Terms(configuration.settings, server, error_micro)


def learnt(call: Call, workspace: "Workspace", terms: Terms, clients: int) -> Terms:
    """The same with the D that the ledger tells for so many clients."""
    from fedcoin_cli.application.books.books import Books
    from fedcoin_cli.application.requester.difficulty import learn_difficulty
    from ledger_store.base.amount import format_micro

    with Books.open(workspace) as books:
        found = learn_difficulty(books, clients, terms.settings.task.runtime_ms)
    call.output.note(f"D is {format_micro(found.difficulty_micro)} pp, learnt from task {found.task[:12]}")
    return replace(terms, difficulty_micro=found.difficulty_micro)


def check_unchanged(configuration: "Configuration", asked: "Task", signed: "Task") -> None:
    """Raise `FlagError` where the command line asks for anything else than what the clients have signed."""
    from fedcoin_cli.application.workspace.configuration import FlagError

    for key, name in _FIXED.items():
        given = configuration.origin(key)
        if given.origin == "flag" and getattr(asked, name) != getattr(signed, name):
            message = f"the clients signed for other terms than {key} = {given.value}"
            hint = "leave it out, or ask them anew: fedcoin round call"
            raise FlagError(message, where=given.where, hint=hint)
