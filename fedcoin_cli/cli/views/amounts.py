"""Amounts of coins on the command line and in tables, and how surely they are known."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedcoin_cli.protocol.message import Errors


def amount_micro(text: str, where: str) -> int:
    """Coins as micro-FedCoin; raises `FlagError` naming the option or argument `where`."""
    from fedcoin_cli.application.workspace.configuration import FlagError
    from ledger_store.base.amount import parse_micro
    from ledger_store.base.errors import SettingsError

    try:
        return parse_micro(text)
    except SettingsError as error:
        raise FlagError(error.message, where=where, hint=error.hint) from error


def aligned(texts: Sequence[str]) -> list[str]:
    """Decimals with zeros behind them, so that right-justified points stand below each other."""
    most = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [text + "0" * (most - len(text.partition(".")[2])) for text in texts]


def errors_text(errors: "Errors") -> str:
    """The standard errors that a miner tells, in coins; in points while no value is positive."""
    from ledger_store.base.amount import format_micro

    what, told = "payments", [errors.payments_micro, errors.images_micro]
    if errors.payments_micro is None or (errors.images_micro is None and errors.images_pp_micro is not None):
        what, told = "values", [errors.values_pp_micro, errors.images_pp_micro]
    parts = [
        f"± {format_micro(micro) if what == 'payments' else f'{micro / 1e6:.2g} pp'} by {cause}"
        for micro, cause in zip(told, ("mining", "the test set"), strict=True)
        if micro is not None
    ]
    return f"{what} {', '.join(parts)}"
