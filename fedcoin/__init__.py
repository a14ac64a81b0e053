"""FedCoin from Python: Shapley values of federated-learning updates, and a ledger that pays for them.

Two ways in. Without any ledger, one call:

    values, errors = fedcoin.shapley(model, (x_test, y_test), updates)

With a ledger, a workspace, which is the folder that the `fedcoin` program works in as well:

    workspace = fedcoin.Workspace.create("shop", miners=2)
    with workspace.mining():
        folder = workspace.make_round(model, (x_test, y_test), updates)
        settlement = workspace.publish(folder, price=100)

Numbers are exact: values are fractions of percentage points, payments decimals of coins; `float()` takes either, and
`rows()` gives floats for tables. An error that a person may meet is a `FedCoinError` with `message`, `where` and
`hint`. This package holds no logic: it stands on `fedcoin_cli.application`, as the program's commands do (why:
docs/adr/0036). Importing it loads nothing; NumPy is loaded by what takes arrays, sockets by what speaks to miners.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedcoin.ledgers import Audit, Payment, Proven, audit, prove, verify
    from fedcoin.settlements import Settlement
    from fedcoin.values import Looked, Semivalues, ShapleyValues, inspect, mlp, semivalues, shapley
    from fedcoin.workspaces import Progress, Workspace
    from ledger_store.base.errors import ConsensusFailure, FedCoinError, LedgerInvalid, RoundFilesInvalid

_HOMES = {
    "fedcoin.values": (
        "shapley",
        "ShapleyValues",
        "semivalues",
        "Semivalues",
        "inspect",
        "Looked",
        "mlp",
    ),
    "fedcoin.workspaces": ("Workspace", "Progress"),
    "fedcoin.settlements": ("Settlement",),
    "fedcoin.ledgers": ("audit", "Audit", "prove", "verify", "Proven", "Payment"),
    "ledger_store.base.errors": ("FedCoinError", "ConsensusFailure", "LedgerInvalid", "RoundFilesInvalid"),
}
_PLACES = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Audit",
    "ConsensusFailure",
    "FedCoinError",
    "LedgerInvalid",
    "Looked",
    "Payment",
    "Progress",
    "Proven",
    "RoundFilesInvalid",
    "Semivalues",
    "Settlement",
    "ShapleyValues",
    "Workspace",
    "audit",
    "inspect",
    "mlp",
    "prove",
    "semivalues",
    "shapley",
    "verify",
]


def __getattr__(name: str) -> Any:
    """What the package offers, loaded when it is first asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_PLACES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
