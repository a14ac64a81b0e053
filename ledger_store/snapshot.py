"""Snapshots of the fold: what a long chain file came to at some height, so that opening it need not fold it again.

A cache beside the chain file and nothing more: deleting it is harmless, the audit never looks at it. It is bound to the
SHA-256 of every byte of the chain up to its height, and to its own bytes; one that is torn, altered, of another chain
or of another format is passed over. Like the lines of the chain file it is this machine's own writing: the signatures
behind it were checked before, not now.
"""

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger_store.canonical import digest, encode
from ledger_store.errors import Malformed
from ledger_store.genesis import Genesis
from ledger_store.signed import read_task
from ledger_store.state import State, TaskRecord, served_by
from ledger_store.transaction import Commit

SNAPSHOT_NAME = "snapshot.json"
# One more than the last whenever the fold, or what a state holds, changes its meaning.
FORMAT = 3


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state, and the digest (hex) of the chain file's bytes up to the end of its block."""

    chain: str
    state: State

    def save(self, folder: Path) -> None:
        """Write it beside the chain file, at once or not at all; a disk that refuses costs time later, nothing else.

        Not forced to the disk: what a power cut leaves of it is refused by its own digest.
        """
        body = encode({"chain": self.chain, "format": FORMAT, "state": _to_json(self.state)})
        path = folder / SNAPSHOT_NAME
        staged = path.with_name(path.name + ".new")
        try:
            staged.write_bytes(digest(body).encode() + b"\n" + body + b"\n")
            staged.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                staged.unlink(missing_ok=True)


def read_snapshot(folder: Path, genesis: Genesis) -> Snapshot | None:
    """The snapshot beside a chain file of `genesis`; None where there is none that can be used."""
    try:
        seal, _, body = (folder / SNAPSHOT_NAME).read_bytes().removesuffix(b"\n").partition(b"\n")
        if seal != digest(body).encode():
            return None
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
        "head": state.head,
        "height": state.height,
        "queue": list(state.queue),
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
    return State(
        genesis=genesis,
        height=value["height"],
        head=value["head"],
        time_ms=value["time_ms"],
        balances=dict(value["balances"]),
        sequences=dict(value["sequences"]),
        tasks={record.task.id: record for record in records},
        queue=tuple(value["queue"]),
        withheld=frozenset(value["withheld"]),
        served=frozenset(served_by(record.task) for record in records if record.opened_height),
    )


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
