"""Amounts of coins on the command line."""

from fedcoin_cli.application.configuration import FlagError
from ledger_store.amount import parse_micro
from ledger_store.errors import SettingsError


def amount_micro(text: str, where: str) -> int:
    """Coins as micro-FedCoin; raises `FlagError` naming the option or argument `where`."""
    try:
        return parse_micro(text)
    except SettingsError as error:
        raise FlagError(error.message, where=where, hint=error.hint) from error
