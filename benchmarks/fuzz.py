"""Hostile bytes for one reader, or for all: `python -m benchmarks.fuzz [DECODER ...] [--runs N] [--seed S] [--json]`.

What is tried is made by `tests/fuzzing` (samples cut, doubled, exchanged and retyped), or with `--atheris` by
libFuzzer, guided by coverage (`pip install atheris`; one reader at a time; what breaks it is written to the working
folder). A reader may give a value or its documented refusal; the first input that does anything else is printed and
ends the run. Peak memory and the slowest input are those of this process.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import finish, machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
if "--atheris" in sys.argv:
    # Before anything of ours is imported: only what is imported inside is guided by coverage.
    import atheris

    with atheris.instrument_imports(include=["ledger_store", "fedcoin_cli"]):
        import fuzzing.decoders  # noqa: F401 (imported here, it is guided)
from fuzzing.decoders import Decoder, decoders
from fuzzing.runs import Broken, Tally, fuzz, try_one

AT_ONCE = 1_000


def main() -> None:
    """Fuzz what is named, print a row each; exit 1 when a reader broke."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("decoder", nargs="*", help="which readers; all without a name")
    parser.add_argument("--runs", type=int, default=100_000, help="inputs a reader")
    parser.add_argument("--seed", type=int, default=0, help="where the inputs begin")
    parser.add_argument("--atheris", action="store_true", help="let libFuzzer choose the inputs")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else None  # noqa: S108 (where there is such a place)
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        known = decoders(Path(folder))
        unknown = set(chosen.decoder) - set(known)
        if unknown:
            parser.error(f"no such reader: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        wanted = [known[name] for name in chosen.decoder or known]
        if chosen.atheris:
            _guided(wanted[0], chosen.runs)
            return
        rows = [_row(decoder, chosen.seed, chosen.runs) for decoder in wanted]
    result: dict[str, Any] = {"readers": rows, "broken": sum(bool(row["broke on"]) for row in rows)}
    finish({**result, "machine": machine()}, chosen.json, {"readers": rows})
    sys.exit(1 if result["broken"] else 0)


def _row(decoder: Decoder, seed: int, runs: int) -> dict[str, Any]:
    started, total, broke = time.process_time(), Tally(), ""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        for number in range(0, runs, AT_ONCE):
            part = fuzz(decoder, seed + number, min(AT_ONCE, runs - number))
            total.values += part.values
            total.refused += part.refused
            total.slowest_s = max(total.slowest_s, part.slowest_s)
    except Broken as error:
        broke = str(error)
    return {
        "reader": decoder.name,
        "inputs": total.runs,
        "values": total.values,
        "refused": total.refused,
        "slowest ms": round(1000 * total.slowest_s, 1),
        "peak +MiB": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1),
        "CPU s": round(time.process_time() - started, 1),
        "broke on": broke,
    }


def _guided(decoder: Decoder, runs: int) -> None:
    tally = Tally()
    corpus = tempfile.TemporaryDirectory()
    for number, sample in enumerate(decoder.samples):
        (Path(corpus.name) / str(number)).write_bytes(sample)
    atheris.Setup([sys.argv[0], f"-runs={runs}", corpus.name], lambda data: try_one(decoder, data, tally))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
