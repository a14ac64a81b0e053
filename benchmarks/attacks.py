"""Every attack on the real code, and on the paper's rules.

`python -m benchmarks.attacks [--quick] [--tries N] [--lies] [--json] [--mnist]`.

A row tells how often an attack was tried and how often it came through, what it cost honest parties in coins a try, and
the same for FedCoin's Algorithms 1 and 2 as printed. Schemes that no rule forbids come with what they gain in
expectation. Prices are the paper's: 700 for the clients, 100 for the server, 200 for the miners. `--mnist` plays the
schemes on ten MNIST clients instead of the small game (trained once, then cached). The code that attacks is in
`tests/attacking`; hostile peers on real sockets are `python tests/scenarios 11 --full`.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import finish, machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
from attacking.games import Played, small_game
from attacking.suite import handed_in, miners, pairs, schemes, tables
from attacking.untrusted import refuse_all

COIN = 10**6


def main() -> None:
    """Attack, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attacks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few tries: about a minute")
    parser.add_argument("--tries", type=int, help="how often each lie is told: 100, with --quick 5")
    parser.add_argument("--lies", action="store_true", help="no schemes: what a rule forbids alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object; money in micro-FedCoin")
    parser.add_argument("--mnist", action="store_true", help="schemes on ten MNIST clients")
    chosen = parser.parse_args()
    tries = chosen.tries or (5 if chosen.quick else 100)
    trials = 8 * tries
    rows = [*miners(tries), *pairs(max(2, tries // 10)), *handed_in(20 * tries)]
    if not chosen.lies:
        rows += [*schemes(_mnist() if chosen.mnist else small_game(), trials), *tables(trials // 4)]
    result = {"schema": 1, "attacks": rows, "untrusted_files": _untrusted(), "machine": machine()}
    shown = [_coins(row) for row in rows]
    finish(result if chosen.json else result | {"attacks": shown}, chosen.json, {"attacks": shown})


def _coins(row: dict[str, Any]) -> dict[str, str]:
    """A row for people: coins a try, and the paper beside ours."""
    paper = row["paper"] or {}
    tried = f"{paper['accepted']} of {paper['attempts']}" if paper else "-"
    return {
        "attack": row["name"],
        "accepted": f"{row['accepted']} of {row['attempts']}",
        "loss": f"{row['loss'] / COIN:.2f}",
        "gain": f"{row['gain'] / COIN:+.2f}" if "gain" in row else "-",
        "paper: accepted": tried,
        "paper: loss": f"{paper['loss'] / COIN:.2f}" if paper else "-",
    }


def _untrusted() -> dict[str, Any]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return refuse_all(Path(folder))


def _mnist() -> Played:
    from benchmarks.games import Case, exact_counts, real_game

    case = Case("mix", 10)
    return Played(real_game(case), exact_counts(case))


if __name__ == "__main__":
    main()
