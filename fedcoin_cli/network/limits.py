"""How much one peer may send, and how much may wait for it. No socket, no clock."""

from collections import deque
from collections.abc import Callable
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
