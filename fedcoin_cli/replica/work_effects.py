"""What the machine of an attempt orders, carried out: made durable, said to the others, given to the mining child."""

from collections.abc import Iterable
from dataclasses import dataclass

from fedcoin_cli.consensus.attempt import CheckEntry, CheckTable, Effect, Send
from fedcoin_cli.consensus.posap import Posap
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.durable import durably
from fedcoin_cli.replica.lacking import Lacking
from fedcoin_cli.replica.ports import Log, Orders, Ports
from ledger_store.base.names import TaskId
from ledger_store.transaction import Reveal, Task


@dataclass(slots=True)
class Work:
    """The attempt at work: what the chain fixes of it, the machine that lives it, and whether its close is final."""

    task: Task
    attempt: int
    seed: str
    machine: Posap
    closed: bool = False

    @property
    def place(self) -> tuple[TaskId, int]:
        """What every word about this attempt names."""
        return self.task.id, self.attempt


class WorkEffects:
    """Effects of one miner's task work, in their order."""

    def __init__(self, miners: int, log: Log, ports: Ports, orders: Orders, lacking: Lacking) -> None:
        # R: how many tables may come.
        self._miners = miners
        # Openings, commits and frozen sets are in it before anything follows.
        self._log = log
        # The other miners.
        self._ports = ports
        # What the child is to check, each once its files are here.
        self._orders = orders
        # Revealed tables that must be fetched first.
        self._lacking = lacking

    def carry_out(self, work: Work, effects: Iterable[Effect]) -> None:
        """Carry out effects in order; what is to persist is durable, all or none, before what follows."""
        for effect in durably(effects, self._log):
            match effect:
                case Send():
                    self._ports.broadcast(effect.message)
                case CheckTable():
                    self._check_table(work, effect.reveal)
                case CheckEntry():
                    self._check_entry(work, effect)

    # Rule [P-8.17].
    def _check_table(self, work: Work, reveal: Reveal) -> None:
        # All tables share what checks may take: the reveal freeze waits no longer for many than for one.
        budget_ms = work.machine.attempt.check_budget_ms // max(1, self._miners - 1)
        order = jobs.VerifyTable(work.task, work.attempt, work.seed, reveal, budget_ms)
        self._orders.give(("table", work.task.id, str(work.attempt), reveal.miner), order)
        self._lacking.want_table(work.task, reveal)

    def _check_entry(self, work: Work, effect: CheckEntry) -> None:
        key = ("entry", work.task.id, str(work.attempt), effect.reveal.miner, str(effect.entry))
        order = jobs.VerifyEntry(work.task, work.attempt, work.seed, effect.reveal, effect.entry)
        self._orders.give(key, order)
