"""Short histories of single rules: what the ledger, its reader and one attempt refuse, and what they wait for."""

from collections.abc import Callable
from inspect import getmembers, isfunction

import pytest
import rule_traces

HISTORIES = [
    history
    for name, history in getmembers(rule_traces, isfunction)
    if history.__module__ == rule_traces.__name__ and not name.startswith("_")
]


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.__name__)
def test_the_rule_holds(history: Callable[[], None]) -> None:
    """The history ends as the protocol promises; with the rule left out it does not, which `test_planted` shows.

    [P-8.24]
    """
    history()
