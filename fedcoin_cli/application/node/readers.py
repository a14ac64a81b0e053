"""Who may read which files of rounds: the miners and whom the peers file names all, an account those of its own tasks.

A task's own parties are who published it, its server and its clients. What a call names, its requester has shown to
have: that belongs to the parties of every task of it. Any other file belongs to those of the first task on the ledger
that names it: digests are public, and whoever repeats one in a task of its own learns nothing by that.

Every digest that a task ever named counts, so they are kept small (`Named`); who the parties are is read from the
ledger when somebody asks. (docs/adr/0034, 0050)
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable
from functools import lru_cache
from itertools import product
from threading import Lock

from fedcoin_cli.network.transport.base import owner
from ledger_store.base.canonical import tagged_hash
from ledger_store.base.errors import FedCoinError
from ledger_store.base.names import Address, Digest, TaskId
from ledger_store.file.chain_file import ChainReader
from ledger_store.transaction import Task, trusted_task

Files = frozenset[str]
Parties = frozenset[str]

_BUCKETS, _PREFIX = 256, 16
# More tasks than transactions fit into no block.
_TASKS_A_BLOCK = 1_024
_REMEMBERED = 64


class Named:
    """Digests, each with a number that it got first: 16 bytes a digest, which stands for its first 64 bits.

    Two that share those are taken for one: then the later one's parties read nothing, and nobody reads more.
    """

    def __init__(self) -> None:
        self._prefixes = [array("Q") for _ in range(_BUCKETS)]
        self._numbers = [array("Q") for _ in range(_BUCKETS)]
        self._lock = Lock()  # a digest and its number come one after the other

    def add(self, digest: Digest, number: int) -> None:
        """Give a digest a number, unless it has one."""
        with self._lock:
            prefix, bucket, place = self._place(digest)
            known = self._prefixes[bucket]
            if place == len(known) or known[place] != prefix:
                known.insert(place, prefix)
                self._numbers[bucket].insert(place, number)

    def get(self, digest: Digest) -> int | None:
        """A digest's number."""
        with self._lock:
            prefix, bucket, place = self._place(digest)
            known = self._prefixes[bucket]
            return self._numbers[bucket][place] if place < len(known) and known[place] == prefix else None

    def _place(self, digest: Digest) -> tuple[int, int, int]:
        prefix = int(digest[:_PREFIX], 16)
        bucket = prefix % _BUCKETS
        return prefix, bucket, bisect_left(self._prefixes[bucket], prefix)


class Readers:
    """Asked by the file thread while the node's thread adds to it: nothing is ever taken away [P-11.27]."""

    def __init__(self, all_files: Collection[str], ledger: ChainReader) -> None:
        self._all_files, self._ledger, self._height = frozenset(all_files), ledger, 0
        self._named, self._numbers = Named(), dict[str, int]()
        self._task_of = lru_cache(_REMEMBERED)(self._read_task)
        self.follow()

    def may_read(self, sender: Address, digest: Digest) -> bool:
        """Whether the account behind a connection may have a file."""
        address = owner(sender)
        if address in self._all_files:
            return True
        return self._belongs(digest, digest, address) or self._belongs(
            _shared(address, digest), digest, address
        )

    def _belongs(self, key: Digest, digest: Digest, address: str) -> bool:
        number = self._named.get(key)
        if number is None:
            return False
        parties, called = self._task_of(number)
        return address in parties and (key == digest or digest in called)

    def follow(self) -> None:
        """The ledger may have grown."""
        while self._height < self._ledger.height:
            self._height += 1
            number = self._height * _TASKS_A_BLOCK
            for item in self._ledger.transactions(self._height, "task", "result"):
                if item["type"] == "result":
                    self._add((one["table"] for one in item["reveals"]), self._number_of(item["task"]))
                    continue
                task = trusted_task(item)
                self._numbers[task.id] = number
                self._add(task.files, number)
                pairs = product(_parties(task), task.called_files)
                self._add((_shared(party, digest) for party, digest in pairs), number)
                number += 1

    def _number_of(self, task_id: TaskId) -> int:
        """That of a task with a result, which was the oldest that had not ended: those before it have."""
        for older in list(self._numbers):
            if older == task_id:
                break
            del self._numbers[older]
        return self._numbers[task_id]

    def _add(self, digests: Iterable[Digest], number: int) -> None:
        for digest in digests:
            self._named.add(digest, number)

    def _read_task(self, number: int) -> tuple[Parties, Files]:
        """The parties of a task and what its call names; nobody where the ledger's bytes have changed."""
        height, place = divmod(number, _TASKS_A_BLOCK)
        try:
            task = trusted_task(self._ledger.transactions(height, "task")[place])
        except (FedCoinError, OSError, LookupError):
            return frozenset(), frozenset()
        return _parties(task), frozenset(task.called_files)


def _parties(task: Task) -> Parties:
    return frozenset({task.sender, task.server, *(update.client for update in task.updates)})


def _shared(party: str, digest: Digest) -> Digest:
    """Stands for a party of a task and a file that its call names."""
    return tagged_hash("reader", bytes.fromhex(party + digest))
