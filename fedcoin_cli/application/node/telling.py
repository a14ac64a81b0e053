"""What a miner tells people of itself and of others in its log: once each, or once in a while."""

from fedcoin_cli.application.node.events import EventLog
from fedcoin_cli.application.workspace.silence import remedy
from fedcoin_cli.protocol.message import Silence
from fedcoin_cli.replica import jobs
from ledger_store.base.errors import Malformed
from ledger_store.base.names import Address
from ledger_store.file.chain_file import ChainReader

DISK_LOW_TOLD_MS = CLOCK_TOLD_MS = MALFORMED_TOLD_MS = 60_000
MALFORMED_SENDERS = 1_000


class Telling:
    """The words for a miner's log, and when they were last said: nobody may fill this disk with lines."""

    def __init__(self, events: EventLog, ledger: ChainReader, now_ms: int) -> None:
        # The log that people read.
        self._events = events
        # How high the chain is, for some of the lines.
        self._ledger = ledger
        # Whether people were told that votes are lost: once is enough.
        self._told_lost = False
        # When malformed frames of each sender were last told.
        self._malformed_told: dict[str, int] = {}
        # When people were last told that the disk is low.
        self._disk_low_told_ms = now_ms - DISK_LOW_TOLD_MS
        # When people were last told that the clock is behind.
        self._clock_told_ms = now_ms - CLOCK_TOLD_MS

    def votes(self, silence: Silence | None) -> None:
        """At its start or later, when the others tell: this miner cannot vote; and that it votes again."""
        lost = silence is Silence.VOTES_LOST
        if lost != self._told_lost:
            self._told_lost = lost
            if lost:
                self._events.write("votes lost", hint=remedy(Silence.VOTES_LOST))
            else:
                self._events.write("votes again", height=self._ledger.height)

    def clock(self, behind_ms: int, now_ms: int) -> None:
        """Once in a while: why this miner votes for nothing new."""
        minutes = behind_ms // 60_000
        if minutes and now_ms - self._clock_told_ms >= CLOCK_TOLD_MS:
            self._clock_told_ms = now_ms
            hint = f"blocks are {minutes} minutes ahead of this clock: no new one gets this miner's vote; "
            hint += remedy(Silence.CLOCK_BEHIND)
            self._events.write("clock behind", minutes=minutes, hint=hint)

    def malformed(self, sender: Address, error: Malformed, now_ms: int) -> None:
        """Once in a while a sender: a peer must not fill this disk with lines about it."""
        if now_ms - self._malformed_told.get(sender, now_ms - MALFORMED_TOLD_MS) >= MALFORMED_TOLD_MS:
            if len(self._malformed_told) >= MALFORMED_SENDERS:
                self._malformed_told.clear()
            self._malformed_told[sender] = now_ms
            self._events.write("malformed", peer=sender, reason=error.message)

    def disk_low(self, now_ms: int) -> None:
        """Once in a while: there is no room for another task."""
        if now_ms - self._disk_low_told_ms >= DISK_LOW_TOLD_MS:
            self._disk_low_told_ms = now_ms
            self._events.write("disk low", hint="free some space: no new task is accepted here")

    def child_died(self) -> None:
        """The mining child is no more."""
        self._events.write(
            "worker died",
            hint="what it printed tells why: miners/N/node.out, or the journal; it is started again",
        )

    def answer(self, answer: jobs.Answer) -> None:
        """What the mining child says."""
        match answer:
            case jobs.Ready():
                self._events.write("ready", engine=answer.engine, height=self._ledger.height)
            case jobs.Counting():
                self._events.write("counting", task=answer.task, attempt=answer.attempt, engine=answer.engine)
            case jobs.Mined():
                self._events.write(
                    "mined",
                    task=answer.task,
                    attempt=answer.attempt,
                    rankings=answer.rankings,
                    evaluated=answer.evaluated,
                    total=answer.total,
                    errors=None if answer.errors is None else answer.errors.to_json(),
                )
            case jobs.Estimated():
                self._events.write(
                    "estimated",
                    task=answer.task,
                    attempt=answer.attempt,
                    rankings=answer.estimate.rankings,
                    exact=answer.estimate.exact,
                )
            case jobs.Inspecting():
                self._events.write("inspecting", task=answer.task, done=answer.done, total=answer.total)
            case jobs.Inspected():
                self._events.write("inspected", task=answer.task, error=answer.error)
            case jobs.TableVerified():
                self._events.write(
                    "checked",
                    task=answer.task,
                    miner=answer.miner,
                    follows=answer.follows,
                    wrong=[str(mask) for mask in answer.wrong],
                )
