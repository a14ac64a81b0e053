"""Where guests' frames wait for a miner's time: each guest has a line of its own, and all lines are served in turn.

When they are many, their frames are taken together: a turn of the loop costs more than most frames.
(docs/adr/0032, docs/adr/0043)
"""

from collections import deque
from collections.abc import Collection, Iterable

from fedcoin_cli.network.transport.limits import Bucket
from ledger_store.base.names import Address

LINE_FRAMES, LINE_BYTES = 256, 2**21
GUESTS_MOST = 256
TURNS_A_S, REST_MS = 50, 10


class Lobby:
    """Lines of frames by sender; what does not fit into a line is dropped."""

    def __init__(self) -> None:
        self._lines: dict[Address, deque[bytes]] = {}
        self._bytes: dict[Address, int] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def push(self, sender: Address, frame: bytes) -> bool:
        """Whether there was room at the end of the sender's line."""
        line = self._lines.get(sender)
        if line is None:
            if len(self._lines) >= GUESTS_MOST:
                return False
            line = self._lines[sender] = deque()
            self._bytes[sender] = 0
        elif len(line) >= LINE_FRAMES or self._bytes[sender] + len(frame) > LINE_BYTES:
            return False
        line.append(frame)
        self._bytes[sender] += len(frame)
        return True

    def pop(self) -> tuple[Address, bytes]:
        """The next one: its sender's others wait until all other lines were served."""
        sender = next(iter(self._lines))
        line = self._lines.pop(sender)
        frame = line.popleft()
        if line:
            self._lines[sender] = line
            self._bytes[sender] -= len(frame)
        else:
            del self._bytes[sender]
        return sender, frame


class GuestTurns:
    """How long a miner rests after a turn that only guests asked for."""

    def __init__(self, roster: Collection[Address], now_ms: int) -> None:
        self._roster = roster
        self._turns = Bucket(TURNS_A_S, TURNS_A_S, now_ms / 1_000)

    def rest_ms(self, frames: Iterable[tuple[Address, bytes]], now_ms: int) -> int:
        """Nothing after so many turns a second; beyond, a moment in which frames gather for the next one."""
        senders = {sender for sender, _ in frames}
        only_guests = bool(senders) and senders.isdisjoint(self._roster)
        return REST_MS if only_guests and not self._turns.take(now_ms / 1_000) else 0
