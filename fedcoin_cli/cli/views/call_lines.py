"""What a call asks and promises, as lines for those who sign it and as JSON."""

from typing import Any

from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.cli.program.output import counted
from ledger_store.base.amount import format_micro
from ledger_store.transaction import Task


def call_lines(call: Task, names: Names) -> list[str]:
    """The terms that a client's signature covers, in words."""
    clients = f"{call.least_clients} to {call.most_clients}"
    if call.least_clients == call.most_clients:
        clients = str(call.most_clients)
    parts = (
        f"{format_micro(call.train_micro)} to the clients by their values,"
        f" {format_micro(call.computation_micro)} to the server, {format_micro(call.shapley_micro)} to the miners"
    )
    images = f"{counted(call.images, 'image')} in blocks of {call.block_images}"
    precision = f"D {format_micro(call.difficulty_micro)} pp, {counted(call.attempts, 'attempt')}"
    return [
        f"asked by  {names.name(call.sender)}, who pays",
        f"price     {format_micro(call.price_micro)} FedCoin: {parts}",
        f"server    {names.name(call.server)}",
        f"clients   {clients}, aggregated by {call.aggregation}",
        *(f"one owner {', '.join(map(names.name, group))}: paid to the first" for group in call.groups),
        f"test set  {images}",
        f"judged by {call.metric}; nobody is worth {call.empty} of {call.whole}, by baseline {call.baseline}",
        f"mining    {call.runtime_ms / 1000:g} s, {precision}",
    ]


def call_data(call: Task) -> dict[str, Any]:
    """The same for programs: the terms as they are signed, and their digest."""
    return {"call": call.call, "terms": call.called}
