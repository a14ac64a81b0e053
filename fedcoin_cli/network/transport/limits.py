"""How much one peer may send, and how much may wait for it. No socket, no clock."""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from ledger_store.base.names import Address


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one channel.

    `frame_bytes` is the largest frame taken. `pipe_frames` is what ZeroMQ may hold a peer and direction; it
    is kept small because ZeroMQ drops the newest, while `waiting_frames` / `waiting_bytes` of ours drop the
    oldest. `inbound_frames`, when not 0, is what it may hold on the way in instead. A peer may send
    `burst_frames` at once and `frames_per_s` for ever, who is not a member besides `guest_burst_bytes` at once and
    `guest_bytes_per_s` (0: any number): reading a frame costs by its bytes.
    """

    frame_bytes: int
    pipe_frames: int
    waiting_frames: int
    waiting_bytes: int
    frames_per_s: int
    burst_frames: int
    inbound_frames: int = 0
    guest_bytes_per_s: int = 0
    guest_burst_bytes: int = 0


class Bucket:
    """A token bucket: `burst` at once, `per_s` in the long run [P-11.12]."""

    __slots__ = ("_at_s", "_burst", "_per_s", "_tokens")

    def __init__(self, per_s: float, burst: float, now_s: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at_s = now_s

    def take(self, now_s: float, cost: float = 1) -> bool:
        """Take so many tokens if there are as many."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True


EXCESS_BYTES, FORGIVEN_BYTES_PER_S = 2**22, 2**16
KNOWN_MOST = 2**12
BARRED_S, BARRED_MOST_S = 10.0, 600.0


class Bars:
    """Who sent so much beyond its allowance that it is kept out: for ten seconds, then each time for twice as long.

    What is beyond an allowance is dropped, but only after it was received and decrypted; an honest account may have a
    little of that by mistake, nobody much.
    """

    __slots__ = ("_excess", "_out", "_terms")

    def __init__(self) -> None:
        self._excess: dict[Address, Bucket] = {}
        self._terms: dict[Address, tuple[float, float]] = {}
        self._out: set[Address] = set()

    def over(self, name: Address, size: int, now_s: float) -> bool:
        """So many bytes of `name` came beyond its allowance: whether it is to be kept out from now on."""
        if name in self._out:
            return False  # what was on its way already
        if len(self._excess) >= KNOWN_MOST:
            self._excess.clear()
        excess = self._excess.setdefault(name, Bucket(FORGIVEN_BYTES_PER_S, EXCESS_BYTES, now_s))
        if excess.take(now_s, size):
            return False
        self._terms = {
            known: (until_s, term_s)
            for known, (until_s, term_s) in self._terms.items()
            if now_s - until_s < BARRED_MOST_S
        }
        _, last_s = self._terms.get(name, (0.0, 0.0))
        term_s = min(2 * last_s, BARRED_MOST_S) if last_s else BARRED_S
        self._terms[name] = now_s + term_s, term_s
        self._out.add(name)
        return True

    def ended(self, now_s: float) -> list[Address]:
        """Who may come again."""
        free = [name for name in self._out if now_s >= self._terms[name][0]]
        self._out.difference_update(free)
        return free


class SilenceLimit:
    """Who is connected and was not heard for `most_s`, by the clock of who listens (docs/adr/0032)."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._heard_s: dict[Address, float] = {}
        self._turned_s = -math.inf

    def turn(self, heard: Iterable[Address], connected: Collection[Address], now_s: float) -> list[Address]:
        """Who has been silent too long; each is given as much time again."""
        paused, self._turned_s = now_s - self._turned_s > self._most_s / 2, now_s
        known = {} if paused else self._heard_s  # who was away itself has heard nobody, and can blame nobody
        self._heard_s = {address: known.get(address, now_s) for address in connected}
        self._heard_s |= dict.fromkeys(self._heard_s.keys() & set(heard), now_s)
        silent = [address for address, since_s in self._heard_s.items() if now_s - since_s > self._most_s]
        self._heard_s |= dict.fromkeys(silent, now_s)
        return silent


RANKS = 4


class Outbox:
    """Frames that wait for one peer, by rank: 0 leaves first. Of too many, the oldest of the last rank go.

    (docs/adr/0032) [P-11.13]
    """

    __slots__ = ("_bytes", "_limits", "_ranks", "dropped")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._ranks: tuple[deque[bytes], ...] = tuple(deque() for _ in range(RANKS))
        self._bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return sum(map(len, self._ranks))

    def push(self, frame: bytes, rank: int = 0) -> None:
        """Add a frame at the end of its rank."""
        self._ranks[rank].append(frame)
        self._bytes += len(frame)
        while len(self) > self._limits.waiting_frames or self._bytes > self._limits.waiting_bytes:
            last = next(frames for frames in reversed(self._ranks) if frames)
            self._bytes -= len(last.popleft())
            self.dropped += 1

    def drain(self, send: Callable[[bytes], bool]) -> None:
        """Hand frames to `send`, rank by rank and oldest first, until it takes no more."""
        for frames in self._ranks:
            while frames and send(frames[0]):
                self._bytes -= len(frames.popleft())
            if frames:
                return
