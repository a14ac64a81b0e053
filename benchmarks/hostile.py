"""Rounds made to break rounding, and what honest engines count in them.

`python -m benchmarks.hostile [--rounds 1000] [--first 0] [--engine kernel] [--json]`. Of each round up to 49 coalitions
are counted by the engine and by the float64 reference. A count outside [lo, hi] of ε is wrong; outside that of 2ε an
honest miner would be accused. `refused` rounds never reach mining; the others do. The engine that counts all coalitions
at once (`cube`) is for models with one hidden layer only: fewer rounds. `walks` and `keras walks` count along rankings
of small blocks, each of which is judged on its own.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from attacking.hostile import verdict

from benchmarks.machine import finish, machine


def main() -> None:
    """Count, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--engine", choices=["kernel", "keras", "cube", "walks", "keras walks"], default="kernel"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    seeds = range(chosen.first, chosen.first + chosen.rounds)
    verdicts = [found for seed in seeds if (found := verdict(seed, chosen.engine)) is not None]
    admitted = [each for each in verdicts if not each.refused]
    rows = [
        {
            "kind": kind,
            "rounds": number,
            "refused": sum(each.refused for each in verdicts if each.kind == kind),
            "with wrong counts": sum(each.wrong > 0 for each in verdicts if each.kind == kind),
            "accusing": sum(each.accused > 0 for each in verdicts if each.kind == kind),
            "admitted and accusing": sum(each.accused > 0 for each in admitted if each.kind == kind),
        }
        for kind, number in sorted(Counter(each.kind for each in verdicts).items())
    ]
    result = {
        "engine": chosen.engine,
        "rounds": len(verdicts),
        "admitted": len(admitted),
        "coalitions": sum(each.coalitions for each in verdicts),
        "wrong_counts": sum(each.wrong for each in verdicts),
        "honest_accused": sum(each.accused for each in verdicts),
        "admitted_wrong_counts": sum(each.wrong for each in admitted),
        "admitted_accused": sum(each.accused for each in admitted),
        "kinds": rows,
        "machine": machine(),
    }
    finish(result, chosen.json, {"kinds": rows})


if __name__ == "__main__":
    main()
