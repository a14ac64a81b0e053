"""What a network costs while nothing happens.

`python -m benchmarks.idle [--seconds N] [--json] [--miners 4]`. Processor time and wake-ups of real miner processes
and of their mining children on this machine; messages a minute are counted in the simulator, in an hour without load.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import finish, machine
from benchmarks.network import end_tidily, network
from benchmarks.vitals import children, cpu_s
from ledger_store.base.names import Address

MINUTES = 60


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--miners", type=int, default=4)
    chosen = parser.parse_args()
    end_tidily()
    folder = Path(tempfile.mkdtemp(prefix="fedcoin-idle-"))
    try:
        with network(folder, chosen.miners, "task.clients=2") as crew:
            time.sleep(5.0)
            pids = [pid for miner in crew if (pid := miner.pid) is not None]
            kids = [kid for pid in pids for kid in children(pid)]
            used = _growth(
                lambda: sum(map(cpu_s, pids)), lambda: _wakes(pids), lambda: _wakes(kids), chosen.seconds
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {
        "miners": chosen.miners,
        "cpu_percent_a_miner": 100 * used[0] / chosen.seconds / chosen.miners,
        "wakes_a_second_a_miner": used[1] / chosen.seconds / chosen.miners,
        "wakes_a_second_a_child": used[2] / chosen.seconds / chosen.miners,
        "messages_a_minute": {kind: number / MINUTES for kind, number in _messages(chosen.miners).items()},
        "machine": machine(),
    }
    finish(result, chosen.json, {})


def _growth(*parts: Any) -> list[float]:
    """How much each number grows within the seconds that come last."""
    *numbers, seconds = parts
    looks: list[Callable[[], float]] = list(numbers)
    before = [look() for look in looks]
    time.sleep(seconds)
    return [look() - old for look, old in zip(looks, before, strict=True)]


def _wakes(pids: list[int]) -> int:
    """How often the threads of these processes slept and were woken."""
    lines = [
        line
        for pid in pids
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
    ]
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def _messages(miners: int) -> Counter[str]:
    """All that is said in an idle hour."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from simulated.signatures import stub_signatures
    from simulated.world import Faults, World

    kinds: Counter[str] = Counter()
    with stub_signatures(True):
        world = World(1, miners, Faults())
        world.heal()
        world.run_until(60_000, lambda: False)
        right = world.transmit

        def count(sender: Any, to: Address, message: Any) -> None:
            kinds[message.kind] += 1
            right(sender, to, message)

        world.transmit = count  # type: ignore[method-assign]  # a tap on the wire
        world.run_until(world.now + MINUTES * 60_000, lambda: False)
    return kinds


if __name__ == "__main__":
    main()
