"""The mutation gate: which recorded history catches which planted bug, and the proof that it passes without the bug.

A history is a directed trace (`traces`, `rule_traces`), a quiet round of two miners with a fall at one step of miner 0,
or a round of four with one liar among them. `python tests/mutation_gate.py` prints the table.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import rule_traces
import simulator
import traces
from planted import PLANTED
from simulated.signatures import stub_signatures
from simulated.world import Faults, World

# A quiet round of two miners that settles soon.
QUIET_SEED = 6


@dataclass(frozen=True, slots=True)
class Caught:
    """How a history ended: what it broke, if anything, and how long it was."""

    broke: str
    length: str


@dataclass(frozen=True, slots=True)
class Trace:
    """A directed history, said line by line."""

    live: Callable[[], None]

    def __str__(self) -> str:
        return f"trace {self.live.__name__}"

    def run(self) -> Caught:
        with stub_signatures(self.live in traces.IN_THE_WORLD):
            try:
                self.live()
            except AssertionError as error:
                return Caught(str(error).splitlines()[0] if str(error) else "an assertion", "directed")
        return Caught("", "directed")


@dataclass(frozen=True, slots=True)
class Fall:
    """A quiet round of two miners; miner 0 falls at this step, a persist or a send."""

    step: int

    def __str__(self) -> str:
        return f"R = 2, miner 0 falls at step {self.step}"

    def run(self) -> Caught:
        def live(world: World) -> None:
            world.planned = {0: self.step}
            simulator.calm(world)

        return _told(simulator.run(QUIET_SEED, miners=2, faults=Faults(), real=False, live=live))


@dataclass(frozen=True, slots=True)
class Liar:
    """A round of four in which nothing fails and one of them lies like this."""

    behaviour: str
    seed: int

    def __str__(self) -> str:
        return f"R = 4, one liar: {self.behaviour} (seed {self.seed})"

    def run(self) -> Caught:
        faults = Faults(behaviours=(self.behaviour,))
        return _told(simulator.run(self.seed, miners=4, faults=faults, real=False, live=simulator.calm))


Way = Trace | Fall | Liar


def _told(report: simulator.Report) -> Caught:
    broke = report.problems[0] if report.problems else ""
    return Caught(broke, f"{sum(report.steps)} steps, R = {report.miners}")


CAUGHT_BY: dict[str, Way] = {
    "final_after_own_skip": Trace(traces.no_final_after_skip),
    "small_quorum": Trace(traces.nobody_decides_alone),
    "log_ignored": Fall(10),
    "own_votes_not_counted_again": Trace(traces.own_votes_count_after_a_restart),
    "justification_unchecked": Trace(traces.an_unjustified_block_gets_nowhere),
    "sent_before_persisted": Fall(1),
    "notarisation_not_persisted": Trace(traces.a_notarisation_survives_the_fall_of_those_who_rest_on_it),
    "bare_notarisation_not_persisted": Trace(traces.a_notarisation_without_its_block_survives_a_fall),
    "proposal_rebuilt": Trace(traces.a_proposal_is_said_once),
    "no_veto": Liar("censor", 0),
    "veto_on_repeats": Trace(traces.a_repeated_block_needs_no_second_look),
    "reveal_before_the_close": Fall(1),
    "frozen_set_not_persisted": Trace(traces.a_frozen_set_outlives_its_miner_and_its_clock),
    "frozen_items_not_persisted": Trace(traces.commits_outlive_their_miner_and_all_memory),
    "opening_not_persisted": Fall(39),
    "commit_not_persisted": Fall(1),
    "counted_unchecked": Liar("wrong sums", 0),
    "no_abandon_clock": Trace(traces.tables_that_nobody_gets_end_the_attempt),
    "abandoned_at_once": Liar("censor", 0),
    "never_given_up": Trace(traces.tables_that_nobody_gets_end_the_attempt),
    "leader_from_a_block_id": Trace(traces.a_ground_parent_gives_nobody_the_next_views),
    "attempt_taken_for_the_end": Trace(rule_traces.a_failed_attempt_ends_nothing),
    "certificates_unread": Trace(rule_traces.a_block_of_too_few_is_no_block),
    "one_claim_believed": Trace(rule_traces.a_single_claim_keeps_nobody_waiting),
    "negative_amounts_read": Trace(rule_traces.no_payment_is_negative),
    "strangers_paid": Trace(rule_traces.sap_price_stays_on_the_roster),
    "unsealed_reveals": Trace(rule_traces.what_was_sealed_is_what_opens),
    "more_paid_than_escrowed": Trace(rule_traces.no_coin_is_made),
    "withholding_forgotten": Trace(rule_traces.who_withholds_sits_out_the_next_task),
    "earlier_frauds_forgotten": Trace(rule_traces.a_fraud_is_out_until_the_tasks_end),
    "rankings_swapped": Trace(rule_traces.rankings_are_the_protocols),
    "any_number_of_rankings": Trace(rule_traces.t_is_on_the_grid),
    "commits_after_the_close": Trace(rule_traces.after_the_close_no_commit_counts),
    "frauds_unchecked": Trace(rule_traces.an_accusation_waits_for_its_table),
    "nothing_said_again": Trace(rule_traces.what_was_lost_is_said_again),
    "result_before_the_check": Trace(rule_traces.a_result_waits_for_every_look),
    "liars_heard_again": Trace(rule_traces.a_false_accuser_is_heard_once),
    "exact_with_fewer_rankings": Trace(rule_traces.exact_means_the_most),
    "co_singletons_unchecked": Trace(rule_traces.what_weighs_most_is_always_looked_at),
    "frauds_only_beyond_twice_the_bound": Trace(rule_traces.a_count_beyond_the_bound_is_false),
}


@contextmanager
def planted(bug: str) -> Iterator[None]:
    """The machines with this bug."""
    with pytest.MonkeyPatch.context() as patch:
        PLANTED[bug](patch)
        yield


def main() -> int:
    """The table; 1 when a bug goes through, or a history fails without its bug."""
    failed, found = False, 0
    sys.stdout.write(
        "| planted bug | caught by | length | what broke | without the bug |\n|---|---|---|---|---|\n"
    )
    for bug, way in CAUGHT_BY.items():
        right = way.run()
        with planted(bug):
            caught = way.run()
        verdict = "passes" if not right.broke else f"**fails: {right.broke}**"
        broke = caught.broke or "**nothing: it goes through**"
        sys.stdout.write(f"| {bug.replace('_', ' ')} | {way} | {caught.length} | {broke} | {verdict} |\n")
        failed = failed or bool(right.broke) or not caught.broke
        found += bool(caught.broke)
    sys.stdout.write(f"\n{found} of {len(PLANTED)} planted bugs caught\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
