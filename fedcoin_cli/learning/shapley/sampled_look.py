"""What a check looks at in a sampled table: ends of blocks, then secret draws, until the time is over.

Rankings are walked whole, as many together as a slice takes: so a miner's walker counts quickest. Where one takes
longer than a slice, and the walker counts a coalition as well alone, single counts are drawn instead: so many counts
see more rankings then.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from fedcoin_cli.learning.coalitions.walks import Counts, members, orders_at
from fedcoin_cli.learning.game.utility import Apart, Walker
from fedcoin_cli.learning.pace import SLICE_S, Pace
from fedcoin_cli.learning.shapley.draws import CountDraws, RankingDraws
from fedcoin_cli.learning.shapley.judging import Judging, Suspect
from fedcoin_cli.learning.shapley.looking import Budget, Steps
from fedcoin_cli.learning.shapley.table import Claim, Table

_DRAWN_AT_ONCE: Final = 512


@dataclass(frozen=True, slots=True)
class SampledLook:
    """One look at a table of a claim, by counts of the own `walker`; at most `most` rankings are drawn."""

    table: Table
    claim: Claim
    judging: Judging
    budget: Budget
    random: np.random.Generator
    clock: Callable[[], float]
    most: int

    def steps(self, walker: Walker) -> Steps[tuple[int, ...]]:
        """The wrong entries among those that were looked at.

        However slow this machine is, all ends and one draw are looked at, and of what it counts otherwise the first is
        judged: whoever lies gains nothing by it. [P-8.14]
        """
        ends, claims = np.concatenate(walker.ends()), np.concatenate(self.table.ends)
        wrong = yield from self.judging.wrong(_differing(range(len(ends)), claims, ends), surely=True)
        if wrong:
            return wrong
        if isinstance(walker, Apart):
            found = yield from self._single_counts(walker)
            if found is not None:
                return found
        return (yield from self._rankings(walker))

    def _rankings(self, walker: Walker) -> Steps[tuple[int, ...]]:
        blocks, rankings, steps = self.table.walked.shape
        draws, pace = RankingDraws(blocks, rankings, self.random), Pace(_DRAWN_AT_ONCE, walker.together)
        while draws.left and draws.drawn < self.most and not (draws.drawn and self.budget.over):
            some, indices = draws.take(pace.size)
            began = self.clock()
            own = walker.walk(some, self._orders(np.array(some), indices))
            pace.took(indices.size, self.clock() - began)
            yield
            claimed = self.table.walked[np.array(some)[:, None], indices]
            starts = 2 * blocks + (np.array(some)[:, None] * rankings + indices) * steps
            entries = starts[:, :, None] + np.arange(steps)
            suspects = _differing(entries.ravel().tolist(), claimed.ravel(), own.ravel())
            wrong = yield from self.judging.wrong(suspects, surely=True)
            if wrong:
                return wrong
        return ()

    def _single_counts(self, walker: Apart) -> Steps[tuple[int, ...] | None]:
        """The same count by count; None as soon as a whole ranking takes no longer than a slice."""
        blocks, rankings, steps = self.table.walked.shape
        draws, calls, drawn = (
            CountDraws(blocks, rankings * steps, self.random),
            -(-steps // walker.coalitions),
            0,
        )
        while draws.left and drawn < self.most * steps and not (drawn and self.budget.over):
            block, numbers = draws.take(walker.coalitions)
            indices, places = np.divmod(np.array(numbers), steps)
            joined = members(self._orders(np.array([block]), indices[None]))[
                0, np.arange(len(numbers)), places
            ]
            began = self.clock()
            own = walker.count(block, joined)
            taken_s = self.clock() - began
            drawn += len(numbers)
            yield
            first = 2 * blocks + block * rankings * steps
            claimed = self.table.walked[block, indices, places]
            suspects = _differing([first + number for number in numbers], claimed, own)
            wrong = yield from self.judging.wrong(suspects, surely=True)
            if wrong:
                return wrong
            if calls * taken_s <= SLICE_S:
                return None
        return ()

    def _orders(self, blocks: Counts, indices: Counts) -> np.ndarray:
        clients = self.table.walked.shape[2] + 1
        return orders_at(self.claim.seed, self.claim.miner_key, blocks, indices, clients)


def _differing(entries: Iterable[int], claimed: np.ndarray, own: np.ndarray) -> list[Suspect]:
    """Entries that were counted otherwise, each once, the furthest off first: small differences hide no large lie."""
    found = {
        entry: Suspect(entry, said, abs(said - counted))
        for entry, said, counted in zip(entries, claimed.tolist(), own.tolist(), strict=True)
        if said != counted
    }
    return sorted(found.values(), key=lambda one: -one.off)
