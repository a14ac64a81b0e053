"""Where guests' frames wait for a miner's time: each guest has a line of its own, and all lines are served in turn.

(docs/adr/0032)
"""

from collections import deque

from ledger_store.base.names import Address

LINE_FRAMES, LINE_BYTES = 256, 2**21
GUESTS_MOST = 256


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
