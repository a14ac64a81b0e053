"""How a requester shows that it has the files of its call: their digests are no secret, and would prove nothing."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ledger_store.base import disk
from ledger_store.base.canonical import tagged_hasher
from ledger_store.base.names import Address, Digest


def held_by(requester: Address, files: Iterable[Path | None]) -> Digest:
    """What nobody can name who has not the files, and nobody for another account; raises `OSError`.

    `files` are model, test set, baseline and frozen weights, None where there is none. (docs/adr/0050) [P-5.22]
    """
    hasher = tagged_hasher("held", bytes.fromhex(requester))
    for path in filter(None, files):
        with disk.open_file(path) as file:
            hashlib.file_digest(file, lambda: hasher)
    return Digest(hasher.hexdigest())
