"""How many transfers a second become final, how soon, and how messages and time grow with the number of miners.

`python -m benchmarks.load [--quick] [--json] [--miners 1,4,7]`. Real miner processes on this machine: first one account
pays one transfer after the other (`alone`), then 32 accounts keep eight each on their way (`full`). A transfer counts
from its sending until its block is final at a quorum of miners, by their logs. Processor time is that of all miners
together, for a transfer. The curve is the simulator's (stub signatures, 25 ms a message, a transfer a block): what one
block costs in messages and in time as the roster grows.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import finish, machine
from benchmarks.network import Miner, end_tidily, network
from benchmarks.payers import Payers, final_at
from benchmarks.vitals import cpu_s
from ledger_store.base.names import Address
from ledger_store.base.words import VoteKind

ALONE, FULL = (1, 1), (32, 8)
ROSTERS = (1, 2, 3, 4, 7, 10, 20, 35, 50)
MESSAGE_MS = (20, 30)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer transfers: about a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--miners", default="1,4,7", help="which numbers of miners; empty: only the curve")
    chosen = parser.parse_args()
    end_tidily()
    rows: list[dict[str, Any]] = []
    for miners in [int(text) for text in chosen.miners.split(",") if text]:
        folder = Path(tempfile.mkdtemp(prefix="fedcoin-load-"))
        try:
            with network(folder, miners, "task.clients=2") as crew:
                rows.append(_row(crew, "alone", ALONE, 10 if chosen.quick else 50))
                rows.append(_row(crew, "full", FULL, 500 if chosen.quick else 4_000))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    curve = [_simulated(miners, 5 if chosen.quick else 20) for miners in ROSTERS]
    tables = {"transfers": rows, "curve": curve} if rows else {"curve": curve}
    finish({**tables, "machine": machine()}, chosen.json, tables)


def _row(crew: Sequence[Miner], name: str, how: tuple[int, int], transfers: int) -> dict[str, Any]:
    """Real processes: `how` many accounts, and how many transfers each keeps on its way."""
    payers = Payers(crew, *how)
    pids = [miner.pid for miner in crew]
    before_s, begun_s = sum(cpu_s(pid) for pid in pids if pid), time.monotonic()
    while payers.finished < transfers:
        payers.pump(transfers - payers.sent)
    seconds = time.monotonic() - begun_s
    used_s = sum(cpu_s(pid) for pid in pids if pid) - before_s
    payers.close()
    genesis = crew[0].workspace.genesis()
    time.sleep(0.5)  # the last block is in all logs then
    final = final_at(crew, genesis.quorum)
    waits = sorted(final[one.height] - one.sent_s for one in payers.paid if one.height in final)
    heights = {one.height for one in payers.paid}
    return {
        "miners, load": f"{len(crew)} {name}",
        "transfers": transfers,
        "a second": transfers / seconds,
        "p50 s": waits[len(waits) // 2],
        "p99 s": waits[int(0.99 * len(waits))],
        "blocks": len(heights),
        "blocks a second": len(heights) / seconds,
        "cpu ms a transfer": 1e3 * used_s / transfers,
        "of a miner": 1e3 * used_s / transfers / len(crew),
    }


def _simulated(miners: int, blocks: int) -> dict[str, Any]:
    """One transfer after the other in a world without faults."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from simulated.signatures import stub_signatures
    from simulated.world import Faults, World

    with stub_signatures(True):
        world = next(
            w for w in (World(seed, miners, Faults()) for seed in range(100)) if w.genesis.delta_ms == 500
        )
        world.heal()
        world.faults = replace(world.faults, delay_ms=MESSAGE_MS)
        world.run_until(20_000, lambda: False)
        kinds: dict[str, int] = {}
        right = world.transmit

        def count(sender: Any, to: Address, message: Any) -> None:
            kinds[message.kind] = kinds.get(message.kind, 0) + 1
            right(sender, to, message)

        world.transmit = count  # type: ignore[method-assign]  # a tap on the wire
        waits = []
        for number in range(1, blocks + 1):
            begun = world.now
            world.clients.submit(world.clients.transfer(number % 4, 1 + (number - 1) // 4))
            world.run_until(begun + 100_000, lambda: len(world.final) == len(world.clients.wanted))
            waits.append(world.now - begun)
            world.run_until(world.now + 500, lambda: False)
    return {
        "miners": miners,
        "messages a block": sum(kinds.values()) / blocks,
        "votes": sum(kinds.get(kind, 0) for kind in VoteKind) / blocks,
        "R squared": miners * miners,
        "simulated ms a block": sorted(waits)[len(waits) // 2],
    }


if __name__ == "__main__":
    main()
