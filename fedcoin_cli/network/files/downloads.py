"""All the files wanted here: which peer is asked for which, and what is reported. File thread only."""

import contextlib
import shutil
import sys
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

from fedcoin_cli.network.files.download import NOBODY, Budget, Download, DownloadOutcome, Grant
from fedcoin_cli.network.files.pieces import Chunk, Have, Lack, Offer, Piece, to_bytes
from fedcoin_cli.network.files.store import Partial, Store
from fedcoin_cli.network.files.transfers import Arrived, Failed, Lied, Purse, Removed, Report, Wish
from fedcoin_cli.network.transport.base import Transport
from ledger_store.base.errors import NotFound, StorageFailure
from ledger_store.base.names import Address, Digest

ACTIVE_MOST = 8
CONNECT_S = 5.0
LOOK_S = 1.0
TURN_S = 0.1
IDLE_MS = 1000
# Whoever still wants a file says so again: a wish that nobody renews ends, and with it what came of the file.
WISH_S = 600.0
# Who want one file for different purposes; the first are enough, since wishes are renewed.
GRANTS_MOST = 64


@dataclass(slots=True)
class _Entry:
    """A wanted file, last wished for at `wished_s`; `told` once its failure was reported and no holder named since."""

    download: Download
    wished: set[tuple[Purse, ...]]
    since_s: float
    wished_s: float
    told: bool = True
    reason: str = "no holder could be reached"


