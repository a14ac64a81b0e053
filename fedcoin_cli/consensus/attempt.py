"""One attempt of one task as values: what the chain fixes of it, what a miner keeps of it, what its machine orders."""

from dataclasses import dataclass
from enum import StrEnum

from fedcoin_cli.consensus.council import timeout_ms
from fedcoin_cli.consensus.rankings import on_grid, table_entries
from fedcoin_cli.protocol.message import CommitNote, FraudNote, RevealNote
from ledger_store.base.names import Address, MinerIndex, TaskId
from ledger_store.base.words import TaskState
from ledger_store.transaction import Reveal

FREEZE_LEAST_MS = 10_000
REVEAL_LEAST_MS = 20_000
CHECK_LEAST_MS = 5_000


class Stage(StrEnum):
    """What a clock that ran out has frozen, or given up."""

    COMMITS = "commits"
    REVEALS = "reveals"
    ABANDONED = "abandoned"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the chain fixes: task, a, who may commit (roster order), K, B, RUNTIME, Δ, whether values may be exact."""

    task: TaskId
    """Id of the task."""
    number: int
    """a, from 1."""
    roster: tuple[Address, ...]
    """The miners' addresses in their order."""
    refused: frozenset[Address]
    """Who may not commit: frauds of this task, and who withheld in an earlier one."""
    clients: int
    """K."""
    blocks: int
    """B, the blocks of images."""
    runtime_ms: int
    """RUNTIME in milliseconds."""
    least_rankings: int
    """The fewest rankings of an estimate."""
    most_rankings: int
    """The most, by the task's words and by what a table may weigh."""
    delta_ms: int
    """The network's message delay in milliseconds."""
    exact: bool = True
    """Whether a table of all coalitions can be carried in time."""

    def admits(self, reveal: Reveal) -> bool:
        """K sums, and t on the grid between least and most; an exact estimate claims the most [P-7.10]."""
        if len(reveal.sums) != self.clients or not on_grid(reveal.rankings):
            return False
        if reveal.exact:
            return self.exact and reveal.rankings == self.most_rankings
        return self.least_rankings <= reveal.rankings <= self.most_rankings

    def entries(self, reveal: Reveal) -> int:
        """How many counts the table of this reveal holds."""
        return table_entries(self.clients, self.blocks, None if reveal.exact else reveal.rankings)

    def index(self, miner: Address) -> MinerIndex:
        """The place of a miner on the roster: whose key its signatures are of."""
        return MinerIndex(self.roster.index(miner))

    @property
    def expected(self) -> frozenset[Address]:
        """The miners whose commits count."""
        return frozenset(self.roster) - self.refused

    @property
    def freeze_ms(self) -> int:
        """Commits freeze at RUNTIME + G; this costs nothing when all commit [P-8.5]."""
        return self.runtime_ms + max(FREEZE_LEAST_MS, 3 * self.delta_ms + self.runtime_ms // 50)

    @property
    def check_budget_ms(self) -> int:
        """How long the checks of tables may take in all [P-8.5]."""
        return max(CHECK_LEAST_MS, self.runtime_ms // 10)

    @property
    def reveal_ms(self) -> int:
        """Reveals freeze this long after CLOSED [P-8.5]."""
        return max(REVEAL_LEAST_MS, 6 * self.delta_ms + 2 * self.check_budget_ms)

    @property
    def abandon_ms(self) -> int:
        """The veto of omissions ends this long after CLOSED: no liar may bring that about.

        That is twice the reveal freeze, and twice as long as f liars that lead in a row can hold up a height: once
        where a result is due, and once more where view f is odd and something else was packed there.
        (docs/adr/0025) [P-8.5]
        """
        faults = (len(self.roster) - 1) // 3
        return 2 * (self.reveal_ms + sum(timeout_ms(self.delta_ms, view) for view in range(faults + 1)))

    @property
    def give_up_ms(self) -> int:
        """Then leaders propose that the attempt failed, whatever they hold [P-8.5]."""
        return 2 * self.abandon_ms


@dataclass(frozen=True, slots=True)
class Opening:
    """Own estimate with its salt: persisted before the COMMIT."""

    task: TaskId
    """Id of the task."""
    attempt: int
    """Which attempt it is of."""
    reveal: Reveal
    """What the commit's digest stands for: lost, the commit could not be opened."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """What was held when a clock ran out; `stage` is commits or reveals, abandoned or given up (then of nobody)."""

    task: TaskId
    """Id of the task."""
    attempt: int
    """Which attempt it is of."""
    stage: Stage
    """Which clock ran out: commits, reveals, abandoned or given up."""
    miners: tuple[Address, ...]
    """Whose commits or reveals were held then, ascending by address."""


@dataclass(frozen=True, slots=True)
class Started:
    """When a stage (open or closed) began by this node's wall clock, for a restart in the middle."""

    task: TaskId
    """Id of the task."""
    attempt: int
    """Which attempt it is of."""
    stage: TaskState
    """OPEN or CLOSED."""
    wall_ms: int
    """When it began by this node's time of day: monotonic time does not outlive a process."""


@dataclass(frozen=True, slots=True)
class Abstained:
    """This miner may have committed in this attempt and does not know to what: it observes until the next.

    (docs/adr/0006, docs/adr/0016)
    """

    task: TaskId
    """Id of the task."""
    attempt: int
    """In which attempt this miner says nothing."""


Record = Opening | Frozen | Started | Abstained | CommitNote | RevealNote


@dataclass(frozen=True, slots=True)
class Persist:
    """Make durable before anything that follows."""

    record: Record


@dataclass(frozen=True, slots=True)
class Send:
    """To all other miners."""

    message: CommitNote | RevealNote | FraudNote


@dataclass(frozen=True, slots=True)
class CheckTable:
    """Fetch the reveal's table, derive its sums, recompute counts; answer with `checked`."""

    reveal: Reveal


@dataclass(frozen=True, slots=True)
class CheckEntry:
    """Recompute one entry of a held table against [lo, hi] of ε; answer with `entry_checked`."""

    reveal: Reveal
    entry: int


Effect = Persist | Send | CheckTable | CheckEntry
