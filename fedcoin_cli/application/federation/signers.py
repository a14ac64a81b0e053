"""Who signs a client's updates on its host: a key of a workspace, or the signing agent, which has the key instead."""

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from fedcoin_cli.application.federation.telling import Told
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.canonical import encode
from ledger_store.base.errors import KeyFailure, Malformed, RoundFilesInvalid
from ledger_store.base.fields import Fields
from ledger_store.base.names import Address, Digest
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import SIGNATURE_LENGTH, KeyPair
from ledger_store.transaction import Task, Update, sign_update

REQUEST_BYTES_MOST: Final = 2**16
"""A request or an answer is one line of JSON, no longer than this."""
PATIENCE_S: Final = 10.0
"""How long either side waits for the other's line."""


class Signer(Protocol):
    """Whoever signs for updates of one client."""

    def sign(self, told: Told, weights: Digest, examples: int) -> Update:
        """The client's signature for weights by their digest; raises `FedCoinError` where it refuses."""
        ...


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A key that was loaded here."""

    key: KeyPair
    genesis: Genesis

    @classmethod
    def of(cls, workspace: Path, name: str) -> "KeySigner":
        """A key of a workspace by its name; raises `NoWorkspace`, `KeyFailure`."""
        folder = Workspace.find(workspace)
        return cls(folder.key(name), folder.genesis())

    def sign(self, told: Told, weights: Digest, examples: int) -> Update:
        """As `Signer`."""
        check(self.genesis, told.genesis, examples)
        check_payee(told.call, self.key.address)
        return sign_update(told.call, weights, examples, self.key, self.genesis.id)


@dataclass(frozen=True, slots=True)
class AgentSigner:
    """The signing agent of this host, by its socket."""

    path: Path

    def sign(self, told: Told, weights: Digest, examples: int) -> Update:
        """As `Signer`."""
        asked = {"genesis": told.genesis, "call": told.call.called, "digest": weights, "examples": examples}
        answer = self._asked(encode(asked) + b"\n")
        if isinstance(answer, dict) and "refused" in answer:
            raise KeyFailure(f"the signer refuses: {answer['refused']}", where=str(self.path))
        try:
            fields = Fields(answer, ("client", "signature"), "answer")
            signature = fields.hexadecimal("signature", SIGNATURE_LENGTH)
            return Update(weights, fields.address("client"), examples, signature)
        except Malformed as error:
            raise KeyFailure(f"no signer's answer: {error.message}", where=str(self.path)) from error

    def _asked(self, line: bytes) -> Any:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(PATIENCE_S)
                link.connect(str(self.path))
                link.sendall(line)
                return json.loads(read_line(link))
        except (OSError, ValueError, RecursionError) as error:
            hint = "start it on this host: fedcoin signer --key NAME"
            raise KeyFailure(f"no signer answers: {error}", where=str(self.path), hint=hint) from error


def check(genesis: Genesis, told: str, examples: int) -> None:
    """Refuse another network, and a count of examples that this one does not take; raises `RoundFilesInvalid`."""
    if told != genesis.id:
        hint = "join the network that pays: fedcoin init --join"
        raise RoundFilesInvalid("these terms are for another network", where=str(told)[:64], hint=hint)
    if not 1 <= examples <= genesis.bounds.examples:
        message = f"{examples} examples; this network counts from 1 to {genesis.bounds.examples}"
        raise RoundFilesInvalid(message, hint="let the ClientApp tell how many it trained on")


def check_payee(call: Task, client: Address) -> None:
    """Refuse a call that has somebody else be paid for this client's updates; raises `RoundFilesInvalid`.

    Nobody reads what is signed here. A server could name any client in a group whose first address is its friend's.
    """
    if (payee := call.owner_of(client)) != client:
        hint = "who shares an owner with others signs by hand: fedcoin update sign shows whom a call pays"
        raise RoundFilesInvalid("this call pays another address for this client", where=payee, hint=hint)


def read_line(link: socket.socket) -> bytes:
    """One line from the other side; raises `OSError` or `ValueError` where none comes."""
    data = b""
    while not data.endswith(b"\n"):
        part = link.recv(REQUEST_BYTES_MOST)
        if not part or len(data) + len(part) > REQUEST_BYTES_MOST:
            raise ValueError("the other side sent no whole line")
        data += part
    return data
