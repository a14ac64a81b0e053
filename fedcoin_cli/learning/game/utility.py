"""What finds out what coalitions are worth, as interfaces: whole coalitions, along rankings, or all there are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.coalitions.walks import Counts, Orders

Found = npt.NDArray[np.integer[Any]]
Members = npt.NDArray[np.uint8]


class Utility(Protocol):
    """What counts whole coalitions on all images; `engine.UtilityEngine` is one."""

    batch: int

    def counts(self, masks: Sequence[int]) -> Counts:
        """u(mask) for each non-empty mask, in order."""
        ...


class Walker(Protocol):
    """What counts along rankings, block by block."""

    @property
    def together(self) -> int:
        """So many rankings take no longer than one."""
        ...

    def ends(self) -> tuple[Counts, Counts]:
        """u(∅) and u(full) of each block, (blocks,)."""
        ...

    def walk(self, blocks: range, walked: Orders) -> Found:
        """The counts of the proper coalitions on the way of rankings (blocks, r, K): (blocks, r, K − 1)."""
        ...


@runtime_checkable
class Apart(Protocol):
    """What counts coalitions of a block alone as quickly as along rankings."""

    @property
    def coalitions(self) -> int:
        """So many take no longer than one."""
        ...

    def count(self, block: int, members: Members) -> Counts:
        """u of non-empty coalitions (n, K), given by zeros and ones, on a block: (n,)."""
        ...


class Enumeration(Protocol):
    """What counts all coalitions on all images, in slices of its own."""

    total: int

    @property
    def done(self) -> int:
        """How much of the total is done."""
        ...

    def step(self) -> None:
        """Work for about a tenth of a second."""
        ...

    def seconds_left(self) -> float | None:
        """By the speed so far; None before there is any."""
        ...

    def counts(self) -> Counts:
        """The counts of the masks 1..2^K−1, once `done` is `total`."""
        ...

    def save(self, path: Path) -> None:
        """Keep what is done in a file, as far as it is worth that."""
        ...

    def restore(self, path: Path) -> None:
        """Take over what `save` has left."""
        ...
