"""ZeroMQ sockets as this network has them: options, what waits on one, and what one says of its connections."""

import struct
from collections.abc import Iterator
from itertools import count
from typing import Any

import zmq

from fedcoin_cli.network.transport.admission import own_transport_public, transport_secret
from fedcoin_cli.network.transport.limits import Limits
from ledger_store.identity.keys import KeyPair

FRAMES_A_POLL = 256
BYTES_A_POLL = 2**23
RECONNECT_MS = (100, 5000)
KEEPALIVE_S, GONE_MS = 2, 6_000
# What encryption adds to a frame before ZeroMQ measures it.
CURVE_BYTES = 64

DENIED = zmq.EVENT_HANDSHAKE_FAILED_AUTH
OPENED = zmq.EVENT_ACCEPTED
READY = zmq.EVENT_HANDSHAKE_SUCCEEDED
CLOSED = zmq.EVENT_DISCONNECTED
TRYING = zmq.EVENT_CONNECT_DELAYED
PAUSING = zmq.EVENT_CONNECT_RETRIED
_names = count()


class Monitor:
    """A socket's own news, as (event, value)."""

    def __init__(self, context: "zmq.Context[Any]", watched: "zmq.Socket[bytes]", events: int) -> None:
        self._watched = watched
        endpoint = f"inproc://monitor-{next(_names)}"
        watched.monitor(endpoint, events)
        self.socket: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        # ZeroMQ's own thread waits when news pile up, and closing would then wait for it.
        self.socket.rcvhwm = 0
        self.socket.linger = 0
        self.socket.connect(endpoint)

    def events(self) -> Iterator[tuple[int, int]]:
        """What happened since the last call."""
        while self.socket.poll(0):
            # As zmq.utils.monitor reads it, which brings asyncio with it.
            event, value = struct.unpack("=hi", self.socket.recv_multipart()[0])
            yield event, value

    def close(self) -> None:
        self._watched.disable_monitor()
        self.socket.close(linger=0)


def open_socket(context: "zmq.Context[Any]", kind: int, key: KeyPair, limits: Limits) -> "zmq.Socket[bytes]":
    """A socket that encrypts with this key, and whose connections the kernel watches."""
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.curve_secretkey, socket.curve_publickey = transport_secret(key), own_transport_public(key)
    options = {
        zmq.LINGER: 0,
        zmq.SNDHWM: limits.pipe_frames,
        zmq.RCVHWM: limits.inbound_frames or limits.pipe_frames,
        zmq.IMMEDIATE: 1,
        zmq.RECONNECT_IVL: RECONNECT_MS[0],
        zmq.RECONNECT_IVL_MAX: RECONNECT_MS[1],
        zmq.CONNECT_TIMEOUT: 5000,
        # No heartbeats of ZeroMQ's: libzmq 4.3.5 may end the whole process when one is due on a connection that broke
        # while its owner was busy. The kernel finds out who is gone, `SilenceLimit` who is there and says nothing.
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: KEEPALIVE_S,
        zmq.TCP_KEEPALIVE_INTVL: KEEPALIVE_S,
        zmq.TCP_KEEPALIVE_CNT: 2,
        zmq.TCP_MAXRT: GONE_MS,
        zmq.HANDSHAKE_IVL: 5000,
        zmq.MAXMSGSIZE: limits.frame_bytes + CURVE_BYTES,
    }
    for option, value in options.items():
        socket.setsockopt(option, value)
    return socket


def received(socket: "zmq.Socket[bytes]") -> "Iterator[list[zmq.Frame]]":
    """What waits on a socket, up to a fair share."""
    taken_bytes = 0
    for _ in range(FRAMES_A_POLL):
        try:
            parts = socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return
        yield parts
        taken_bytes += sum(map(len, parts))
        if taken_bytes > BYTES_A_POLL:
            return
