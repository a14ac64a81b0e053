"""How long commands take to start, and opening a ledger as the chain grows, with and without its snapshot.

`python -m benchmarks.startup [--quick] [--json]`. What every start of a miner does before it may vote, and `balance`,
`pay` and `publish` before they answer. A tenth of the blocks are rounds of three clients, the rest transfers to 100
accounts. Processor time of this process, medians of five; `without` is what opening cost before there were snapshots.
Commands run on a ledger of one round, from compiled modules, as installed; each is compared with
`python -c 'import typer, rich'`, the least of five turns.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import finish, machine
from ledger_store.file.chain_file import ChainFile, ChainReader
from ledger_store.file.snapshot import SNAPSHOT_NAME, Seal

COMMANDS = ("--help", "balance", "log", "show 3", "audit", "status", "doctor")
SIZES, QUICK_SIZES, TURNS = (1_000, 10_000), (300, 1_000), 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short chains: a few seconds")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    rows = [_row(blocks) for blocks in (QUICK_SIZES if chosen.quick else SIZES)]
    commands = _commands()
    tables = {"commands": commands, "opening": rows}
    finish({**tables, "machine": machine()}, chosen.json, tables)


def _commands() -> list[dict[str, Any]]:
    """Processor time of whole programs, one after the other in every turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "net"
        _workspace(folder)
        programs = {"import typer, rich": ["-c", "import typer, rich"]}
        programs |= {verb: ["-m", "fedcoin_cli", *verb.split()] for verb in COMMANDS}
        taken: dict[str, float] = {}
        for _ in range(TURNS):
            for verb, words in programs.items():
                taken[verb] = min(taken.get(verb, 60.0), _program_s(words, folder))
    base = taken["import typer, rich"]
    return [{"command": verb, "ms": 1e3 * one, "times": one / base} for verb, one in taken.items()]


def _program_s(words: list[str], folder: Path) -> float:
    # Empty is as good as unset: the first turn writes what later ones read.
    compiled = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], cwd=folder, env=compiled, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _workspace(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from chains import ChainMaker
    from places import place, settled_round

    maker = ChainMaker(2)
    settled_round(maker)
    place(folder, maker)


def _row(blocks: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size, seal = _write(folder, blocks)
        snapshot = folder / SNAPSHOT_NAME
        without = statistics.median(_open_s(folder, seal) for _ in range(TURNS))
        ChainFile.open_for_writing(folder, seal).close()
        return {
            "blocks": blocks,
            "chain MiB": size / 2**20,
            "without ms": 1e3 * without,
            "with ms": 1e3 * statistics.median(_open_s(folder, seal) for _ in range(TURNS)),
            "snapshot KiB": snapshot.stat().st_size / 1024 if snapshot.exists() else 0,
        }


def _open_s(folder: Path, seal: Seal) -> float:
    begun_s = time.process_time()
    ChainReader(folder, seal).close()
    return time.process_time() - begun_s


def _write(folder: Path, blocks: int) -> tuple[int, Seal]:
    """A valid chain; returns its bytes and the seal of whoever keeps it."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from chains import COIN, ChainMaker, key

    maker = ChainMaker(4)
    friends = [key(f"friend-{number}").address for number in range(100)]
    while len(maker.blocks) < blocks:
        maker.add_round()
        for _ in range(7):
            maker.add(maker.transfer(maker.requester, friends[len(maker.blocks) % 100], COIN))
    return maker.write(folder).stat().st_size, Seal(maker.miners[0], maker.genesis)


if __name__ == "__main__":
    main()
