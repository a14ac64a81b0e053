"""The mining child: the only process of a miner that loads NumPy and, where the C kernel cannot count, TensorFlow.

Run as `python -m fedcoin_cli.learning.worker`. It reads orders and writes answers, one line each, and ends
when its input closes. While it mines it works in short slices and looks for orders between them; everything it knows of
a task (game, engine, counts) is kept until the task is forgotten.
"""

import gc
import logging
import os
import select
import time
from collections import deque
from functools import cached_property
from math import ceil, isfinite
from pathlib import Path
from typing import NoReturn

from fedcoin_cli.learning.engines.choice import counts, describe, engine_for, enumeration_for, walker_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.game.utility import Enumeration, Utility, Walker
from fedcoin_cli.learning.reference.referee import prepared, reference_for
from fedcoin_cli.learning.reference.update_admission import Inspection
from fedcoin_cli.learning.shapley.checking import Checker
from fedcoin_cli.learning.shapley.judging import Engines
from fedcoin_cli.learning.shapley.precision import Precision
from fedcoin_cli.learning.shapley.sampling import Estimator, MiningPlan, MiningProgress, MiningSession, Stakes
from fedcoin_cli.learning.shapley.table import Claim, derive
from fedcoin_cli.learning.task_game import blocks_of, load_game, refused_terms, table_terms, told
from fedcoin_cli.learning.verifications import Verifications
from fedcoin_cli.network.files.store import Store
from fedcoin_cli.protocol.message import Errors
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.jobs import Answer, Order, from_line, to_line
from ledger_store.base.errors import Malformed, RoundFilesInvalid
from ledger_store.base.names import TaskId
from ledger_store.transaction import Task

SLICE_S = 0.15
PROGRESS_S = 0.5
# While a task is mined, inspections get a smaller part of the time.
BESIDE_S = 0.03
# What an inspection may take, whoever asks: a task that pays nothing gets the least.
FREE_INSPECTION_S = 10.0
PAID_INSPECTION_S = 600.0
_FORETOLD_AFTER_S = 2.0
SAVE_S = 5.0
OWN_CHECK_S = 1.0
_READ_BYTES = 2**20

_log = logging.getLogger(__name__)  # without a handler warnings go to standard error: the miner's log


class Problem:
    """What this process knows of one task; the parts that cost time are made when they are first needed."""

    def __init__(self, task: Task, store: Store, threads: int) -> None:
        self.task = task
        self._threads = threads
        self.game = load_game(task, store.path)
        self._ready = prepared(self.game)
        self.reference = reference_for(self.game, self._ready)
        self.partition = blocks_of(task, self.game)
        self.terms = table_terms(task, self.reference.scorer, self.partition)
        engines = Engines(lambda: self.walker, lambda: self.engine)
        self.checker = Checker(self.reference, self.terms, self.partition, engines)
        self.session: MiningSession | None = None

    @cached_property
    def engine(self) -> Utility:
        """What counts coalitions on all images."""
        return engine_for(self.game, self._ready, self._threads)

    def engine_of(self, game: Game) -> Utility:
        """The same of this game, or of one with a part of its images."""
        return self.engine if game is self.game else engine_for(game, prepared(game), self._threads)

    @cached_property
    def walker(self) -> Walker:
        """What counts along rankings, block by block."""
        return walker_for(self.game, self.partition, self._ready, self._threads)

    @cached_property
    def enumeration(self) -> Enumeration | None:
        """What counts all its coalitions, where these are few enough."""
        return enumeration_for(self.game, lambda: self.engine, self._ready, self._threads)

    @property
    def stakes(self) -> Stakes:
        """What the task's values are worth."""
        return Stakes(self.task.train_micro, self.task.payment_error_micro)


