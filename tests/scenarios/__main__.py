"""Runs scenarios and prints their table: `python tests/scenarios 1 7 --full`; without numbers all of them."""

import argparse
import importlib
import re
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent), str(FOLDER.parent.parent)]

from scenarios.rows import Row  # noqa: E402 (the folder above must be known first)


def scenarios() -> dict[int, str]:
    """Number and module of every scenario in this folder."""
    found = (re.fullmatch(r"test_(\d+)_\w+", path.stem) for path in sorted(FOLDER.glob("test_*.py")))
    return {int(match[1]): f"scenarios.{match[0]}" for match in found if match}


def line(number: int, row: Row, command: str) -> str:
    """A row of the table in Markdown."""
    held = "" if row.held else "**not held** "
    return f"| {number} | {row.scenario} | {row.injected} | {row.demanded} | {held}{row.measured} | `{command}` |"


def main() -> int:
    """Run them; 1 when something that is demanded did not come true."""
    parser = argparse.ArgumentParser(prog="python tests/scenarios", description=__doc__)
    parser.add_argument("numbers", type=int, nargs="*", metavar="N", help="which scenarios, default all")
    parser.add_argument(
        "--full", action="store_true", help="the figures of a release, not the gate's samples"
    )
    arguments = parser.parse_args()
    known, failed = scenarios(), False
    sys.stdout.write(
        "| # | scenario | injected | demanded | measured | command |\n|---|---|---|---|---|---|\n"
    )
    for number in arguments.numbers or sorted(known):
        began_s = time.monotonic()
        command = f"python tests/scenarios {number}{' --full' if arguments.full else ''}"
        for row in importlib.import_module(known[number]).measure(full=arguments.full):
            sys.stdout.write(line(number, row, command) + "\n")
            sys.stdout.flush()
            failed = failed or not row.held
        sys.stderr.write(f"scenario {number} took {time.monotonic() - began_s:.0f} s\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
