"""The rounds that a ledger's newest end names: those of unfinished tasks, and of so many that ended.

What older ones were is not remembered: at the start the ledger is read from its end until all of these are found.
"""

from dataclasses import dataclass, replace

from ledger_store.base.names import Digest, TaskId
from ledger_store.bookkeeping.history import ended_by
from ledger_store.file.chain_file import ChainReader
from ledger_store.transaction import Result, Task, Transaction, parse_transaction

_KINDS = ("task", "cancel", "close", "result")


@dataclass(frozen=True, slots=True)
class PastRound:
    """A task, and the tables that its results name, those of failed attempts too."""

    task: Task
    tables: tuple[Digest, ...] = ()


class Rounds:
    """`ended` stand in the order of their end, `unfinished` by their task's id."""

    def __init__(self, ledger: ChainReader, most_ended: int) -> None:
        self._ledger, self._height = ledger, ledger.height
        self.ended: list[PastRound] = []
        self.unfinished: dict[str, PastRound] = {}
        self._look_back(most_ended)

    def follow(self) -> None:
        """The ledger may have grown."""
        while self._height < self._ledger.height:
            self._height += 1
            for transaction in self._at(self._height):
                self._take(transaction)

    def _take(self, transaction: Transaction) -> None:
        if isinstance(transaction, Task):
            self.unfinished[transaction.id] = PastRound(transaction.lean())
        elif isinstance(transaction, Result):
            known = self.unfinished[transaction.task]
            tables = (*known.tables, *_tables(transaction))
            self.unfinished[transaction.task] = replace(known, tables=tables)
        ended = ended_by(transaction)
        if ended is not None:
            self.ended.append(self.unfinished.pop(ended))

    def _at(self, height: int) -> list[Transaction]:
        return list(map(parse_transaction, self._ledger.transactions(height, *_KINDS)))

    def _look_back(self, most_ended: int) -> None:
        unfinished, ended = self._ledger.tip.state.queue, list[TaskId]()
        tables: dict[TaskId, tuple[Digest, ...]] = dict.fromkeys(unfinished, ())
        found: dict[str, PastRound] = {}
        height = self._height
        while height and (len(ended) < most_ended or len(found) < len(tables)):
            for transaction in reversed(self._at(height)):
                name = ended_by(transaction)
                if name is not None and len(ended) < most_ended:
                    ended.append(name)
                    tables[name] = ()
                if isinstance(transaction, Result) and transaction.task in tables:
                    tables[transaction.task] = (*_tables(transaction), *tables[transaction.task])
                elif isinstance(transaction, Task) and transaction.id in tables:
                    found[transaction.id] = PastRound(transaction.lean(), tables[transaction.id])
            height -= 1
        self.ended = [found[name] for name in reversed(ended)]
        self.unfinished = {name: found[name] for name in unfinished}


def _tables(result: Result) -> tuple[Digest, ...]:
    return tuple(reveal.table for reveal in result.reveals)