class RunningInspection:
    """An inspection on its way, its time so far, reading the files included, and what it may take.

    (docs/adr/0029) [P-6.12]
    """

    def __init__(self, problem: Problem, taken_s: float) -> None:
        self.problem = problem
        self.work = Inspection(problem.reference, problem.task.id, problem.engine_of)
        task = problem.task
        self.allowed_s = FREE_INSPECTION_S
        if task.price_micro > 0:
            self.allowed_s = max(PAID_INSPECTION_S, task.runtime_ms / 10_000)
        self.taken_s, self.told_s = taken_s, 0.0
        self._begun: tuple[float, float] | None = (
            None  # after the first slice, which lays out what all others use
        )

    def advance(self, budget_s: float) -> bool:
        """Work for about so long; False when nothing is left to do.

        What other programs take of the processor is not the task's: this process' own time counts where it is less.
        """
        began = now = time.monotonic()
        own = time.process_time()
        more = True
        while more and now - began < budget_s:
            more = self.work.advance()
            now = time.monotonic()
        self.taken_s += min(now - began, time.process_time() - own)
        self._begun = self._begun or (self.taken_s, self.work.share)
        return more

    @property
    def excess(self) -> str | None:
        """Why it is given up, as soon as that can be foretold."""
        begun_s, begun = self._begun or (0.0, 0.0)
        if self.taken_s - begun_s < _FORETOLD_AFTER_S:
            return None
        rate_s = (self.taken_s - begun_s) / max(self.work.share - begun, 1e-9)
        whole_s = begun_s + rate_s * (1 - begun)
        if whole_s <= self.allowed_s:
            return None
        cost = f"would take about {min(whole_s, 1e9):.0f} s here, {self.allowed_s:.0f} s are allowed at this price"
        return f"inspecting its {self.work.total} coalitions {cost}"


