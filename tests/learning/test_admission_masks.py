"""Which coalitions every miner looks at before it votes for a task: recomputed here as the text says."""

from collections.abc import Iterator
from hashlib import shake_256
from itertools import combinations
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fedcoin_cli.learning.reference.reference import Reference
from fedcoin_cli.learning.reference.update_admission import (
    PAIRS,
    RANDOM_MASKS,
    admission_masks,
    refused_update,
)
from ledger_store.base.names import TaskId

TASK = TaskId("5a" * 32)


class Draws:
    """Numbers of SHAKE-256 over tag, task and a counter from 1: nine bytes more than the bound has, modulo it."""

    def __init__(self, task: TaskId) -> None:
        self._material, self._count = b"fedcoin/v1/admission\0" + bytes.fromhex(task), 0

    def below(self, bound: int) -> int:
        self._count += 1
        stream = shake_256(self._material + self._count.to_bytes(8, "big"))
        return int.from_bytes(stream.digest(bound.bit_length() // 8 + 9), "big") % bound


def slow_masks(task: TaskId, clients: int) -> list[int]:
    draws, everybody = Draws(task), set(range(clients))
    groups = [{one} for one in everybody] + [everybody - {one} for one in everybody] + [everybody]
    if clients * (clients - 1) // 2 <= PAIRS:
        groups += [set(pair) for pair in combinations(range(clients), 2)]
    else:
        for _ in range(PAIRS):
            one = draws.below(clients)
            groups.append({one, (one + 1 + draws.below(clients - 1)) % clients})
    masks = [sum(1 << client for client in group) for group in groups]
    masks += [draws.below(2**clients) for _ in range(RANDOM_MASKS)]
    return [mask for place, mask in enumerate(masks) if mask and mask not in masks[:place]]


@pytest.mark.parametrize("clients", [1, 2, 3, 7, 8, 16, 23, 24, 100])
def test_the_masks_are_what_the_text_says(clients: int) -> None:
    """Alone, all but one, everybody, pairs (all up to 23 clients, 256 drawn beyond), 64 drawn; each once, in order.

    [P-6.10]
    """
    assert admission_masks(TASK, clients) == slow_masks(TASK, clients)


def judged(widths: dict[int, int], whole: int, magnitudes: list[float], swing: int = 1) -> Any:
    """What is said of a game of as many clients whose coalitions have these intervals; 0 wide where none is given."""

    def steps(masks: list[int], _factor: int, totals: Any) -> Iterator[tuple[int, int]]:
        for place, mask in enumerate(masks):
            totals[place] = 10, 10, 10 + widths.get(mask, 0)
            yield place + 1, len(masks)

    reference = SimpleNamespace(
        game=SimpleNamespace(clients=len(magnitudes)),
        scorer=SimpleNamespace(whole=whole, swing=swing),
        steps=steps,
        magnitude=magnitudes.__getitem__,
    )
    return refused_update(cast("Reference", reference), TASK)


@pytest.mark.parametrize(("images", "allowed"), [(1, 2), (2_000, 2), (3_000, 3), (10_000, 10)])
def test_an_interval_may_be_two_images_wide_or_a_thousandth(images: int, allowed: int) -> None:
    """As wide as that is admitted, one image wider is not [P-6.9]."""
    assert judged({0b11: allowed}, images, [1.0, 1.0, 1.0]) is None
    refusal = judged({0b11: allowed + 1}, images, [1.0, 1.0, 1.0])
    assert (refusal.mask, refusal.interval.width) == (0b11, allowed + 1)


@pytest.mark.parametrize(("whole", "swing", "allowed"), [(1, 7, 14), (10_000, 5, 10), (20_000, 5, 20)])
def test_by_other_metrics_it_is_what_two_images_may_move(whole: int, swing: int, allowed: int) -> None:
    """Twice what one image can move u by, or a thousandth of the whole [P-6.9]."""
    assert judged({0b11: allowed}, whole, [1.0, 1.0, 1.0], swing) is None
    assert judged({0b11: allowed + 1}, whole, [1.0, 1.0, 1.0], swing) is not None


def test_the_largest_member_is_to_blame_and_the_first_of_equals() -> None:
    """Of the coalition's members, not of all clients, the one with the largest pass; of two alike the lower number."""
    assert judged({0b011: 9}, 100, [1.0, 2.0, 5.0]).client == 1
    assert judged({0b110: 9}, 100, [9.0, 3.0, 3.0]).client == 1
    assert judged({0b101: 9}, 100, [4.0, 9.0, 3.0]).client == 0
