"""The id of the network that somebody means, as an option: whole, since half an id names nothing for sure."""

import typer

from ledger_store.base.canonical import DIGEST_LENGTH
from ledger_store.base.names import BlockId, GenesisId


def checked_genesis(text: str | None) -> GenesisId | None:
    """The id that --genesis names; raises `BadParameter` for what can be none."""
    if text is None:
        return None
    if len(text) != DIGEST_LENGTH or not set(text) <= set("0123456789abcdef"):
        length = f"{len(text)} characters" if len(text) != DIGEST_LENGTH else "others"
        raise typer.BadParameter(
            f"--genesis takes a whole id, {DIGEST_LENGTH} lower-case hex digits, not {length}"
        )
    return GenesisId(BlockId(text))
