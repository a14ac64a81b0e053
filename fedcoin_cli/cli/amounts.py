"""Amounts of coins on the command line and in tables."""

from collections.abc import Sequence


def amount_micro(text: str, where: str) -> int:
    """Coins as micro-FedCoin; raises `FlagError` naming the option or argument `where`."""
    from fedcoin_cli.application.workspace.configuration import FlagError
    from ledger_store.amount import parse_micro
    from ledger_store.errors import SettingsError

    try:
        return parse_micro(text)
    except SettingsError as error:
        raise FlagError(error.message, where=where, hint=error.hint) from error


def aligned(texts: Sequence[str]) -> list[str]:
    """Decimals with zeros behind them, so that right-justified points stand below each other."""
    most = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [text + "0" * (most - len(text.partition(".")[2])) for text in texts]
