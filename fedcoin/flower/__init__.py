"""Pay the clients of a Flower federation: `paid()` at the client, `Paid(strategy, …)` at the server.

    app = ClientApp(mods=[paid()])  # outermost: signs what leaves the host

    strategy = Paid(FedAvg(), workspace="shop", model=net, test=(x_test, y_test), price=1000)
    result = strategy.start(grid, initial_arrays, num_rounds=10)  # as before
    print(result.fedcoin)  # values, payments, task

Flower is loaded by these two alone: `pip install 'fedcoin[flower]'`. Values, rules and figures: docs/flower.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedcoin.flower.client import paid
    from fedcoin.flower.earnings import Earnings
    from fedcoin.flower.server import Paid, PaidResult

_HOMES = {
    "paid": "fedcoin.flower.client",
    "Paid": "fedcoin.flower.server",
    "PaidResult": "fedcoin.flower.server",
    "Earnings": "fedcoin.flower.earnings",
}

__all__ = ["Earnings", "Paid", "PaidResult", "paid"]


def __getattr__(name: str) -> Any:
    """What the package offers, loaded when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
