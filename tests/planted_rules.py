"""More bugs to be caught: rules of the ledger, its reader, one attempt and who checks tables, left out one at a time.

Each is caught by a short history of `rule_traces`. A refusal is left out by its words; when they change, the history
goes through and says so.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedcoin_cli.application.requester.chain_view import ChainView
from fedcoin_cli.consensus import attempt, rankings
from fedcoin_cli.consensus.accusations import Accusations
from fedcoin_cli.consensus.posap import Posap
from fedcoin_cli.learning.reference.reference import RAISE_FACTOR
from fedcoin_cli.learning.shapley import exact_look
from fedcoin_cli.learning.shapley.judging import CountJudge
from fedcoin_cli.protocol.message import FraudNote, TransactionNote
from ledger_store.base.fields import Fields
from ledger_store.base.names import Address
from ledger_store.base.words import TaskState
from ledger_store.block import Certificate
from ledger_store.state import Transition
from ledger_store.task_record import TaskRecord
from ledger_store.transaction import Close, Result

Patch = Callable[[pytest.MonkeyPatch], None]


def attempt_taken_for_the_end(patch: pytest.MonkeyPatch) -> None:
    """A requester's view takes an attempt that failed for the task's end."""
    right = ChainView.take

    def wrong(view: ChainView, miner: Address, message: Any) -> None:
        right(view, miner, message)
        for transaction in () if isinstance(message, TransactionNote) else _transactions(message):
            if isinstance(transaction, Close | Result):
                view.ends[transaction.task] = transaction

    patch.setattr(ChainView, "take", wrong)


def _transactions(message: Any) -> tuple[Any, ...]:
    block = getattr(message, "block", None)
    return getattr(block, "transactions", ())


def certificates_unread(patch: pytest.MonkeyPatch) -> None:
    """Whatever certificate comes with a block proves it."""
    patch.setattr(Certificate, "check", lambda *_: None)


def one_claim_believed(patch: pytest.MonkeyPatch) -> None:
    """A view waits for the greatest height that anybody claims."""
    patch.setattr(
        ChainView,
        "caught_up",
        property(lambda view: view.tip.height >= max(view._claims.values(), default=0)),
    )


def negative_amounts_read(patch: pytest.MonkeyPatch) -> None:
    """An amount in a payment may be below zero."""
    one, many = Fields.integer, Fields.integers

    def integer(reader: Fields, key: str, least: int = 0, most: int = 2**53 - 1) -> int:
        return one(reader, key, -most if least == 0 else least, most)

    def integers(reader: Fields, key: str, count: int, most: int = 2**53 - 1) -> tuple[int, ...]:
        values = reader.raw(key)
        below = [value for value in values if type(value) is int and -most <= value < 0]
        return tuple(values) if len(values) == count and below else many(reader, key, count, most)

    patch.setattr(Fields, "integer", integer)
    patch.setattr(Fields, "integers", integers)


def strangers_paid(patch: pytest.MonkeyPatch) -> None:
    """SapPrice goes to whoever a result names."""
    _without(patch, "a payment to nobody on the roster")


def unsealed_reveals(patch: pytest.MonkeyPatch) -> None:
    """A reveal in a result need not open a commit."""
    _without(patch, "a reveal that opens no commit")


def more_paid_than_escrowed(patch: pytest.MonkeyPatch) -> None:
    """Payments need not come to the price, and nobody adds up what there was before."""
    _without(patch, "payments that are not the price")
    patch.setattr("ledger_store.state.Transition.close_block", _unadded("ledger_store.state"))


def _unadded(module: str) -> Callable[[Any], Any]:
    """The right method without its assertions."""
    source = sys.modules[module]
    text = source.__loader__.get_source(module)  # type: ignore[union-attr]  # a module that was read from a file
    kept = "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("assert "))
    names = dict(vars(source))
    exec(compile(kept, module, "exec"), names)  # noqa: S102  (our own source)
    method: Callable[[Any], Any] = names["Transition"].close_block
    return method


def withholding_forgotten(patch: pytest.MonkeyPatch) -> None:
    """When a task ends nobody remembers who withheld a reveal."""
    patch.setattr(Transition, "_bar", lambda *_: None)


def earlier_frauds_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A result's frauds take the place of those of earlier attempts."""
    right = Transition._attempt

    def wrong(transition: Transition, task: Any, attempt: int, state: TaskState) -> TaskRecord:
        record = right(transition, task, attempt, state)
        return replace(record, frauds=frozenset()) if state == TaskState.CLOSED else record

    patch.setattr(Transition, "_attempt", wrong)


