"""How long work is shown: bars with the time left on a terminal, plain lines with -v elsewhere, else nothing.

All of it goes to stderr. What a command answers does not pass through here.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from fedcoin_cli.cli.program.output import Output


class ShowStep(Protocol):
    """Tells how much is done, counted from the start: a step may be repeated or skipped. `note` stands beside it."""

    def __call__(self, done: int, note: str = "") -> None: ...


_LINES = 10


@contextmanager
def progress(output: Output, title: str, total: int, unit: str = "") -> Iterator[ShowStep]:
    """Show work of `total` units while the block runs.

    With the unit "B" amounts are shown as sizes, with any other as counts.
    """
    if output.lively:
        with _bar(output, title, total, unit) as step:
            yield step
    elif output.verbosity > 0:
        yield _lines(output, title, total, unit)
    else:
        yield silent


@contextmanager
def _bar(output: Output, title: str, total: int, unit: str) -> Iterator[ShowStep]:
    # Here, because Rich takes longer to import than most commands take to run.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    amount = DownloadColumn() if unit == "B" else MofNCompleteColumn()
    words = TextColumn("{task.description}"), BarColumn(), amount, TextColumn(unit if unit != "B" else "")
    notes = TextColumn("{task.fields[note]}", style="dim")
    console = Console(stderr=True, no_color=not output.color or None)
    with Progress(*words, TimeRemainingColumn(), notes, console=console, transient=True) as bars:
        task = bars.add_task(title, total=total, note="")

        def step(done: int, note: str = "") -> None:
            bars.update(task, completed=done, note=note)

        yield step


def _lines(output: Output, title: str, total: int, unit: str) -> ShowStep:
    """At most ten lines, one whenever another tenth is done."""
    shown = -1

    def step(done: int, note: str = "") -> None:
        nonlocal shown
        tenth = _LINES * done // max(total, 1)
        if tenth > shown:
            shown = tenth
            output.detail(f"{title}: {done} of {total} {unit}".rstrip() + (f", {note}" if note else ""))

    return step


def silent(done: int, note: str = "") -> None:
    """Nobody watches."""


@contextmanager
def works(output: Output) -> Iterator[Callable[[str, int, int], None]]:
    """Show works that follow each other while the block runs: each has a name and so many steps."""
    with ExitStack() as stack:
        names: dict[str, ShowStep] = {}

        def told(name: str, step: int, steps: int) -> None:
            if name not in names:
                stack.close()
                output.note(name)
                names[name] = stack.enter_context(progress(output, name, steps, "steps"))
            names[name](step)

        yield told
