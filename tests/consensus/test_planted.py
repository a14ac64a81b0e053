"""The suite can fail: every planted bug is caught by a directed trace or by few simulated histories."""

from collections.abc import Callable

import pytest
import simulator
import traces
from planted import PLANTED
from simulated.signatures import stub_signatures

# Which history catches which bug: a trace, or how many seeds from 0 on suffice.
CAUGHT_BY: dict[str, Callable[[], None] | int] = {
    "final_after_own_skip": traces.no_final_after_skip,
    "small_quorum": 24,
    "log_ignored": 8,
    "own_votes_not_counted_again": traces.own_votes_count_after_a_restart,
    "justification_unchecked": traces.an_unjustified_block_gets_nowhere,
    "sent_before_persisted": 4,
    "notarisation_not_persisted": traces.a_notarisation_survives_the_fall_of_those_who_rest_on_it,
    "proposal_rebuilt": traces.a_proposal_is_said_once,
    "no_veto": 48,
    "veto_on_repeats": traces.a_repeated_block_needs_no_second_look,
    "reveal_before_the_close": 4,
    "frozen_set_not_persisted": 96,
    "frozen_items_not_persisted": traces.commits_outlive_their_miner_and_all_memory,
    "opening_not_persisted": 16,
    "commit_not_persisted": 4,
    "counted_unchecked": 24,
}
TRACES = [way for way in CAUGHT_BY.values() if not isinstance(way, int)]


def run_trace(trace: Callable[[], None]) -> None:
    with stub_signatures(trace is traces.commits_outlive_their_miner_and_all_memory):
        trace()


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.__name__)
def test_the_trace_passes_on_the_right_machines(trace: Callable[[], None]) -> None:
    """A directed history of crashes, delays and lies ends as the protocol promises."""
    run_trace(trace)


@pytest.mark.parametrize("bug", PLANTED)
def test_the_planted_bug_is_caught(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With this rule broken the trace fails, or one of so many seeds breaks a property."""
    PLANTED[bug](monkeypatch)
    way = CAUGHT_BY[bug]
    if isinstance(way, int):
        assert any(simulator.run(seed).problems for seed in range(way)), f"{way} seeds did not catch it"
    else:
        with pytest.raises(AssertionError):
            run_trace(way)


def test_every_planted_bug_has_its_catcher() -> None:
    """None is listed that nothing catches."""
    assert CAUGHT_BY.keys() == PLANTED.keys()
