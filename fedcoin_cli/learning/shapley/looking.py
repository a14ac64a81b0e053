"""A check on its way: it goes in short steps, between which its owner does other things, and knows what it has taken.

Its time is its own: however many checks take turns, each gets what it was given.
"""

import time
from collections.abc import Callable, Generator
from math import inf
from typing import Generic, TypeVar

Found = TypeVar("Found")
Steps = Generator[None, None, Found]
"""Yields between steps, and returns what was found."""


class Budget:
    """What a check may take, in seconds of its own; `taken_s` is what it has taken."""

    def __init__(self, seconds: float = inf) -> None:
        self.seconds, self.taken_s = seconds, 0.0

    @property
    def over(self) -> bool:
        """Whether the time is over: what must be done is done nevertheless."""
        return self.taken_s >= self.seconds


class Look(Generic[Found]):
    """Steps with their time.

    Args:
        steps: the work; it asks `budget` when to end.
        budget: its time, which this adds up.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        steps: Steps[Found],
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._steps, self._clock = steps, clock
        self.budget = budget or Budget()
        self._found: list[Found] = []

    def advance(self) -> bool:
        """One step; False when there is none left."""
        began = self._clock()
        try:
            next(self._steps)
        except StopIteration as end:
            self._found.append(end.value)
        self.budget.taken_s += self._clock() - began
        return not self._found

    @property
    def found(self) -> Found:
        """What came of it, once it has ended."""
        return self._found[0]

    def finish(self) -> Found:
        """All of it at once."""
        while self.advance():
            pass
        return self.found
