"""The suite can fail: every planted bug is caught by its recorded history, and the same history passes without it."""

import pytest
from mutation_gate import CAUGHT_BY, Way, planted
from planted import PLANTED


@pytest.mark.parametrize("way", dict.fromkeys(CAUGHT_BY.values()), ids=str)
def test_the_history_passes_on_the_right_machines(way: Way) -> None:
    """Each recorded history of crashes, delays and lies ends as the protocol promises: catching proves something."""
    assert way.run().broke == ""


@pytest.mark.parametrize("bug", PLANTED)
def test_the_planted_bug_is_caught(bug: str) -> None:
    """With this rule broken its history breaks a property [P-10.5] [P-10.21] [P-10.22]."""
    with planted(bug):
        caught = CAUGHT_BY[bug].run()
    assert caught.broke != ""


def test_every_planted_bug_has_its_catcher() -> None:
    """None is listed that nothing catches, and none is caught that is not listed."""
    assert CAUGHT_BY.keys() == PLANTED.keys()
