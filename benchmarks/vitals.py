"""What a running miner takes of its machine: memory, file handles, files on the disk."""

import contextlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.network import Miner


@dataclass(frozen=True, slots=True)
class Vitals:
    """One look at one miner; sizes in KiB. `other` is whatever else lies in its folder."""

    rss: int
    child_rss: int
    handles: int
    chain: int
    snapshot: int
    votes: int
    log: int
    store: int
    store_files: int
    evidence: int
    evidence_files: int
    other: int


def vitals(miner: Miner) -> Vitals | None:
    """None while it does not run."""
    pid = miner.pid
    if pid is None:
        return None
    folder, store = miner.folder, _files(miner.workspace.store)
    chain, snapshot, votes, log = (
        sum(_files(folder.path, name))
        for name in ("chain.jsonl", "snapshot.json", "votes.sqlite*", "node.log*")
    )
    evidence = _files(folder.evidence)
    with contextlib.suppress(OSError):
        return Vitals(
            rss=_rss_kib(pid),
            child_rss=sum(_rss_kib(child) for child in children(pid)),
            handles=len(list(Path(f"/proc/{pid}/fd").iterdir())),
            chain=chain // 1024,
            snapshot=snapshot // 1024,
            votes=votes // 1024,
            log=log // 1024,
            store=sum(store) // 1024,
            store_files=len(store),
            evidence=sum(evidence) // 1024,
            evidence_files=len(evidence),
            other=(sum(_files(folder.path, "**/*")) - chain - snapshot - votes - log - sum(evidence)) // 1024,
        )
    return None


def as_row(one: Vitals) -> dict[str, Any]:
    """For tables."""
    return asdict(one)


def cpu_s(pid: int) -> float:
    """Processor time of a process and of those of its children that have not ended."""
    return sum(_own_cpu_s(each) for each in (pid, *children(pid)))


def _own_cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / 100


def _rss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def children(pid: int) -> list[int]:
    """Its child processes."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(word) for task in tasks for word in task.read_text().split()]


def _files(folder: Path, pattern: str = "*") -> list[int]:
    """Sizes; what vanishes while we look is not counted."""
    sizes = []
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):
            if path.is_file():
                sizes.append(path.stat().st_size)
    return sizes
