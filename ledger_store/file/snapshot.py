"""Snapshots of the fold: what a long chain file came to at some height, so that opening it need not fold it again.

A cache beside the chain file and nothing more: deleting it is harmless. It is bound to the SHA-256 of every byte of the
chain up to its height, and sealed by a secret of whoever wrote it (`Seal`): a state is nothing that a chain's hashes or
certificates vouch for, so a snapshot in a copied or shared folder could give anybody any balance. One that is torn,
altered, another's, of another chain or of another format is passed over, and who has no seal believes none. The audit
believes none either; it compares (`difference`).
"""

import hmac
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger_store.base import disk
from ledger_store.base.canonical import encode
from ledger_store.base.errors import Malformed, NotFound
from ledger_store.base.names import ADDRESS_LENGTH
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import KeyPair
from ledger_store.signed import read_task
from ledger_store.state import State, TaskRecord
from ledger_store.transaction import Commit

SNAPSHOT_NAME = "snapshot.json"
_SNAPSHOT = b"fedcoin/v1/snapshot\0"
# What a state holds is in the chain, longer: a file beyond this is not a snapshot and is not read.
_TIMES_CHAIN, _BESIDE_BYTES = 2, 2**20
# One more than the last whenever the fold, or what a state holds, changes its meaning.
FORMAT = 5


class Seal:
    """What makes a snapshot its writer's own: a keyed hash, the key derived from a secret key and the network.

    (docs/adr/0030) [P-13.15]
    """

    __slots__ = ("_key",)

    def __init__(self, key: KeyPair, genesis: Genesis) -> None:
        self._key = hmac.digest(key.seed, _SNAPSHOT + bytes.fromhex(genesis.id), "sha256")

    def of(self, body: bytes) -> bytes:
        """The seal of a snapshot's content, 64 hex digits."""
        return hmac.new(self._key, body, "sha256").hexdigest().encode()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state, and the digest (hex) of the chain file's bytes up to the end of its block (docs/adr/0008)."""

    chain: str
    state: State

    def save(self, folder: Path, seal: Seal) -> None:
        """Write it beside the chain file, at once or not at all; a disk that refuses costs time later, nothing else.

        Not forced to the disk: what a power cut leaves of it does not fit its seal.
        """
        body = encode({"chain": self.chain, "format": FORMAT, "state": _to_json(self.state)})
        path = folder / SNAPSHOT_NAME
        disk.sweep(path)
        try:
            staged, handle = disk.unguessable(path)
            with os.fdopen(handle, "wb") as file:
                file.write(seal.of(body) + b"\n" + body + b"\n")
            staged.replace(path)
        except OSError:
            disk.sweep(path)


def read_snapshot(folder: Path, genesis: Genesis, seal: Seal) -> Snapshot | None:
    """The snapshot beside a chain file of `genesis` as whoever sealed it wrote it; None where there is none.

    [P-13.15]
    """
    found, body = _read(folder)
    return _parsed(body, genesis) if hmac.compare_digest(found, seal.of(body)) else None


def claimed(folder: Path, genesis: Genesis) -> Snapshot | None:
    """The snapshot beside a chain file, whose seal ever it has: to compare it, not to believe it."""
    return _parsed(_read(folder)[1], genesis)


def difference(claim: Snapshot, folded: State) -> str | None:
    """What a snapshot says otherwise than the state to which the blocks up to its height come; None: nothing."""
    if claim.state == folded:
        return None
    told, held = claim.state.balances, folded.balances
    accounts = sum(told.get(one) != held.get(one) for one in {*told, *held})
    what = f"balances of {accounts} accounts" if accounts else "tasks, sequences or the head"
    return f"{SNAPSHOT_NAME} differs from the blocks up to height {folded.height}: {what}"


def _read(folder: Path) -> tuple[bytes, bytes]:
    """The seal and the content of the file; both empty where there is none that can be read."""
    try:
        most = _TIMES_CHAIN * (folder / "chain.jsonl").stat().st_size + _BESIDE_BYTES
        with disk.open_file(folder / SNAPSHOT_NAME) as file:
            if os.fstat(file.fileno()).st_size > most:
                return b"", b""
            seal, _, body = file.read(most).removesuffix(b"\n").partition(b"\n")
            return seal, body
    except (OSError, NotFound):
        return b"", b""


def _parsed(body: bytes, genesis: Genesis) -> Snapshot | None:
    try:
        value = json.loads(body)
        if value["format"] != FORMAT:
            return None
        state = _from_json(value["state"], genesis)
        return Snapshot(value["chain"], state) if state.total_micro == genesis.supply_micro else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, Malformed):
        return None


def _to_json(state: State) -> dict[str, Any]:
    """Pairs where a mapping's order is part of the state: accounts and tasks stay in the order of their coming."""
    return {
        "balances": [[address, micro] for address, micro in state.balances.items()],
        "genesis": state.genesis.id,
        "ended": [_record_to_json(record) for record in state.ended],
        "head": state.head,
        "height": state.height,
        "served": _served_to_json(state),
        "sequences": [[address, number] for address, number in state.sequences.items()],
        "tasks": [_record_to_json(record) for record in state.tasks.values()],
        "time_ms": state.time_ms,
        "withheld": sorted(state.withheld),
    }


def _from_json(value: dict[str, Any], genesis: Genesis) -> State:
    """Raises `ValueError` for another network's, and whatever foreign content leads to."""
    if value["genesis"] != genesis.id:
        raise ValueError("of another network")
    records = [_record_from_json(item) for item in value["tasks"]]
    calls = {
        sender + nonce: height
        for sender, nonces in value["served"].items()
        for nonce, height in nonces.items()
    }
    return State(
        genesis=genesis,
        height=value["height"],
        head=value["head"],
        time_ms=value["time_ms"],
        balances=dict(value["balances"]),
        sequences=dict(value["sequences"]),
        tasks={record.task.id: record for record in records},
        ended=tuple(_record_from_json(item) for item in value["ended"]),
        withheld=frozenset(value["withheld"]),
        served=calls,
    )


def _served_to_json(state: State) -> dict[str, dict[str, int]]:
    """A requester's name stands once beside the nonces of all its calls."""
    found: dict[str, dict[str, int]] = {}
    for call, height in state.served.items():
        found.setdefault(call[:ADDRESS_LENGTH], {})[call[ADDRESS_LENGTH:]] = height
    return found


def _record_to_json(record: TaskRecord) -> dict[str, Any]:
    return {
        "attempt": record.attempt,
        "commits": [[commit.miner, commit.digest, commit.signature] for commit in record.commits],
        "deposit_micro": record.deposit_micro,
        "end_height": record.end_height,
        "frauds": sorted(record.frauds),
        "height": record.height,
        "opened_height": record.opened_height,
        "refused": sorted(record.refused),
        "seed": record.seed,
        "state": record.state,
        "task": record.task.to_json(),
        "verified": [[miner, rankings] for miner, rankings in record.verified],
    }


def _record_from_json(value: dict[str, Any]) -> TaskRecord:
    return TaskRecord(
        task=read_task(value["task"]),
        height=value["height"],
        state=value["state"],
        attempt=value["attempt"],
        seed=value["seed"],
        opened_height=value["opened_height"],
        commits=tuple(Commit(*commit) for commit in value["commits"]),
        frauds=frozenset(value["frauds"]),
        refused=frozenset(value["refused"]),
        verified=tuple((miner, rankings) for miner, rankings in value["verified"]),
        end_height=value["end_height"],
        deposit_micro=value["deposit_micro"],
    )
