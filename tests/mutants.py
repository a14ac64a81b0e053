"""Mutants of the modules that decide about money, made and run by mutmut; here it is judged which may survive.

`python tests/mutants.py [--seconds S] [--seed N] [--module NAME ...] [--children N]`. Mutants are taken in an order
that follows from the seed until the time is over; what was found is kept in `mutants/`, so the next run goes on where
this one ended, and a function that has changed begins anew. Survivors are tried again each time, for the tests may have
changed. Whoever survives must stand in `survivors.toml` with the reason why no test can tell it from the right code;
one that does not makes this program fail. Mutants that only change the words of a refusal or an assertion are not run.
"""

import argparse
import ast
import difflib
import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MADE = ROOT / "mutants"
SAID = MADE / "said.log"
EXPLAINED = Path(__file__).with_name("survivors.toml")
# Any few will do to have all of them made and the tests' coverage taken.
FIRST = "ledger_store.state.x_initial*"
AT_ONCE = 1_000
AROUND = 48
STOP_S = 60.0
# What mutmut notes of a run: pytest's own codes, and how a process ended.
KILLED = frozenset({1, 3, 24, 36, 152, 255, -24, -11, -9})


@dataclass(frozen=True, slots=True)
class Change:
    """What a mutant is: lines of one function, as the parser prints them, before and after."""

    module: str
    function: str
    was: str
    becomes: str

    def __str__(self) -> str:
        """As an entry of the file of survivors, without its reason."""
        names = ("module", "function", "was", "becomes")
        return "\n".join(f"{name} = {_toml(getattr(self, name))}" for name in names)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mutant by mutmut's name, and the exit code of its run, if it had one."""

    name: str
    path: Path
    ended: int | None

    @property
    def module(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def survived(self) -> bool:
        """That no test runs it is no excuse."""
        return self.ended is not None and self.ended not in KILLED

    def change(self) -> Change:
        """The lines that differ."""
        right, wrong = (ast.unparse(tree).splitlines() for tree in self._trees())
        lines = list(difflib.ndiff(_undecorated(right), _undecorated(wrong)))
        was, becomes = _close_up(*("\n".join(x[2:].strip() for x in lines if x[0] == sign) for sign in "-+"))
        words = self.name.rpartition(".")[2].rpartition("__mutmut_")[0].split("ǁ")
        return Change(self.module, ".".join(words[1:]) or words[0].removeprefix("x_"), was, becomes)

    def is_words(self) -> bool:
        """Whether it changes nothing but what a person reads."""
        right, wrong = (_Silent().visit(ast.parse(ast.unparse(tree))) for tree in self._trees())
        return ast.dump(right.body[0]) == ast.dump(wrong.body[0])

    def _trees(self) -> Iterator[ast.AST]:
        known, name = _functions(self.path), self.name.rpartition(".")[2]
        for each in (name.rpartition("_")[0] + "_orig", name):
            tree = ast.parse(ast.unparse(known[each])).body[0]
            assert isinstance(tree, ast.FunctionDef)
            tree.name, tree.decorator_list = "it", []
            yield tree


class _Silent(ast.NodeTransformer):
    """Takes the words out of refusals, errors and assertions."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name == "refuse" and len(node.args) == 2:
            node.args[1:] = [ast.Constant("")]
        if name == "Fields" and len(node.args) == 3:
            node.args[2:] = [ast.Constant("")]
        if name == "_malformed":
            node.args = []
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        if ast.unparse(node.targets[0]) == "hint":
            node.value = ast.Constant("")
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        self.generic_visit(node)
        node.msg = None
        return node


def _undecorated(lines: Sequence[str]) -> Sequence[str]:
    return [line for line in lines if not line.lstrip().startswith("@")]


def _close_up(was: str, becomes: str) -> tuple[str, str]:
    """Long lines are cut to where they differ and a little around it."""
    first = _alike(was, becomes)
    last = min(_alike(was[::-1], becomes[::-1]), min(len(was), len(becomes)) - first)
    start, rest = max(0, first - AROUND), max(0, last - AROUND)
    return was[start : len(was) - rest], becomes[start : len(becomes) - rest]


def _alike(one: str, other: str) -> int:
    """How many characters at the beginning are the same."""
    return next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1),
        min(len(one), len(other)),
    )


@cache
def _functions(path: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def _toml(text: str) -> str:
    return f"'''{text}'''" if "'" in text or "\n" in text else f"'{text}'"


def mutants() -> list[Mutant]:
    """All that there are."""
    found = []
    for meta in sorted(MADE.rglob("*.py.meta")):
        ended = json.loads(meta.read_text("utf-8"))["exit_code_by_key"]
        found += [Mutant(name, meta.with_suffix(""), code) for name, code in ended.items()]
    return found


def run(names: Sequence[str], children: int, until_s: float) -> None:
    """Let mutmut run these until the time is over; what has ended by then is noted."""
    program = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", str(children), *names]
    MADE.mkdir(exist_ok=True)
    with SAID.open("wb") as said:
        process = subprocess.Popen(program, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
    with process:
        try:
            if process.wait(max(1.0, until_s - time.monotonic())):
                sys.exit(f"mutmut failed; what it said is in {SAID}")
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def explained() -> dict[Change, str]:
    """The reason of every survivor that is known."""
    listed = tomllib.loads(EXPLAINED.read_text("utf-8"))["survivor"]
    assert all(entry["reason"] for entry in listed)
    return {
        Change(entry["module"], entry["function"], entry["was"], entry["becomes"]): entry["reason"]
        for entry in listed
    }


def hunt(seconds: float, seed: int, modules: Sequence[str], children: int) -> None:
    """Run as many as there is time for, survivors first."""
    until_s = time.monotonic() + seconds
    run([FIRST], children, until_s)
    _functions.cache_clear()
    left = [one for one in mutants() if _wanted(one, modules) and (one.ended is None or one.survived)]
    random.Random(seed).shuffle(left)
    left.sort(key=lambda one: one.ended is None)
    left = [one for one in left if not one.is_words()]
    while left and time.monotonic() < until_s:
        run([one.name for one in left[:AT_ONCE]], children, until_s)
        del left[:AT_ONCE]


def _wanted(mutant: Mutant, modules: Sequence[str]) -> bool:
    return not modules or any(f".{mutant.module}.".endswith(f".{module}.") for module in modules)


def judge(modules: Sequence[str]) -> int:
    """The table and the unexplained; how many these are."""
    known, rows, unexplained = explained(), dict[str, Counter[str]](), list[Change]()
    gone = set(known)
    for mutant in mutants():
        if not _wanted(mutant, modules):
            continue
        gone.discard(mutant.change())
        row = rows.setdefault(mutant.module, Counter())
        row["mutants"] += 1
        if mutant.is_words():
            row["words"] += 1
            continue
        row["run"] += mutant.ended is not None
        row["killed"] += mutant.ended in KILLED
        if mutant.survived:
            change = mutant.change()
            row["explained"] += change in known
            if change not in known:
                unexplained.append(change)
    names = ("mutants", "words", "run", "killed", "explained")
    sys.stdout.write(f"| module | {' | '.join(names)} |\n|---|{'---|' * len(names)}\n")
    for module, row in [*rows.items(), ("all", sum(rows.values(), Counter[str]()))]:
        sys.stdout.write(f"| {module} | {' | '.join(str(row[name]) for name in names)} |\n")
    for change in unexplained:
        sys.stdout.write(f'\n[[survivor]]\n{change}\nreason = ""\n')
    if not modules:
        for change in gone:
            sys.stdout.write(f"\nno mutant any more, to be taken out of the file:\n{change}\n")
    sys.stdout.write(f"\n{len(unexplained)} unexplained survivors\n")
    return len(unexplained)


def main() -> int:
    """Hunt, judge; 1 when somebody survives who should not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1_800, help="how long to run mutants; 0: only judge")
    parser.add_argument("--seed", type=int, default=0, help="the order of the mutants")
    parser.add_argument(
        "--module", action="append", default=[], help="only of this module: state, posap, ..."
    )
    parser.add_argument("--children", type=int, default=2, help="processes at once")
    chosen = parser.parse_args()
    if chosen.seconds:
        hunt(chosen.seconds, chosen.seed, chosen.module, chosen.children)
    return 1 if judge(chosen.module) else 0


if __name__ == "__main__":
    sys.exit(main())
