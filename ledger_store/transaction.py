"""The five transactions as one type, and the door to their parts.

Transfer, task and cancel are signed by an account (`signed`); close and result are written by the miners and
carry what the miners signed (`proof`, `outcome`).
"""

from collections.abc import Callable
from typing import Any

from ledger_store.base.canonical import DIGEST_LENGTH
from ledger_store.base.errors import Malformed
from ledger_store.genesis import CLIENTS_MAX
from ledger_store.outcome import Outcome, Pay
from ledger_store.proof import (
    SALT_LENGTH,
    Close,
    Commit,
    Estimate,
    FraudMark,
    Result,
    Reveal,
    commit_terms,
    exact_denominator,
    mask_hex,
    read_close,
    read_commit,
    read_estimate,
    read_result,
    read_reveal,
)
from ledger_store.signed import (
    AGGREGATIONS,
    CHANCE,
    NONCE_LENGTH,
    SAP_RULES,
    ZERO,
    Baseline,
    Cancel,
    Signed,
    Task,
    Transfer,
    Update,
    read_call,
    read_cancel,
    read_task,
    read_transfer,
    sign,
    sign_update,
    trusted_task,
    update_terms,
)

__all__ = [
    "AGGREGATIONS",
    "CHANCE",
    "CLIENTS_MAX",
    "DIGEST_LENGTH",
    "NONCE_LENGTH",
    "SALT_LENGTH",
    "SAP_RULES",
    "ZERO",
    "Baseline",
    "Cancel",
    "Close",
    "Commit",
    "Estimate",
    "FraudMark",
    "Outcome",
    "Pay",
    "Result",
    "Reveal",
    "Signed",
    "Task",
    "Transaction",
    "Transfer",
    "Update",
    "commit_terms",
    "exact_denominator",
    "mask_hex",
    "parse_transaction",
    "read_call",
    "read_commit",
    "read_estimate",
    "read_reveal",
    "sign",
    "sign_update",
    "trusted_task",
    "update_terms",
]

Transaction = Transfer | Task | Cancel | Close | Result

_READERS: dict[str, Callable[[Any], Transaction]] = {
    "transfer": read_transfer,
    "task": read_task,
    "cancel": read_cancel,
    "close": read_close,
    "result": read_result,
}


def parse_transaction(value: Any) -> Transaction:
    """Read any of the five; raises `Malformed` [P-4.3]."""
    kind = value.get("type") if type(value) is dict else None
    reader = _READERS.get(kind) if type(kind) is str else None
    if reader is None:
        raise Malformed("transaction: unknown type")
    return reader(value)