def rankings_swapped(patch: pytest.MonkeyPatch) -> None:
    """The first two rankings of each square change places."""
    right = rankings.place_of

    def wrong(index: int, clients: int) -> tuple[int, int]:
        number, row = right(index, clients)
        return number, {0: 1, 1: 0}.get(row, row)

    patch.setattr(rankings, "place_of", wrong)


def any_number_of_rankings(patch: pytest.MonkeyPatch) -> None:
    """t need not be on the grid."""
    patch.setattr(attempt, "on_grid", lambda _: True)


def commits_after_the_close(patch: pytest.MonkeyPatch) -> None:
    """A commit counts whenever it comes."""
    right = Posap._on_commit

    def wrong(machine: Any, note: Any) -> list[Any]:
        closed, machine.reveals.closed = machine.reveals.closed, None
        effects = right(machine, note)
        machine.reveals.closed = closed
        return effects

    patch.setattr(Posap, "_on_commit", wrong)


def frauds_unchecked(patch: pytest.MonkeyPatch) -> None:
    """An accusation of a table that is not here is believed."""
    right = Accusations.hear

    def wrong(accusations: Any, note: FraudNote) -> list[Any]:
        effects, reveals = right(accusations, note), accusations._reveals
        if note.miner not in reveals.held and note.miner in reveals.opened:
            effects += accusations.accept(note, note.miner, note.entry)
        return effects

    patch.setattr(Accusations, "hear", wrong)


def nothing_said_again(patch: pytest.MonkeyPatch) -> None:
    """At a standstill nothing of an attempt is sent again."""
    patch.setattr(Posap, "standstill", lambda _: [])


def result_before_the_check(patch: pytest.MonkeyPatch) -> None:
    """A result is packed although an accusation in it is still being looked at."""
    right = Posap.due_result

    def wrong(machine: Any) -> Any:
        asked, machine.accusations._asked = machine.accusations._asked, {}
        due = right(machine)
        machine.accusations._asked = asked
        return due

    patch.setattr(Posap, "due_result", wrong)


def liars_heard_again(patch: pytest.MonkeyPatch) -> None:
    """Who accused falsely may accuse again."""
    right = Posap.entry_checked

    def wrong(machine: Any, *answer: Any) -> Any:
        effects = right(machine, *answer)
        machine.accusations._muted.clear()
        return effects

    patch.setattr(Posap, "entry_checked", wrong)


def exact_with_fewer_rankings(patch: pytest.MonkeyPatch) -> None:
    """An exact estimate may claim any t."""
    right = attempt.Attempt.admits

    def wrong(one: attempt.Attempt, reveal: Any) -> bool:
        return right(one, replace(reveal, exact=False))

    patch.setattr(attempt.Attempt, "admits", wrong)


def co_singletons_unchecked(patch: pytest.MonkeyPatch) -> None:
    """Of an exact table all but one client's absence is sure to be looked at."""
    right = exact_look.heavy_masks
    patch.setattr(exact_look, "heavy_masks", lambda clients: right(clients)[: clients + 1])


def frauds_only_beyond_twice_the_bound(patch: pytest.MonkeyPatch) -> None:
    """A count is judged false where it would be accused, and not from ε on."""
    right = CountJudge.steps
    patch.setattr(CountJudge, "steps", lambda judge, places, _: right(judge, places, RAISE_FACTOR))


def _without(patch: pytest.MonkeyPatch, words: str) -> None:
    """Nothing is refused for this reason."""
    for name, module in list(sys.modules.items()):
        right = getattr(module, "refuse", None)
        if name.startswith("ledger_store") and callable(right):
            patch.setattr(module, "refuse", _deaf(right, words))


def _deaf(right: Callable[[bool, str], None], words: str) -> Callable[[bool, str], None]:
    def wrong(condition: bool, message: str) -> None:
        right(condition and message != words, message)

    return wrong


PLANTED_RULES: dict[str, Patch] = {
    patch.__name__: patch
    for patch in (
        attempt_taken_for_the_end,
        certificates_unread,
        one_claim_believed,
        negative_amounts_read,
        strangers_paid,
        unsealed_reveals,
        more_paid_than_escrowed,
        withholding_forgotten,
        earlier_frauds_forgotten,
        rankings_swapped,
        any_number_of_rankings,
        commits_after_the_close,
        frauds_unchecked,
        nothing_said_again,
        result_before_the_check,
        liars_heard_again,
        exact_with_fewer_rankings,
        co_singletons_unchecked,
        frauds_only_beyond_twice_the_bound,
    )
}