class Worker:
    """The loop: orders in, answers out, slices of mining in between."""

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._rest = b""
        self._orders: deque[Order] = deque()
        self._ended = False
        self._problems: dict[str, Problem] = {}
        self._mining: tuple[jobs.Mine, MiningSession] | None = None
        self._told_s = 0.0
        self._saved_s = 0.0
        self._warm: Problem | None = None
        self._inspections: deque[RunningInspection] = deque()
        self._verifications = Verifications()

    def run(self) -> None:
        """Serve until the input closes."""
        while not self._ended or self._orders:
            at_work = bool(self._mining or self._verifications or self._inspections)
            idle = self._warm is None and not at_work
            self._read(blocking=idle and not self._orders)
            if self._orders:
                self._serve(self._orders.popleft())
            elif self._verifications:
                self._verify()
            elif self._mining:
                self._slice(*self._mining)
                self._look(BESIDE_S)
            elif self._inspections:
                self._look(SLICE_S)
            elif self._warm is not None:
                # Laying out or compiling takes a second or two: before RUNTIME starts to count.
                _ = self._warm.walker, self._warm.enumeration
                self._warm = None

    def _read(self, *, blocking: bool) -> None:
        if self._ended:
            return
        ready, _, _ = select.select([self._source], [], [], None if blocking else 0)
        if not ready:
            return
        data = os.read(self._source, _READ_BYTES)
        if not data:
            # Without its node a child has nothing to work for: drop what waits.
            self._ended, self._mining = True, None
            self._orders.clear()
            self._inspections.clear()
            self._verifications.clear()
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._orders += [order for line in lines if isinstance(order := from_line(line), Order)]

    def _answer(self, answer: Answer) -> None:
        line = to_line(answer)
        while line:
            line = line[os.write(self._target, line) :]

    def _serve(self, order: Order) -> None:
        match order:
            case jobs.Configure():
                self._configure(order)
            case jobs.Inspect():
                self._inspect(order.task)
            case jobs.Mine():
                self._begin(order)
            case jobs.VerifyTable():
                self._begin_table(order)
            case jobs.VerifyEntry():
                self._begin_entry(order)
            case jobs.Forget():
                self._forget(order.task.id)

    def _configure(self, order: jobs.Configure) -> None:
        self._store = Store(Path(order.store))
        self._config = order
        self._answer(jobs.Ready(describe(order.threads)))

    def _problem(self, task: Task) -> Problem:
        if task.id not in self._problems:
            self._problems[task.id] = Problem(task, self._store, self._config.threads)
        return self._problems[task.id]

    def _inspect(self, task: Task) -> None:
        """Read the files; what takes long is done in slices, beside whatever is more urgent."""
        began_s = time.monotonic()
        try:
            problem = self._problem(task)
            error = refused_terms(task, problem.reference)
        except RoundFilesInvalid as invalid:
            error = invalid.message
        if error is None:
            self._inspections.append(one := RunningInspection(problem, time.monotonic() - began_s))
            self._answer(jobs.Inspecting(task.id, 0, one.work.total))
        else:
            self._inspected(task, error)

    def _look(self, budget_s: float) -> None:
        """A slice of one inspection; they take turns, so that a long one keeps no other waiting."""
        if not self._inspections:
            return
        one = self._inspections.popleft()
        task = one.problem.task
        more = one.advance(budget_s)
        excess = one.excess if more else None
        if more and excess is None:
            self._inspections.append(one)
            now = time.monotonic()
            if now - one.told_s >= PROGRESS_S:
                one.told_s = now
                self._answer(jobs.Inspecting(task.id, one.work.done, one.work.total))
            return
        self._inspected(task, told(one.work.refused) or excess)

    def _inspected(self, task: Task, error: str | None) -> None:
        if error is None:
            self._warm = self._problems[task.id]
        else:
            self._forget(task.id)
        self._answer(jobs.Inspected(task.id, error))

    def _forget(self, task_id: TaskId) -> None:
        known = self._problems.pop(task_id, None)
        self._verifications.drop(task_id)
        self._inspections = deque(one for one in self._inspections if one.problem.task.id != task_id)
        for kept in self._kept(task_id):
            kept.unlink(missing_ok=True)
        if self._mining and self._mining[0].task.id == task_id:
            self._mining = None
        if self._warm is not None and self._warm.task.id == task_id:
            self._warm = None
        if known is not None:
            # Its parts know each other. The collector comes by itself when there are many objects, whatever they weigh.
            del known
            gc.collect()

    # Mining -----------------------------------------------------------------------------------------------------

    def _begin(self, order: jobs.Mine) -> None:
        problem = self._problem(order.task)
        self._verifications.drop(order.task.id, before=order.attempt)
        told_engine = counts(problem.game, self._config.threads)
        self._answer(jobs.Counting(order.task.id, order.attempt, told_engine))
        left_s = max(0.0, order.deadline_ms / 1000 - time.monotonic())
        if problem.session is None:
            chosen: Estimator = self._config.estimator  # type: ignore[assignment]  # the schema admits no other word
            plan = MiningPlan(
                seed=bytes.fromhex(order.seed),
                miner_key=bytes.fromhex(self._config.address),
                least=order.task.least_rankings,
                most=order.most_rankings,
                runtime_s=left_s,
                estimator=chosen if order.exact else "balanced",
                stakes=problem.stakes,
            )
            problem.session = MiningSession(problem.walker, problem.enumeration, problem.terms, plan)
            problem.session.restore(*self._kept(order.task.id))
        else:
            problem.session.extend(left_s)
        self._mining, self._saved_s = (order, problem.session), time.monotonic()

    def _kept(self, task_id: TaskId) -> tuple[Path, Path]:
        """Where this miner's counts survive it; named as what the store sweeps when it is a day old."""
        name = f"counts-{self._config.address[:16]}-{task_id[:16]}"
        return self._store.folder / f"{name}-walked.part", self._store.folder / f"{name}-all.part"

    def _slice(self, order: jobs.Mine, session: MiningSession) -> None:
        progress = session.advance(SLICE_S)
        now = time.monotonic()
        if progress.finished or now - self._told_s >= PROGRESS_S:
            self._told_s = now
            self._answer(_mined(order, progress))
        if now - self._saved_s >= SAVE_S:
            self._saved_s = now
            session.save(*self._kept(order.task.id))
        if progress.finished:
            self._mining = None
            self._finish(order, session)

    def _finish(self, order: jobs.Mine, session: MiningSession) -> None:
        mined = session.estimate()
        claim = session.plan.claim(mined.rankings, exact=mined.exact)
        wrong = self._problem(order.task).checker.own_errors(mined.table, claim, OWN_CHECK_S)
        if wrong:  # who commits to it is accused by all others, and loses the pay
            _log.warning("task %.12s: this machine miscounts entry %d: no commit", order.task.id, wrong[0])
            return
        estimate = mined.stored(self._store.put_bytes(mined.table))
        self._answer(jobs.Estimated(order.task.id, order.attempt, estimate))

    # Checking ---------------------------------------------------------------------------------------------------

    def _begin_table(self, order: jobs.VerifyTable) -> None:
        problem, reveal = self._problem(order.task), order.reveal
        place = (order.task.id, order.attempt, reveal.miner)
        data, claim = self._claimed(order)
        try:
            follows = derive(data, claim, problem.terms) == reveal.sums
        except Malformed:
            follows = False
        if not follows or reveal.miner == self._config.address:  # the own one was looked at before the commit
            self._answer(jobs.TableVerified(*place, follows, ()))
            return
        own = None if problem.session is None else problem.session.known()
        look = problem.checker.look(data, claim, order.budget_ms / 1000, own)
        self._verifications.add(order, look, lambda wrong: jobs.TableVerified(*place, True, wrong))

    def _begin_entry(self, order: jobs.VerifyEntry) -> None:
        place = (order.task.id, order.attempt, order.reveal.miner, order.entry)
        try:
            look = self._problem(order.task).checker.look_at(*self._claimed(order), order.entry)
        except Malformed:  # there is no such entry: nobody has claimed anything
            self._answer(jobs.EntryVerified(*place, False))
            return
        self._verifications.add(order, look, lambda wrong: jobs.EntryVerified(*place, wrong))

    def _verify(self) -> None:
        """A slice of a check."""
        answer = self._verifications.advance()
        if answer is not None:
            self._answer(answer)

    def _claimed(self, order: jobs.VerifyTable | jobs.VerifyEntry) -> tuple[bytes, Claim]:
        """A revealed table's bytes, and what they are to prove."""
        reveal = order.reveal
        claim = Claim(bytes.fromhex(order.seed), bytes.fromhex(reveal.miner), reveal.rankings, reveal.exact)
        return self._store.path(reveal.table).read_bytes(), claim


def _mined(order: jobs.Mine, progress: MiningProgress) -> jobs.Mined:
    return jobs.Mined(
        order.task.id,
        order.attempt,
        progress.rankings,
        progress.enumerated,
        progress.exact_total or 0,
        _largest_errors(progress.precision),
    )


def _largest_errors(precision: Precision | None) -> Errors | None:
    """The largest standard errors of any client; None where none are known."""
    if precision is None:
        return None
    return Errors(
        values_pp_micro=ceil(1e6 * max(precision.values_pp)),
        payments_micro=_finite(max(precision.payments_micro)),
        images_pp_micro=_finite(1e6 * max(precision.images_pp)),
        images_micro=_finite(max(precision.images_micro)),
    )


def _finite(micro: float) -> int | None:
    return ceil(micro) if isfinite(micro) else None


def main() -> NoReturn:
    """Serve standard input and output; whatever libraries print goes to standard error."""
    target = os.dup(1)
    os.dup2(2, 1)
    Worker(0, target).run()
    os._exit(0)  # everything is written; TensorFlow takes a second to take itself apart


if __name__ == "__main__":
    main()
