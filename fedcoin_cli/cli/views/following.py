"""Bars for somebody who waits for a task: one after the other, as the stages follow each other."""

from contextlib import ExitStack
from typing import Self

from fedcoin_cli.application.requester.watch import Progress
from fedcoin_cli.cli.program.output import Output
from fedcoin_cli.cli.program.progress import progress, silent
from fedcoin_cli.cli.views.amounts import errors_text


class ProgressBars:
    """Shows what it is called with; a context manager that leaves no bar behind."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._stack = ExitStack()
        self._shown: tuple[str, int] | None = None
        self._step = silent

    def __call__(self, now: Progress) -> None:
        """Show this stage's progress, closing the bar of another stage."""
        if self._shown != (now.title, now.total):
            self._stack.close()
            self._shown = now.title, now.total
            bar = progress(self._output, now.title, now.total, now.unit)
            self._step = self._stack.enter_context(bar)
        self._step(now.done, _note(now))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        """Take the bar away."""
        self._stack.close()
        self._shown = None


def _note(now: Progress) -> str:
    return "" if now.errors is None else errors_text(now.errors)
