"""How things stand at one miner, as people and other miners are told: its phase, its progress, why it is silent."""

from fedcoin_cli.protocol.message import Phase, Silence, Standing
from fedcoin_cli.replica import jobs
from fedcoin_cli.replica.parts import Parts
from fedcoin_cli.replica.ports import Ledger, Ports
from ledger_store.transaction import Task


class SelfReport:
    """Read from the parts of a replica; nothing here decides anything."""

    def __init__(self, ledger: Ledger, ports: Ports, parts: Parts) -> None:
        # How high the chain is here.
        self._ledger = ledger
        # Who is connected.
        self._ports = ports
        # How far the attempt at work is.
        self._taskwork = parts.taskwork
        # What waits for a block.
        self._intake = parts.intake
        # Whether this miner votes yet after its start.
        self._rejoining = parts.rejoining
        # Whether its clock is behind.
        self._judge = parts.judge
        # What counts coalitions here, in words; empty while the child starts.
        self.engine = ""
        # How far the child is with a task's files.
        self.inspecting: jobs.Inspecting | None = None

    @property
    def pending(self) -> int:
        """How many transactions wait here for a block."""
        return len(self._intake.mempool)

    @property
    def pending_tasks(self) -> list[Task]:
        """Tasks that wait for a block."""
        return self._intake.mempool.tasks()

    @property
    def clock_behind_ms(self) -> int:
        """How far blocks are ahead of this clock, when that is too far to vote for them."""
        return self._judge.clock_behind_ms

    @property
    def silence(self) -> Silence | None:
        """Why this miner votes for nothing new; None: it votes."""
        if self._rejoining.silence is not None:
            return self._rejoining.silence
        return Silence.CLOCK_BEHIND if self.clock_behind_ms else None

    @property
    def phase(self) -> Phase:
        """What this miner does now."""
        if not self.engine:
            return Phase.STARTING
        if self._taskwork.machine is not None:
            return self._taskwork.machine.phase
        return Phase.FILES if self._intake.mempool.tasks() else Phase.IDLE

    def standing(self) -> Standing:
        """How things stand here."""
        machine, phase = self._taskwork.machine, self.phase
        mined = self._taskwork.progress
        current = mined is not None and machine is not None and mined.task == machine.attempt.task
        inspecting = self.inspecting if phase == Phase.FILES else None
        looked = (0, 0) if inspecting is None else (inspecting.done, inspecting.total)
        return Standing(
            height=self._ledger.tip.height,
            task=None if machine is None else machine.attempt.task,
            attempt=0 if machine is None else machine.attempt.number,
            phase=phase,
            rankings=mined.rankings if mined is not None and current else 0,
            evaluated=mined.evaluated if mined is not None and current else looked[0],
            total=mined.total if mined is not None and current else looked[1],
            remaining_ms=self._taskwork.remaining_ms if phase == Phase.MINING else 0,
            peers=self._ports.connected(),
            errors=mined.errors if mined is not None and current else None,
            silence=self.silence,
        )
