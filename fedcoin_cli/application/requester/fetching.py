"""Asking the miners for files of past rounds: what an auditor lacks, by digest, over the file channel.

It takes no coins: a miner gives all files to whoever its peers file names, and those of a round to the round's own
requester, server and clients; other accounts get none. Nothing that comes is believed: a file enters the store under
the digest that its bytes have, or not at all.
"""

import select
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fedcoin_cli.application.workspace.peers import listening
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.network.files.channel import Blobs
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.network.files.transfers import Arrived, Failed
from ledger_store.base.errors import NetworkFailure
from ledger_store.base.names import Address, Digest
from ledger_store.identity.keys import KeyPair

SILENCE_S = 30.0
TURN_S = 0.25


@dataclass(frozen=True, slots=True)
class Parcel:
    """Files wanted together and the most that all of them may weigh, in bytes."""

    digests: tuple[Digest, ...]
    most_bytes: int


def fetch(
    workspace: Workspace,
    key: KeyPair,
    parcels: Iterable[Parcel],
    step: Callable[[int], None] = lambda _: None,
) -> dict[str, str]:
    """Bring files into the workspace's store; returns those that nobody gave, with the reason.

    `step` is told how many files are settled, one way or the other. Raises `NetworkFailure` when no miner can be
    reached, `StorageFailure` when the disk refuses.
    """
    store = Store(workspace.store)
    peers = listening(workspace.peers_file, workspace.genesis().roster)
    blobs = Blobs(key, store, {peer.address: peer.files for peer in peers if peer.address != key.address})
    try:
        return _Fetching(blobs, [peer.address for peer in peers]).run(parcels, step)
    finally:
        blobs.close()


class _Fetching:
    """One run: what is still waited for, and what came to nothing."""

    def __init__(self, blobs: Blobs, holders: list[Address]) -> None:
        self._blobs, self._holders = blobs, holders
        self._waiting: set[str] = set()
        self._failed: dict[str, str] = {}
        self._denied: set[str] = set()

    def run(self, parcels: Iterable[Parcel], step: Callable[[int], None]) -> dict[str, str]:
        for parcel in parcels:
            self._waiting |= set(parcel.digests)
            most = parcel.most_bytes
            self._blobs.want(parcel.digests, each_bytes=most, all_bytes=most, holders=self._holders)
        total, heard_s = len(self._waiting), time.monotonic()
        while self._waiting and time.monotonic() - heard_s < SILENCE_S:
            select.select([self._blobs.fileno()], [], [], TURN_S)
            # A denied connection is made anew, and for a while nobody knows any more that it was denied.
            self._denied |= {peer for peer, state in self._blobs.peers().items() if state.denied}
            if self._settle():
                heard_s = time.monotonic()
                step(total - len(self._waiting))
        self._failed |= dict.fromkeys(self._waiting, "no miner answered in time")
        if len(self._failed) == total > 0 and not self._reached:
            raise self._unreachable()
        return self._failed

    def _settle(self) -> bool:
        """Whether something came or will not come."""
        before = len(self._waiting)
        for event in self._blobs.events():
            if isinstance(event, Arrived | Failed):
                self._waiting.discard(event.digest)
            if isinstance(event, Failed):
                self._failed[event.digest] = event.reason
        return len(self._waiting) < before

    @property
    def _reached(self) -> bool:
        return any(state.connected for state in self._blobs.peers().values())

    def _unreachable(self) -> NetworkFailure:
        hint = "fedcoin status shows which miners answer"
        if self._denied:
            admitted = "they admit accounts of 1 FedCoin and whoever their peers files name"
            hint = f"{len(self._denied)} miners do not admit this key: {admitted}"
        return NetworkFailure("no miner can be reached for files", hint=hint)
