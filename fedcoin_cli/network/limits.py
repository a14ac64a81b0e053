"""How much one peer may send, and how much may wait for it. No socket, no clock."""

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one channel.

    `frame_bytes` is the largest frame taken. `pipe_frames` is what ZeroMQ may hold a peer and direction; it
    is kept small because ZeroMQ drops the newest, while `waiting_frames` / `waiting_bytes` of ours drop the
    oldest. `inbound_frames`, when not 0, is what it may hold on the way in instead. A peer may send
    `burst_frames` at once and `frames_per_s` for ever.
    """

    frame_bytes: int
    pipe_frames: int
    waiting_frames: int
    waiting_bytes: int
    frames_per_s: int
    burst_frames: int
    inbound_frames: int = 0


class Bucket:
    """A token bucket: `burst` at once, `per_s` in the long run."""

    __slots__ = ("_at_s", "_burst", "_per_s", "_tokens")

    def __init__(self, per_s: float, burst: float, now_s: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take one token if there is one."""
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Silence:
    """Who is connected and was not heard for `most_s`, by the clock of who listens."""

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._heard_s: dict[str, float] = {}
        self._turned_s = -math.inf

    def turn(self, heard: Iterable[str], connected: Collection[str], now_s: float) -> list[str]:
        """Who has been silent too long; each is given as much time again."""
        paused, self._turned_s = now_s - self._turned_s > self._most_s / 2, now_s
        known = {} if paused else self._heard_s  # who was away itself has heard nobody, and can blame nobody
        self._heard_s = {address: known.get(address, now_s) for address in connected}
        self._heard_s |= dict.fromkeys(self._heard_s.keys() & set(heard), now_s)
        silent = [address for address, since_s in self._heard_s.items() if now_s - since_s > self._most_s]
        self._heard_s |= dict.fromkeys(silent, now_s)
        return silent


class Outbox:
    """Frames that wait for one peer; when they are too many, the oldest go."""

    __slots__ = ("_bytes", "_frames", "_limits", "dropped")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._frames)

    def push(self, frame: bytes) -> None:
        """Add a frame at the end."""
        self._frames.append(frame)
        self._bytes += len(frame)
        while len(self._frames) > self._limits.waiting_frames or self._bytes > self._limits.waiting_bytes:
            self._bytes -= len(self._frames.popleft())
            self.dropped += 1

    def drain(self, send: Callable[[bytes], bool]) -> None:
        """Hand frames to `send`, oldest first, until it takes no more."""
        while self._frames and send(self._frames[0]):
            self._bytes -= len(self._frames.popleft())
