"""What the attempt at work lacks here: the files of its task and revealed tables, and whom to ask for them."""

from fedcoin_cli.contract.task import most_table_bytes
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.ports import Orders, Ports
from ledger_store.base.names import Address
from ledger_store.genesis import Bounds, Genesis
from ledger_store.transaction import Reveal, Task


def table_bytes(task: Task, reveal: Reveal, bounds: Bounds) -> int:
    """What is fetched for a table of this reveal at most: what it weighs."""
    return min(most_table_bytes(task, reveal), bounds.table_bytes)


class Lacking:
    """Files that `orders` wait for."""

    def __init__(self, genesis: Genesis, address: Address, ports: Ports, orders: Orders) -> None:
        self._genesis, self._address, self._ports, self._orders = genesis, address, ports, orders

    def want(self, task: Task) -> None:
        """What waiting orders lack: tables, and the task's files if this miner was away when the task came."""
        unsent = self._orders.unsent()
        missing = [digest for digest in task.files if not self._ports.has_file(digest)]
        if missing and unsent:
            holders = self._holders(task.sender)
            self._ports.want_files(missing, holders, self._genesis.bounds.files_bytes)
        for order in unsent:
            if isinstance(order, jobs.VerifyTable):
                self.want_table(order.task, order.reveal)

    def want_table(self, task: Task, reveal: Reveal) -> None:
        """The table of a reveal, from its miner or whoever has it by now."""
        if not self._ports.has_file(reveal.table):
            bound = table_bytes(task, reveal, self._genesis.bounds)
            self._ports.want_files([reveal.table], self._holders(reveal.miner), bound)

    def _holders(self, likely: Address) -> list[Address]:
        """Whom to ask for a file, the likeliest first."""
        others = dict.fromkeys([likely, *self._genesis.roster])
        others.pop(self._address, None)
        return list(others)
