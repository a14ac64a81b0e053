"""How sure a task's values and payments are, as people and programs read it.

Two errors, told apart because different things make them smaller: mining's shrinks with more work, the test set's only
with more images. Where the numbers come from is in `tables`.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Certainty:
    """Standard errors, one a client: of values in percentage points, of payments in coins (None: unknown).

    `mining` and `mining_paid` are empty where only the test set's are known, `test_set` and `test_set_paid` where one
    block of images cannot tell them. `alike` are pairs of clients (numbers
    from 1), neighbours by value, that cannot be told apart; `images` is the size of the test set.
    """

    images: int
    rankings: int
    mining: tuple[str, ...]
    mining_paid: tuple[str | None, ...]
    test_set: tuple[str, ...]
    test_set_paid: tuple[str | None, ...]
    alike: tuple[tuple[int, int], ...]

    def near(self, client: int) -> tuple[int, ...]:
        """The clients from which client number `client`, from 1, cannot be told apart."""
        pairs = [pair for pair in self.alike if client in pair]
        return tuple(sorted({one for pair in pairs for one in pair} - {client}))

    def to_json(self) -> dict[str, Any]:
        """Lists stand in client order; decimals are texts."""
        return {
            "test_images": self.images,
            "mining_error": list(self.mining) or None,
            "mining_error_paid": list(self.mining_paid) or None,
            "test_set_error": list(self.test_set) or None,
            "test_set_error_paid": list(self.test_set_paid) or None,
            "not_told_apart": [list(pair) for pair in self.alike],
        }