class Downloads:
    """The wanted files; at most one is asked of a peer at a time, since one fills its line."""

    def __init__(self, store: Store, owner: Address, wire: Transport, report: Report) -> None:
        self._store, self._owner, self._wire, self._report = store, owner, wire, report
        self._entries: dict[Digest, _Entry] = {}
        # A purse lives as long as a file on its way, or one that came, burdens it.
        self._purses = weakref.WeakValueDictionary[Purse, Budget]()
        self._spent: dict[Digest, tuple[Budget, int]] = {}  # for files that came and burden a purse still
        self._look_s = self._turn_s = 0.0

    def want(self, wish: Wish, now_s: float) -> None:
        """Want files, or name more holders of files that are wanted already."""
        grant = Grant(wish.each_bytes, Budget(wish.all_bytes, self._purse(wish.purses)), wish.reserve_bytes)
        for digest in wish.digests:
            entry = self._entries.get(digest)
            if entry is None:
                entry = self._enter(digest, grant, wish.purses, now_s)
            elif wish.purses not in entry.wished and (len(entry.wished) < GRANTS_MOST or not wish.purses):
                entry.wished.add(wish.purses)
                entry.download.grants.append(grant)
            entry.download.add(wish.holders)
            entry.wished_s = now_s
            if wish.holders:
                entry.since_s, entry.told = now_s, False
        self._look_s = self._turn_s = 0.0

    def forget(self, digests: Iterable[Digest]) -> None:
        """Want these no more; what came of them is deleted."""
        for digest in digests:
            entry = self._entries.pop(digest, None)
            if entry is not None:
                self._abandon(entry)

    def release(self, digests: Iterable[Digest]) -> None:
        """These burden no purse any more: they are needed for good, or gone."""
        for digest in digests:
            budget, size_bytes = self._spent.pop(digest, (None, 0))
            if budget is not None:
                budget.spend(-size_bytes)

    def remove(self, digests: Iterable[Digest]) -> None:
        """Want these no more and delete them, whole or not; each is reported as `Removed`."""
        for digest in digests:
            self.forget([digest])
            self.release([digest])
            with contextlib.suppress(StorageFailure):
                self._store.remove(digest)
            self._report(Removed(digest))

    def offered(self, sender: Address, offer: Offer) -> None:
        """A peer offers a file: taken only when it is wanted."""
        entry = self._entries.get(offer.digest)
        if self._store.has(offer.digest):
            self._send(sender, Have(offer.digest))
        elif entry is not None and entry.download.fits(offer.size_bytes):
            entry.download.add([sender])
            self._turn_s = 0.0

    def lacked(self, sender: Address, lack: Lack) -> None:
        """A peer that was asked does not have it."""
        entry = self._entries.get(lack.digest)
        if entry is not None and entry.download.source == sender:
            self._drop(entry, "a holder lacks it")

    def came(self, sender: Address, chunk: Chunk, now_s: float) -> None:
        """Bytes from a peer; those that nobody asked for are passed over."""
        entry = self._entries.get(chunk.digest)
        if entry is None or entry.download.source != sender:
            return
        try:
            outcome = entry.download.take(chunk, now_s)
            self._follow(entry, sender, chunk.total_bytes, outcome)
        except StorageFailure as error:
            self._give_up(entry, error)

    def turn(self, now_s: float) -> int:
        """What time brings: files that another process brought, silent peers, the next peers to ask.

        Returns the most milliseconds to wait for the next turn.
        """
        if now_s >= self._look_s:
            self._look_s = now_s + LOOK_S
            self._look()
            self.forget([d for d, entry in self._entries.items() if now_s - entry.wished_s > WISH_S])
        if now_s >= self._turn_s:
            self._turn_s = now_s + TURN_S
            self._retire(now_s)
            self._start(now_s)
            self._tell(now_s)
        return int(TURN_S * 1000) if self._entries else IDLE_MS

    def close(self) -> None:
        """Keep what came for the next process of this owner."""
        for entry in self._entries.values():
            entry.download.close()

    def _enter(self, digest: Digest, grant: Grant, purses: tuple[Purse, ...], now_s: float) -> _Entry:
        def open_part() -> Partial:
            return self._store.partial(digest, self._owner)

        download = Download(digest, grant, open_part, self._free_bytes)
        entry = self._entries[digest] = _Entry(download, {purses}, now_s, now_s)
        return entry

    def _purse(self, purses: tuple[Purse, ...]) -> Budget | None:
        """The budget of the last of these, which stands below the others."""
        above: Budget | None = None
        for purse in purses:
            above = self._purses.setdefault(purse, Budget(purse.total_bytes, above))
        return above

    def _free_bytes(self) -> int:
        """What the disk has, less what files on their way have still to bring."""
        try:
            free = shutil.disk_usage(self._store.folder).free
        except OSError:
            return sys.maxsize  # writing will tell
        return free - sum(entry.download.lacks_bytes for entry in self._entries.values())

    def _note_spent(self, download: Download, size_bytes: int) -> None:
        if download.charged is not None and download.charged.above is not None:
            self._spent[download.digest] = (download.charged, size_bytes)

    def _follow(self, entry: _Entry, sender: Address, size_bytes: int, outcome: DownloadOutcome) -> None:
        download = entry.download
        match outcome:
            case DownloadOutcome.MORE:
                for want in download.wants():
                    self._send(sender, want)
                return
            case DownloadOutcome.DONE:
                del self._entries[download.digest]
                self._note_spent(download, size_bytes)
                self._send(sender, Have(download.digest))
                self._report(Arrived(download.digest, size_bytes))
            case DownloadOutcome.REFUSED | DownloadOutcome.NO_ROOM:
                self._drop(entry, outcome.value)
            case DownloadOutcome.LIE:
                entry.reason = outcome.value
                self._report(Lied(download.blame(), download.digest))
            case DownloadOutcome.MIXED:
                download.start_over()
        self._turn_s = 0.0

    def _look(self) -> None:
        for digest, entry in list(self._entries.items()):
            try:
                size_bytes = self._store.size(digest)
            except (NotFound, StorageFailure):
                continue
            del self._entries[digest]
            self._abandon(entry)
            outcome = entry.download.charge(size_bytes)
            if outcome is DownloadOutcome.REFUSED:
                self._report(Failed(digest, outcome.value))
                continue
            self._note_spent(entry.download, size_bytes)
            self._report(Arrived(digest, size_bytes))

    def _retire(self, now_s: float) -> None:
        for entry in self._entries.values():
            source = entry.download.source
            if source == NOBODY:
                continue
            if not self._wire.is_connected(source):
                entry.reason = "a holder went away"
                entry.download.drop()
                entry.download.add([source])
            elif entry.download.is_overdue(now_s):
                entry.reason = "a holder fell silent"
                entry.download.leave()

    def _start(self, now_s: float) -> None:
        busy = {entry.download.source for entry in self._entries.values()} - {NOBODY}
        for entry in list(self._entries.values()):
            if len(busy) >= ACTIVE_MOST:
                return
            if entry.download.source == NOBODY:
                reachable = (each for each in entry.download.waiting if self._wire.is_connected(each))
                source = next((each for each in reachable if each not in busy), None)
                if source is not None:
                    busy.add(source)
                    self._begin(entry, source, now_s)

    def _begin(self, entry: _Entry, source: Address, now_s: float) -> None:
        try:
            self._send(source, entry.download.begin(source, now_s))
        except StorageFailure as error:
            self._give_up(entry, error)

    def _tell(self, now_s: float) -> None:
        for entry in self._entries.values():
            if entry.told or entry.download.source != NOBODY:
                continue
            patient = now_s - entry.since_s < CONNECT_S
            if not any(patient or self._wire.is_connected(each) for each in entry.download.waiting):
                entry.told = True
                self._report(Failed(entry.download.digest, entry.reason))

    def _drop(self, entry: _Entry, reason: str) -> None:
        entry.reason = reason
        entry.download.drop()
        self._turn_s = 0.0

    def _give_up(self, entry: _Entry, error: StorageFailure) -> None:
        self._entries.pop(entry.download.digest)
        self._abandon(entry)
        self._report(Failed(entry.download.digest, error.message))

    def _abandon(self, entry: _Entry) -> None:
        # A disk that will not even delete leaves a part for the sweep.
        with contextlib.suppress(StorageFailure):
            entry.download.abandon()

    def _send(self, address: Address, piece: Piece) -> None:
        self._wire.send(address, to_bytes(piece))
