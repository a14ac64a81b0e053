"""An account's session with the miners: reach a quorum, catch up, and bring a transaction into a final block.

Nothing that a miner says is believed: a transaction is final when a block says so whose certificate and
settlement were checked here. What cannot be admitted is refused before it is sent.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from fedcoin_cli.application.books.books import certified_tip
from fedcoin_cli.application.requester.chain_view import ChainView
from fedcoin_cli.application.requester.keeping import Copy
from fedcoin_cli.application.requester.line import Line
from fedcoin_cli.application.requester.submission import Submission
from fedcoin_cli.application.requester.trial import check_admissible
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.advice import start_hint
from fedcoin_cli.application.workspace.peers import listening
from fedcoin_cli.application.workspace.silence import LASTING, remedy, said
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.protocol.message import Message, Receipt, Silence, TransactionNote
from ledger_store.base import disk
from ledger_store.base.errors import (
    ConsensusFailure,
    FedCoinError,
    Locked,
    NetworkFailure,
    RoundFilesInvalid,
    StorageFailure,
)
from ledger_store.base.names import Address
from ledger_store.identity.keys import KeyPair
from ledger_store.state import State
from ledger_store.transaction import Cancel, Task, Transfer, sign

TURN_MS = 100
LOOK_AGAIN_S = 2.0
LOCK_AGAIN_S = 0.05

Sendable = Transfer | Task | Cancel
Make = Callable[[int], Sendable]
"""The unsigned transaction with a given sequence number."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds.

    `reach_s`: for a quorum at the start; `silence_s`: while fewer are heard; `refusal_s`: for a refusal to pass;
    `final_s`: for a final block; `files_s`: the same for a task, whose files are sent and checked.
    """

    reach_s: float = 5.0
    silence_s: float = 60.0
    refusal_s: float = 15.0
    final_s: float = 120.0
    files_s: float = 900.0


@contextmanager
def adding(words: str, transaction: str) -> Iterator[None]:
    """Say of an error what became of a transaction that was sent before: nobody is to send it twice for that.

    A refused round is left alone: its task is final nowhere.
    """
    try:
        yield
    except RoundFilesInvalid:
        raise
    except FedCoinError as error:
        where = f"{transaction} ({error.where})" if error.where not in {"", transaction} else transaction
        hint = f"look first: fedcoin show {transaction[:16]}, where there is no miner after fedcoin sync"
        raise type(error)(error.message + words, where=where, hint=hint) from error


class Session:
    """The connections of one account to the miners of a workspace's network, and its verified view of the chain."""

    def __init__(self, workspace: Workspace, key: KeyPair, patience: Patience) -> None:
        self.genesis = workspace.genesis()
        self.peers = listening(workspace.peers_file, self.genesis.roster)
        self._copy = Copy.of(workspace, self.genesis)
        self.view = ChainView(certified_tip(workspace), self._copy.keep)
        self.line = Line(key, self.peers)
        self._key, self._patience = key, patience
        self._names = Names.of(workspace)
        self._where, self._start_hint = str(workspace.peers_file), start_hint(workspace)
        self._submission: Submission | None = None
        self._lock_file = workspace.keys / f".{key.address[:16]}.lock"
        self.on_its_way: str | None = None
        self._connected = False
        # Who has refused this key: a link that tries again has not heard so yet.
        self._denied: set[Address] = set()
        self._voted_s = 0.0

    @property
    def state(self) -> State:
        """The state after the last block that was verified here."""
        return self.view.state

    @property
    def copy_problem(self) -> str | None:
        """Why the workspace's copy of the ledger could not be brought up to date."""
        return None if self._copy.problem is None else self._copy.problem.message

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other command of this workspace sends for this account meanwhile: each sees what the last one did.

        Raises `Locked` after as long as one may take. Where nothing can be written it goes on without: transfers are
        told apart by their nonces.
        """
        lock, until_s = None, time.monotonic() + self._patience.files_s
        while lock is None:
            try:
                lock = disk.lock(self._lock_file)
            except StorageFailure:
                break
            except Locked as error:
                if time.monotonic() >= until_s:
                    hint = "wait for it, or stop it"
                    message = "another command sends for this account"
                    raise Locked(message, where=str(self._lock_file), hint=hint) from error
                time.sleep(LOCK_AGAIN_S)
        try:
            yield
        finally:
            if lock is not None:
                os.close(lock)

    def close(self) -> None:
        """Close the connections and the copy of the ledger."""
        self.line.close()
        self._copy.close()

    def connect(self) -> None:
        """Reach a quorum of miners and catch up with what they say now; raises `NetworkFailure`."""
        self._connected = False  # a session that was idle for long has heard nobody lately
        self.view.forget_claims()
        self.line.ask_now()
        within_s = self._patience.reach_s
        until_s = time.monotonic() + within_s
        while not (self._reachable(within_s) and self.view.caught_up):
            if time.monotonic() >= until_s and not self._reachable(within_s):
                raise self._unreachable(within_s)
            self.turn()
        self._connected = True

    def _hear_voters(self) -> None:
        """A moment for those that vote to be heard beside those that do not; raises `ConsensusFailure`."""
        until_s = time.monotonic() + self._patience.reach_s
        while not self._enough_vote:
            if time.monotonic() >= until_s:
                raise self._silent()
            self.turn()

    def ready(self, make: Make) -> None:
        """Connect, catch up, and check what `make` gives for the next number, and that blocks can become final.

        A reason against it that needs no miner goes before "no miners".
        """
        try:
            self.connect()
        except NetworkFailure:
            self._signed(make)
            raise
        self._signed(make)
        self._hear_voters()

    def submit(
        self,
        make: Make,
        meanwhile: Callable[[], None] = lambda: None,
        enough: Callable[[], bool] = lambda: False,
    ) -> str:
        """Send what `make` gives for the account's next number until it is final; returns its id.

        When another transaction of the account took the number, it is made again with the next. `meanwhile` is
        called at every turn. Ends early once a quorum holds the transaction and it is `enough`.
        """
        while True:
            transaction = self._signed(make)
            self._submission = Submission(transaction, self.genesis.roster, self.genesis.quorum)
            self.on_its_way = transaction.id
            with adding("; it was sent and may still become final", transaction.id):
                used = self._deliver(self._submission, meanwhile, enough)
            self._submission = self.on_its_way = None
            if transaction.id in self.view.placed or not used:
                return transaction.id

    def turn(self) -> None:
        """Hear the miners once; raises `NetworkFailure` when a quorum has been silent for too long."""
        for miner, message in self.line.turn(TURN_MS):
            self.view.take(miner, message)
            self._take_receipt(miner, message)
        now_s = time.monotonic()
        self._denied |= set(self.line.denied)
        if (asked := self.view.fetch(now_s)) is not None:
            self.line.send(*asked)
        if self._submission is not None:
            note = TransactionNote(self._submission.transaction)
            for miner in self._submission.due(now_s):
                self.line.send(miner, note)
        if self._connected and not self._reachable(self._patience.silence_s):
            raise self._unreachable(self._patience.silence_s)
        if not self._connected or self._enough_vote:
            self._voted_s = now_s
        elif now_s - self._voted_s > self._patience.refusal_s:
            raise self._silent()

    def _take_receipt(self, miner: Address, message: Message) -> None:
        submission = self._submission
        if submission is None or not isinstance(message, Receipt):
            return
        if message.transaction == submission.transaction.id:
            submission.receipt(miner, message.error)

    @property
    def _last_number(self) -> int:
        """The account's last sequence number in a final block."""
        return self.state.sequences.get(self._key.address, 0)

    def _signed(self, make: Make) -> Sendable:
        transaction = sign(make(self._last_number + 1), self._key, self.genesis.id)
        check_admissible(self.state, transaction)
        return transaction

    def _deliver(
        self, submission: Submission, meanwhile: Callable[[], None], enough: Callable[[], bool]
    ) -> bool:
        """Until the transaction's number is used (True), or a quorum took it and it is enough."""
        start_s = time.monotonic()
        while self._last_number < submission.transaction.sequence:
            self.turn()
            meanwhile()
            if submission.taken and enough():
                return False
            self._judge(submission, time.monotonic() - start_s)
        return True

    def _judge(self, submission: Submission, waited_s: float) -> None:
        """Raise when this will not become final, or not soon."""
        is_task, name = isinstance(submission.transaction, Task), submission.transaction.id
        files_reason = submission.files_refusal if is_task else None
        reason = (
            submission.refusal or submission.files_refusal if waited_s > self._patience.refusal_s else None
        )
        if (files_reason or reason) and self._is_placed_after_all(submission):
            return
        if files_reason is not None:
            hint = "fedcoin train makes another"
            raise RoundFilesInvalid(f"the miners refuse the round: {files_reason}", hint=hint)
        if reason is not None:
            hint = "another transaction of this account may be pending; try again, or see fedcoin status"
            raise ConsensusFailure(f"the miners refuse it: {reason}", hint=hint)
        if waited_s > (self._patience.files_s if is_task else self._patience.final_s):
            raise ConsensusFailure(f"not final after {waited_s:.0f} s", where=name)

    def _is_placed_after_all(self, submission: Submission) -> bool:
        """Miners also refuse what stands in a block already, and may say so before the block is here: look again."""
        until_s = time.monotonic() + LOOK_AGAIN_S
        while time.monotonic() < until_s and self._last_number < submission.transaction.sequence:
            self.turn()
        return self._last_number >= submission.transaction.sequence

    def _reachable(self, within_s: float) -> bool:
        return len(self.line.heard(within_s)) >= self.genesis.quorum

    @property
    def _silences(self) -> dict[Address, Silence]:
        """The miners that answer and do not vote, as far as that does not pass by itself."""
        found = ((miner, standing.silence) for miner, standing in self.line.standings().items())
        return {miner: silence for miner, silence in found if silence in LASTING}

    @property
    def _voting(self) -> int:
        """How many were heard lately and do not say that they do not vote."""
        return len(set(self.line.heard(self._patience.silence_s)) - self._silences.keys())

    @property
    def _enough_vote(self) -> bool:
        """False only where a miner says that it does not vote: who is silent in all is judged by `_reachable`."""
        return not self._silences or self._voting >= self.genesis.quorum

    def _silent(self) -> ConsensusFailure:
        told = {self._names.name(miner): silence for miner, silence in self._silences.items()}
        reasons = "; ".join(f"{name} {said(silence)}" for name, silence in told.items())
        hint = "; ".join(dict.fromkeys(remedy(silence) for name, silence in told.items()))
        message = f"{self._voting} miners vote, {self.genesis.quorum} are needed: {reasons}"
        return ConsensusFailure(message, hint=hint)

    def _unreachable(self, within_s: float) -> NetworkFailure:
        heard = set(self.line.heard(within_s))
        denied = len(self._denied - heard)
        hint = self._start_hint
        if denied:
            hint = f"{denied} miners do not admit this key: an account needs at least 1 FedCoin; --key names another"
        message = (
            f"{len(heard)} of {len(self.genesis.roster)} miners reachable, {self.genesis.quorum} are needed"
        )
        return NetworkFailure(message, where=self._where, hint=hint)
