"""Who may read which files of rounds: the miners and whom the peers file names all, an account those of its own tasks.

A task's own parties are who published it, its server and its clients. A file belongs to the parties of the first task
on the ledger that names it: digests are public, and whoever repeats one in a task of its own learns nothing by that.
"""

from collections.abc import Collection, Iterable

from fedcoin_cli.network.connections import owner
from ledger_store.transaction import Result, Task, Transaction

Parties = frozenset[str]


class Readers:
    """Parties by digest. Asked by the file thread while the node's thread adds to it: nothing is ever taken away."""

    def __init__(self, all_files: Collection[str]) -> None:
        self._all_files = frozenset(all_files)
        self._parties: dict[str, Parties] = {}
        self._of_task: dict[str, Parties] = {}

    def may_read(self, sender: str, digest: str) -> bool:
        """Whether the account behind a connection may have a file."""
        address = owner(sender)
        return address in self._all_files or address in self._parties.get(digest, frozenset())

    def began(self, task: Task) -> None:
        """A task is on the ledger; tasks come in the ledger's order."""
        parties = frozenset({task.sender, task.server, *(update.client for update in task.updates)})
        self._of_task[task.id] = parties
        self._add(task.files, parties)

    def revealed(self, task: str, tables: Iterable[str]) -> None:
        """A final result names these tables."""
        self._add(tables, self._of_task.get(task, frozenset()))

    def follow(self, transactions: Iterable[Transaction]) -> None:
        """What a final block says."""
        for transaction in transactions:
            if isinstance(transaction, Task):
                self.began(transaction)
            elif isinstance(transaction, Result):
                self.revealed(transaction.task, [reveal.table for reveal in transaction.reveals])

    def _add(self, digests: Iterable[str], parties: Parties) -> None:
        for digest in digests:
            self._parties.setdefault(digest, parties)
