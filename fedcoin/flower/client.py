"""The client's side in Flower: a mod that signs, on the client's own host, for what its ClientApp returns."""

import os
from collections.abc import Callable, Mapping
from logging import getLogger
from pathlib import Path
from typing import Any, Final

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict

from fedcoin_cli.application.federation.member import Kept, Trained, knows, opened, signed
from fedcoin_cli.application.federation.signers import AgentSigner, KeySigner, Signer
from fedcoin_cli.application.federation.telling import (
    INITIAL,
    RECORD,
    Told,
    forgotten_record,
    signed_record,
    unsigned_record,
)
from fedcoin_cli.application.rounds.writing import client_key
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.errors import FedCoinError, KeyFailure, RoundFilesInvalid
from ledger_store.base.names import Digest

WORKSPACE, KEY, SIGNER = "fedcoin-workspace", "fedcoin-key", "fedcoin-signer"
"""What a SuperNode's own configuration may name: a workspace and a key in it, or a signing agent's socket."""
_LOG: Final = getLogger("flwr")
_PARTITION: Final = "partition-id"
_NOW, _BEFORE = f"{RECORD}-now", f"{RECORD}-before"

Next = Callable[[Message, Context], Message]
Mod = Callable[[Message, Context, Next], Message]


def paid(*, simulated: str | Path | None = None) -> Mod:
    """A mod that signs for what the client has added to the model, so that it is paid; the outermost of `mods=`.

    The host says who signs, in its SuperNode's configuration, and never the run:
    `--node-config 'fedcoin-workspace="/home/ben/fed" fedcoin-key="ben"'`, or `fedcoin-signer="/run/ben.sock"` for the
    agent that `fedcoin signer` starts. A run of a server without `Paid` is left as it is. What keeps a client from
    signing is told once, in the log and to the server; it trains on, and is not paid.

    Args:
        simulated: in a simulation, where nodes have no configuration: the workspace whose keys client-001,
            client-002, … sign for the partitions 0, 1, …; missing keys are made. Ignored where the host names a key.
    """
    told_once: set[str] = set()

    def mod(message: Message, context: Context, call_next: Next) -> Message:
        content = message.content if message.has_content() else RecordDict()
        record = content.get(RECORD)
        if not message.metadata.message_type.startswith("train") or not isinstance(record, ConfigRecord):
            return call_next(message, context)
        initial = content.get(INITIAL)
        # Another message of the same round may hold the very same dictionary.
        message.content = RecordDict(
            {key: one for key, one in content.items() if key not in {RECORD, INITIAL}}
        )
        got = message.content.array_records
        reply = call_next(message, context)
        if reply.has_error():
            return reply
        try:
            said = _signed(context, dict(record), got, reply.content, initial, simulated)
        except FedCoinError as error:
            reason = f"{error.message} ({error.hint})" if error.hint else error.message
            if reason not in told_once:
                _LOG.warning("fedcoin: not signed, so not paid: %s", reason)
            told_once.add(reason)
            said = unsigned_record(reason)
        # Whatever else happens while signing, the client's training is not to be lost for it.
        except Exception as error:  # noqa: BLE001
            _LOG.warning("fedcoin: not signed, so not paid: %r", error)
            said = unsigned_record(f"signing failed: {type(error).__name__}")
        reply.content[RECORD] = ConfigRecord(said)
        return reply

    return mod


def _signed(
    context: Context,
    record: Mapping[str, Any],
    got: Mapping[str, ArrayRecord],
    reply: RecordDict,
    initial: object,
    simulated: str | Path | None,
) -> dict[str, Any]:
    told, kept, start = Told.read(record), _kept(context.state), _tensors(got, "the message")
    if not knows(told, kept):
        return forgotten_record()
    begun = opened(told, start, arrays(initial) if isinstance(initial, ArrayRecord) else None, kept)
    # Whoever cannot sign this time, for want of an agent say, can in a later round.
    if begun is not kept and told.call.named is not None:
        _keep(context.state, begun)
    returned = _tensors(reply.array_records, "the reply")
    trained = Trained(start, returned, _examples(reply, told.weigh))
    signer = signer_of(context.node_config, simulated)
    update, after = signed(signer, told, begun, trained, str(context.node_id))
    if told.call.named is not None:
        _keep(context.state, after)
    return signed_record(update)


def signer_of(node: Mapping[str, Any], simulated: str | Path | None) -> Signer:
    """Who signs on this host, by its own configuration; raises `KeyFailure`, `NoWorkspace`."""
    if SIGNER in node:
        return AgentSigner(Path(os.path.expanduser(str(node[SIGNER]))))  # noqa: PTH111 -- it never raises
    if WORKSPACE in node or KEY in node:
        if WORKSPACE not in node or KEY not in node:
            hint = f'--node-config \'{WORKSPACE}="DIR" {KEY}="NAME"\''
            raise KeyFailure(f"the node's configuration needs both {WORKSPACE} and {KEY}", hint=hint)
        return KeySigner.of(Path(str(node[WORKSPACE])), str(node[KEY]))
    if simulated is not None and _PARTITION in node:
        folder = Workspace.find(Path(simulated))
        return KeySigner(client_key(folder, int(node[_PARTITION]) + 1), folder.genesis())
    hint = f'--node-config \'{WORKSPACE}="DIR" {KEY}="NAME"\'; in a simulation paid(simulated=DIR)'
    raise KeyFailure("this node's configuration names no key", hint=hint)


def arrays(record: ArrayRecord) -> dict[str, Any]:
    """The arrays of a record by their names, read-only; raises `RoundFilesInvalid` for what holds no numbers."""
    from fedcoin_cli.learning.model.running import npy_array

    try:
        return {name: npy_array(array.data) for name, array in record.items()}
    except ValueError as error:
        raise RoundFilesInvalid(f"an array cannot be read: {error}") from error


def _tensors(records: Mapping[str, ArrayRecord], where: str) -> dict[str, Any]:
    if len(records) != 1:
        raise RoundFilesInvalid(f"{where} holds {len(records)} records of arrays, not one")
    return arrays(next(iter(records.values())))


def _examples(reply: RecordDict, weigh: str) -> int:
    counts = [record[weigh] for record in reply.metric_records.values() if weigh in record]
    if len(counts) != 1 or not isinstance(counts[0], int | float) or counts[0] != int(counts[0]):
        raise RoundFilesInvalid(f"the reply's metrics hold no whole number {weigh!r}")
    return int(counts[0])


def _kept(state: RecordDict) -> Kept | None:
    record, now, before = (state.get(name) for name in (RECORD, _NOW, _BEFORE))
    if not (isinstance(record, ConfigRecord) and isinstance(now, ArrayRecord)):
        return None
    assert isinstance(before, ArrayRecord), "the three are written together"
    weights = (tuple(arrays(one).values()) for one in (now, before))
    names, order = (tuple(map(str, record[key])) for key in ("names", "order"))
    return Kept(Digest(str(record["call"])), str(record["model"]), names, order, *weights)


def _keep(state: RecordDict, kept: Kept) -> None:
    named = {"names": list(kept.names), "order": list(kept.order)}
    state[RECORD] = ConfigRecord({"call": kept.call, "model": kept.model, **named})
    state[_NOW], state[_BEFORE] = ArrayRecord(list(kept.now)), ArrayRecord(list(kept.before))
