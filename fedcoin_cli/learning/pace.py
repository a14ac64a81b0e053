"""How much is done in one go: as much as a slice takes by the speed at which the last was done.

Numbers that suit a quick model are minutes of a slow one's time, and whoever is within them hears nobody.
"""

from typing import Final

SLICE_S: Final = 0.1
"""About how long nothing interrupts: whoever computes looks for other work in between."""
_GROWTH: Final = 4


class Pace:
    """How many things of one kind the next slice takes, from `least` to `most`; at first `least`.

    So many as `least` cost no less alone, as where a call counts several.
    """

    def __init__(self, most: int, least: int = 1) -> None:
        self._most, self._least = most, max(1, min(least, most))
        self.size = self._least

    def took(self, number: int, seconds: float) -> None:
        """So many things took so long; the next slice holds at most four times as many as the last."""
        fitting = int(number * SLICE_S / max(seconds, 1e-6))
        self.size = max(self._least, min(fitting, _GROWTH * self.size, self._most))
