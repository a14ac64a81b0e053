"""The signing agent: a process that has a client's key, so that the code of a federation does not.

Like ssh-agent it listens at a Unix socket of its owner's and signs what it is asked for, but updates alone, for one
network alone. Whoever connects, as the same user, gives a call and an update's digest, and gets a signature that no
transfer and no task can be made of. Every request is a line in the log, the refused ones with the reason.
"""

import contextlib
import json
import os
import select
import socket
import stat
import struct
from pathlib import Path
from typing import Any, Final, Self

from fedcoin_cli.application.federation.signers import PATIENCE_S, check, check_payee, read_line
from ledger_store.base.canonical import encode
from ledger_store.base.disk import refusals
from ledger_store.base.errors import FedCoinError, Locked, Malformed, SettingsError, StorageFailure
from ledger_store.base.fields import Fields
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import read_call, sign_update

# Of a socket's path the system takes so many bytes, and a closing 0.
_PATH_BYTES_MOST: Final = 107
_KEYS: Final = ("call", "digest", "examples", "genesis")
_PEER: Final = struct.Struct("3i")


class SigningAgent:
    """One key behind one socket. Use as a context manager; `run` serves until `stop`."""

    def __init__(self, key: KeyPair, genesis: Genesis, path: Path, log: Path) -> None:
        self._key, self._genesis, self._path, self._log = key, genesis, path, log
        self._woken, self._waker = os.pipe()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._stopped = False

    def __enter__(self) -> Self:
        """Listen; raises `SettingsError` for a path that no socket can have, `Locked` where an agent listens."""
        if len(os.fsencode(self._path)) > _PATH_BYTES_MOST:
            hint = f"name a shorter path: --socket, of at most {_PATH_BYTES_MOST} bytes"
            raise SettingsError("this path is too long for a socket", where=str(self._path), hint=hint)
        self._remove_left()
        before = os.umask(0o177)  # nobody else may connect, not even between bind and chmod
        try:
            with refusals(self._path):
                self._socket.bind(str(self._path))
        finally:
            os.umask(before)
        self._socket.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)
        os.close(self._woken)
        os.close(self._waker)

    def run(self) -> None:
        """Serve one request after the other until `stop`."""
        while not self._stopped:
            ready, _, _ = select.select([self._socket.fileno(), self._woken], [], [])
            if self._socket.fileno() in ready:
                link, _ = self._socket.accept()
                # Whoever hangs up, or says nothing for too long, gets no answer: the next one does.
                with link, contextlib.suppress(OSError):
                    link.settimeout(PATIENCE_S)
                    self._serve(link)

    def stop(self) -> None:
        """End `run`, from a signal's handler or another thread."""
        self._stopped = True
        os.write(self._waker, b".")

    def _serve(self, link: socket.socket) -> None:
        _, user, _ = _PEER.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        try:
            if user != os.getuid():
                raise Malformed("another user asks")
            asked = json.loads(read_line(link))
        except (Malformed, ValueError, RecursionError) as error:
            answer = {"refused": str(error)[:200]}
        else:
            answer = self._answer(asked)
        link.sendall(encode(answer) + b"\n")

    def _answer(self, asked: Any) -> dict[str, str]:
        """A signature, or why there is none."""
        try:
            return self._signed(asked)
        except FedCoinError as error:
            reason = error.message
        except OSError as error:
            reason = f"the log cannot be written: {error.strerror}"
        with contextlib.suppress(FedCoinError, OSError):
            self._note({"refused": reason})
        return {"refused": reason}

    def _signed(self, asked: Any) -> dict[str, str]:
        fields = Fields(asked, _KEYS, "request")
        call, weights = read_call(fields.raw("call")), fields.digest("digest")
        examples = fields.integer("examples", 1)
        check(self._genesis, str(fields.raw("genesis")), examples)
        check_payee(call, self._key.address)
        # First: what cannot be logged is not signed.
        self._note({"call": call.call, "digest": weights, "examples": examples, "price": call.price_micro})
        update = sign_update(call, weights, examples, self._key, self._genesis.id)
        return {"client": update.client, "signature": update.signature}

    def _note(self, entry: dict[str, Any]) -> None:
        """A line of the log; raises `StorageFailure` or `OSError`."""
        with refusals(self._log), self._log.open("ab") as file:
            file.write(encode(entry) + b"\n")

    def _remove_left(self) -> None:
        """Take away the socket of an agent that was killed; one that listens stays, and so does any other file."""
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                raise StorageFailure(
                    "this file is no socket", where=str(self._path), hint="name another path: --socket"
                )
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
                if other.connect_ex(str(self._path)) == 0:
                    hint = "one agent a socket: name another path, --socket"
                    raise Locked("an agent listens here already", where=str(self._path), hint=hint)
            self._path.unlink()
