"""Wires between miners: TCP connections through this process, which may stall, be cut or be opened again.

A stalled wire takes nothing and gives nothing, both ways or one way, like a partition: the two ends still believe in
their connection until their heartbeats tell. A cut one loses what was under way. One thread carries all wires.
"""

import contextlib
import selectors
import socket
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from benchmarks.network import free_ports

CHUNK_BYTES = 65_536
TURN_S = 0.05


@dataclass(eq=False)
class _Pipe:
    """One connection: what came from either end and waits for the other."""

    way: tuple[int, int]
    near: socket.socket
    far: socket.socket
    waiting: dict[socket.socket, bytes] = field(default_factory=dict)

    def other(self, end: socket.socket) -> socket.socket:
        return self.far if end is self.near else self.near


class Wires:
    """The wires from each miner (by number) to each other one. Use as a context manager."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._doors: list[tuple[socket.socket, tuple[int, int], int]] = []
        self._pipes: set[_Pipe] = set()
        self._stalled: set[tuple[int, int]] = set()
        self._lock = threading.Lock()
        self._ending = False
        self._thread = threading.Thread(target=self._carry, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._ending = True
        self._thread.join()
        for pipe in list(self._pipes):
            self._close(pipe)
        for door, _, _ in self._doors:
            door.close()
        self._selector.close()

    def pair(self, source: int, target: int, port: int) -> int:
        """A port by which `source` reaches `target`'s messages on `port`, with the one for files behind it."""
        first = free_ports(2)
        for offset in range(2):
            door = socket.create_server(("127.0.0.1", first + offset))
            door.setblocking(False)
            with self._lock:
                self._doors.append((door, (source, target), port + offset))
                self._selector.register(door, selectors.EVENT_READ, self._doors[-1])
        return first

    # What a test does to them -----------------------------------------------------------------------------------

    def stall(self, source: int, target: int) -> None:
        """What `source` sends on its connections to `target` does not arrive, nor does what comes back on them."""
        with self._lock:
            self._stalled.add((source, target))

    def separate(self, island: set[int], everybody: set[int]) -> None:
        """No wire between an island and the rest carries anything."""
        for one in island:
            for other in everybody - island:
                self.stall(one, other)
                self.stall(other, one)

    def heal(self) -> None:
        """Everything is carried again, what waited first."""
        with self._lock:
            self._stalled.clear()

    def cut(self, source: int, target: int) -> int:
        """End the connections of one wire, with all that is under way; returns how many there were."""
        with self._lock:
            pipes = [pipe for pipe in self._pipes if pipe.way == (source, target)]
            for pipe in pipes:
                self._close(pipe)
            return len(pipes)

    # The thread -------------------------------------------------------------------------------------------------

    def _carry(self) -> None:
        while not self._ending:
            ready = self._selector.select(TURN_S)
            with self._lock:
                for key, _ in ready:
                    if isinstance(key.data, _Pipe):
                        self._take(key.data, key.fileobj)
                    else:
                        self._accept(*key.data)
                for pipe in list(self._pipes):
                    self._watch(pipe)

    def _accept(self, door: socket.socket, way: tuple[int, int], port: int) -> None:
        near, _ = door.accept()
        try:
            far = socket.create_connection(("127.0.0.1", port), timeout=1.0)
        except OSError:
            near.close()
            return
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pipes.add(_Pipe(way, near, far, {near: b"", far: b""}))

    def _take(self, pipe: _Pipe, end: object) -> None:
        """Bytes came from an end, or there is room at it again."""
        assert isinstance(end, socket.socket)
        if pipe not in self._pipes or pipe.way in self._stalled:
            return
        try:
            self._give(pipe, end)
            if not pipe.waiting[pipe.other(end)]:
                with contextlib.suppress(BlockingIOError):
                    data = end.recv(CHUNK_BYTES)
                    if not data:
                        self._close(pipe)
                        return
                    pipe.waiting[pipe.other(end)] = data
                    self._give(pipe, pipe.other(end))
        except OSError:
            self._close(pipe)

    def _give(self, pipe: _Pipe, end: socket.socket) -> None:
        if pipe.waiting[end]:
            with contextlib.suppress(BlockingIOError):
                pipe.waiting[end] = pipe.waiting[end][end.send(pipe.waiting[end]) :]

    def _watch(self, pipe: _Pipe) -> None:
        """Look at an end for what it may bring and, while something waits for it, for room."""
        for end in (pipe.near, pipe.far):
            events = 0
            if pipe.way not in self._stalled:
                events = 0 if pipe.waiting[pipe.other(end)] else selectors.EVENT_READ
                events |= selectors.EVENT_WRITE if pipe.waiting[end] else 0
            known = self._selector.get_map().get(end)
            if known is not None and known.events == events:
                continue
            if known is not None:
                self._selector.unregister(end)
            if events:
                self._selector.register(end, events, pipe)

    def _close(self, pipe: _Pipe) -> None:
        self._pipes.discard(pipe)
        for end in (pipe.near, pipe.far):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            end.close()
