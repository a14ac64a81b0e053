"""Which files of past rounds a recomputation lacks here, in parcels as the file channel takes them."""

from collections.abc import Iterable

from fedcoin_cli.application.auditing.full_audit import Find
from fedcoin_cli.application.requester.fetching import Parcel
from fedcoin_cli.contract.outcome_check import Case
from fedcoin_cli.replica.lacking import table_bytes
from ledger_store.base.names import Digest
from ledger_store.genesis import Bounds


def parcels(results: list[Case], bounds: Bounds, find: Find) -> list[Parcel]:
    """The files that recomputing these takes and that are not here: a parcel a task's files, one a table."""
    wanted: dict[str, Parcel] = {}
    for one in results:
        task = one.record.task
        wanted[task.id] = Parcel(_missing(task.files, find), bounds.files_bytes)
        for reveal in one.result.reveals:
            wanted[reveal.table] = Parcel(_missing([reveal.table], find), table_bytes(task, reveal, bounds))
    return [parcel for parcel in wanted.values() if parcel.digests]


def _missing(digests: Iterable[Digest], find: Find) -> tuple[Digest, ...]:
    return tuple(digest for digest in digests if find(digest) is None)
