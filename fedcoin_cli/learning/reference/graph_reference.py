"""The float64 reference of a graph: what a coalition is worth, and the interval in which an honest count lies.

It begins where engines begin, with what is computed once a client (`staged`), and computes the rest of each coalition
in passes that are moved as float32 may move them (`perturbed`). Bounds of outputs are `HONEST` times their deviation:
so far off was no engine in any measurement (docs/adr/0038).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.game.game import Floats, Game, member_bits
from fedcoin_cli.learning.graph.graph import Kind
from fedcoin_cli.learning.graph.namespace import NUMPY, Array
from fedcoin_cli.learning.graph.passes import Steps
from fedcoin_cli.learning.graph.shapes import cost
from fedcoin_cli.learning.metrics.choice import scorer_of
from fedcoin_cli.learning.metrics.scorer import Marks, Places
from fedcoin_cli.learning.reference.perturbed import PASSES, Perturbed, deviations, seed_of, unmoved
from fedcoin_cli.learning.reference.reference import Interval
from fedcoin_cli.learning.reference.staged import Staged

HONEST: Final = 32
"""ε of an output in deviations of it [P-6.22]."""

_MOST_IMAGES: Final = 64
# What nothing interrupts, and what is held at one time in all passes.
_STEP_FLOP: Final = 4 * 10**9
_STEP_VALUES: Final = 1 << 25

# Drawing and adding what moves a value, in operations.
_VALUE_FLOP: Final = 16

Members = npt.NDArray[np.uint8]


class GraphReference:
    """Counts and intervals of one graph's game; `reference.Reference` says what each method gives [P-6.4]."""

    proven = False

    def __init__(self, game: Game, staged: Staged) -> None:
        self.game, self.scorer = game, scorer_of(game)
        self.staged = staged
        self._steps = Steps(staged.staging.rest, game.graph.graph.output)
        one, two = (cost(game.graph.graph, game.graph.types, examples) for examples in (1, 2))
        types, rest = game.graph.types, staged.staging.rest
        values = sum(types[name].each for node in rest for name in node.outputs if name)
        self.image_flop = PASSES * (game.model.flop_above + _VALUE_FLOP * max(1, values))
        """About what one coalition's interval on one image takes, moving every value included."""
        fitting = min(
            _STEP_FLOP // (PASSES * max(1, one.flop)), _STEP_VALUES // (PASSES * max(1, two.held - one.held))
        )
        if not staged.kept:
            fitting = min(fitting, staged.together)
        self._images = max(1, min(_MOST_IMAGES, fitting))
        # How many results stand before the images' constants, and before the weights.
        kinds = [[types[name].kind for name in some] for some in (staged.shared, staged.constants)]
        before, own = (some.count(Kind.float32) for some in kinds)
        self._numbers = (before, before + own)

    @property
    def kept(self) -> bool:
        """Whether what is computed once a client is kept: else coalitions are quickest all together."""
        return self.staged.kept

    def interval(self, mask: int, factor: int = 1) -> tuple[int, int]:
        """(lo, hi) of one non-empty coalition at factor·ε."""
        bounds = self.intervals([mask], factor)[0]
        return bounds.lo, bounds.hi

    def count(self, mask: int) -> int:
        """What one non-empty coalition is worth, in float64."""
        shares = self.game.shares([mask])[0]
        weights = {name: _mixed(shares, stack) for name, stack in self.staged.weights.items()}
        marks = [
            self.scorer.marks(self._outputs(*self._values(part), weights, shares).T[None], part)
            for part in self._parts()
        ]
        return int(self.scorer.worth(np.concatenate(marks, axis=1), np.arange(self.game.images))[0])

    def intervals(self, masks: Sequence[int], factor: int = 1) -> list[Interval]:
        """The intervals of several non-empty coalitions, faster together than one by one."""
        totals = np.zeros((len(masks), 3), np.int64)
        for _ in self.steps(masks, factor, totals):
            pass
        return [Interval(int(lo), int(count), int(hi)) for lo, count, hi in totals]

    def steps(
        self, masks: Sequence[int], factor: int, totals: npt.NDArray[np.int64]
    ) -> Iterator[tuple[int, int]]:
        """The same in small steps, adding lo, count and hi to `totals` (masks, 3): yields done, of how much."""
        parts, members = self._parts(), member_bits(masks, self.game.clients)
        sums = self.game.metric.sums
        held = None if sums else np.empty((3, len(masks), self.game.images), np.int64)
        for part in parts:
            for _ in self.staged.filling(part):
                yield 0, len(parts) * len(masks)
        for done, (row, part, outputs, bounds) in enumerate(self._each(parts, members), 1):
            marks = self._marks(part, outputs, bounds, factor)
            if held is None:
                totals[row] += self.scorer.worth(marks, part)[:, 0]
            else:
                held[:, row, part] = marks[:, 0]
            yield done, len(parts) * len(masks)
        if held is not None:
            totals += self.scorer.worth(held, np.arange(self.game.images)).T

    def block_intervals(
        self, positions: npt.NDArray[np.intp], members: Members, factor: int = 1
    ) -> npt.NDArray[np.int64]:
        """lo, count and hi of non-empty coalitions (masks, K) on some images of any labels, (masks, 3)."""
        parts = [positions[start : start + self._images] for start in range(0, len(positions), self._images)]
        found: list[list[Marks]] = [[] for _ in members]
        for row, part, outputs, bounds in self._each(parts, members):
            found[row].append(self._marks(part, outputs, bounds, factor))
        worth = [self.scorer.worth(np.concatenate(marks, axis=2), positions)[:, 0] for marks in found]
        return np.array(worth, np.int64).reshape(-1, 3)

    def magnitude(self, client: int) -> float:
        """How far rounding may move an output of one client's own model on the first images."""
        own = np.zeros(self.game.clients, np.uint8)
        own[client] = 1
        return float(self._judged(own, self._moved(own), self._values(self._parts()[0]))[1].max())

    def _parts(self) -> list[Places]:
        """All images, so many as are taken together."""
        every = np.arange(self.game.images)
        return [every[start : start + self._images] for start in range(0, len(every), self._images)]

    def _each(
        self, parts: Sequence[Places], members: Members
    ) -> Iterator[tuple[int, Places, Floats, Floats]]:
        """Row and part, outputs and bounds of every coalition on every part; what is dear to make serves in a row."""
        if self.staged.kept:
            for row, own in enumerate(members):
                moved = self._moved(own)
                for part in parts:
                    yield row, part, *self._judged(own, moved, self._values(part))
            return
        for part in parts:
            values = self._values(part)
            for row, own in enumerate(members):
                yield row, part, *self._judged(own, self._moved(own), values)

    def _marks(self, images: Places, outputs: Floats, bounds: Floats, factor: int) -> Marks:
        """The least marks, the own and the most of one coalition, (3, 1, images)."""
        return self.scorer.reaches(outputs.T[None], factor * bounds.T[None], images)

    def _values(self, images: Places) -> tuple[Mapping[str, Array], Mapping[str, Array]]:
        """What coalitions begin with on these: constant values of the images, and the clients' (K, …)."""
        constants, averaged = self.staged.of_images(images)
        return (
            {name: NUMPY.constant(value) for name, value in constants.items()},
            {name: NUMPY.constant(stack) for name, stack in averaged.items()},
        )

    @np.errstate(all="ignore")
    def _moved(self, own: Members) -> Mapping[str, Array]:
        """What one coalition begins with on any images: what all share, and its weights.

        Results are numbered as if images' constants stood between the two.
        """
        staged, shares, seed = self.staged, self.game.shares_of(own[None])[0], seed_of(own)
        xp = Perturbed(seed, self._numbers[1])
        weights = {name: _average(xp, shares, stack) for name, stack in staged.weights.items()}
        return {**_rounded(Perturbed(seed), staged.shared), **weights}

    @np.errstate(all="ignore")  # what is no finite number is told apart
    def _judged(
        self,
        own: Members,
        moved: Mapping[str, Array],
        values: tuple[Mapping[str, Array], Mapping[str, Array]],
    ) -> tuple[Floats, Floats]:
        """Outputs of one coalition and their bounds, (images, classes) each."""
        constants, averaged = values
        shares, seed = self.game.shares_of(own[None])[0], seed_of(own)
        before, between = self._numbers
        given = {**moved, **_rounded(Perturbed(seed, before), constants)}
        xp = Perturbed(seed, between + len(self.staged.weights))
        given.update((name, _average(xp, shares, stack)) for name, stack in averaged.items())
        found = self._steps.outputs(given, xp)
        return found.exact, HONEST * deviations(found)

    @np.errstate(all="ignore")
    def _outputs(
        self,
        constants: Mapping[str, Array],
        averaged: Mapping[str, Array],
        weights: Mapping[str, Array],
        shares: Floats,
    ) -> Floats:
        """The outputs alone, (images, classes)."""
        shared = {name: NUMPY.constant(value) for name, value in self.staged.shared.items()}
        mixed = {name: _mixed(shares, stack) for name, stack in averaged.items()}
        found: Floats = self._steps.outputs({**shared, **constants, **weights, **mixed}, NUMPY)
        return found


def _rounded(xp: Perturbed, values: Mapping[str, Array]) -> dict[str, Any]:
    """Values that all passes begin with, the real ones as float32 has them."""
    return {
        name: xp.rounded(unmoved(NUMPY.constant(value))) if value.dtype.kind == "f" else value
        for name, value in values.items()
    }


def _average(xp: Perturbed, shares: Floats, stack: Array) -> Any:
    """The average of the clients' values (K, …), moved by what cancels each other, too."""
    return xp.rounded(unmoved(_mixed(shares, stack)), _mixed(shares, np.abs(stack)))


def _mixed(shares: Floats, stack: Array) -> Floats:
    """The average of the clients' values (K, …), in float64 whatever they are held in."""
    mixed: Floats = (shares @ stack.reshape(len(stack), -1)).reshape(stack.shape[1:])
    return mixed
