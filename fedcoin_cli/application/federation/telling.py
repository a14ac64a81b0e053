"""What the server of a paid run tells its clients, and what they answer: frozen values and their flat records.

A record holds texts, integers and lists of texts alone, so that any framework of federated learning carries it. The
weights themselves travel once, with the framework's own message.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ledger_store.base.canonical import encode
from ledger_store.base.errors import Malformed, RoundFilesInvalid
from ledger_store.base.fields import Fields
from ledger_store.base.names import BlockId, GenesisId
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import SIGNATURE_LENGTH
from ledger_store.transaction import Task, Update, read_call

RECORD: Final = "fedcoin"
"""The record's name in a message, both ways."""
INITIAL: Final = "fedcoin-initial"
"""The record of the weights that the run began with, in the first message to a client that comes late."""
HERE, THERE, BEFORE = "here", "there", "before"
"""Where a client's first weights are: in the message's own arrays, beside them, or with the client since an earlier
message."""
_UNSIGNED, _FORGOTTEN = "unsigned", "forgotten"


@dataclass(frozen=True, slots=True)
class Told:
    """What a client is told with a round's weights.

    Attributes:
        genesis: the network that pays.
        call: every term that the client signs, as a task without updates.
        begins: where the weights are that the run began with: `HERE`, `THERE` or `BEFORE`.
        model: the model's description, in the first message to a client; empty later.
        weigh: the metric that counts the client's examples.
        names: those of all tensors that the original model holds, in its order, beside the description.
        lost: nodes whose last answer was not counted, each with the digest of the update from which it goes on.
    """

    genesis: GenesisId
    call: Task
    begins: str
    model: str
    weigh: str
    names: tuple[str, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """As a flat record."""
        return {
            "genesis": self.genesis,
            "call": encode(self.call.called).decode("ascii"),
            "begins": self.begins,
            "model": self.model,
            "weigh": self.weigh,
            "names": list(self.names),
            "lost": [f"{node} {counted}" for node, counted in self.lost.items()],
        }

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> "Told":
        """From a record; raises `RoundFilesInvalid` for what no server of this version says."""
        try:
            begins = str(record["begins"])
            if begins not in {HERE, THERE, BEFORE}:
                raise Malformed(f"begins is {begins[:40]!r}")
            return cls(
                GenesisId(BlockId(str(record["genesis"]))),
                read_call(json.loads(str(record["call"]))),
                begins,
                str(record["model"]),
                str(record["weigh"]),
                tuple(map(str, record["names"])),
                dict(str(line).split(" ", 1) for line in record["lost"]),
            )
        except (Malformed, KeyError, TypeError, ValueError, RecursionError) as error:
            hint = "server and clients need the same version of fedcoin"
            raise RoundFilesInvalid(f"the server's terms cannot be read: {error}", hint=hint) from error


def signed_record(update: Update) -> dict[str, Any]:
    """A client's answer: what it signed."""
    return update.to_json()


def unsigned_record(reason: str) -> dict[str, Any]:
    """A client's answer where it has not signed, with the reason in a line."""
    return {_UNSIGNED: reason}


def forgotten_record() -> dict[str, Any]:
    """A client's answer where it does not know how the run began, as after a new start: it is to be told again."""
    return unsigned_record(
        "it was started anew, or its state was cleared: what it signed before still counts"
    ) | {_FORGOTTEN: "yes"}


def has_forgotten(record: object) -> bool:
    """Whether a client's answer says that."""
    return isinstance(record, Mapping) and _FORGOTTEN in record


def read_answer(record: Mapping[str, Any], genesis: Genesis) -> Update | str:
    """What a client signed, or why it has not."""
    if _UNSIGNED in record:
        return str(record[_UNSIGNED])[:300]
    try:
        fields = Fields(dict(record), ("client", "digest", "examples", "signature"), "answer")
        return Update(
            digest=fields.digest("digest"),
            client=fields.address("client"),
            examples=fields.integer("examples", 1, genesis.bounds.examples),
            signature=fields.hexadecimal("signature", SIGNATURE_LENGTH),
        )
    except Malformed as error:
        return f"its answer cannot be read: {error.message}"
