"""What a node answers to the machine of a height: whether a block is valid or acceptable, and what it would pack."""

from fedcoin_cli.contract.settlement import validate
from fedcoin_cli.replica.catchup import CatchUp
from fedcoin_cli.replica.intake import Intake
from fedcoin_cli.replica.mempool import fresh_block
from fedcoin_cli.replica.ports import Ledger, Ports
from fedcoin_cli.replica.taskwork import TaskWork
from ledger_store.base.canonical import encode
from ledger_store.base.errors import PeerFault
from ledger_store.base.names import BlockId
from ledger_store.block import Block
from ledger_store.genesis import Genesis
from ledger_store.transaction import Close, Result, Task, Transaction

CLOCK_SKEW_MS = 600_000
# Header and certificate of a full block, for the largest roster.
BLOCK_ROOM_BYTES = 16 * 1024


class BlockJudge:
    """The judge of blocks on the present tip."""

    def __init__(
        self,
        genesis: Genesis,
        ledger: Ledger,
        ports: Ports,
        intake: Intake,
        taskwork: TaskWork,
        catchup: CatchUp,
    ) -> None:
        # The network: bounds of blocks.
        self._genesis = genesis
        # The tip that blocks follow.
        self._ledger = ledger
        # The clocks.
        self._ports = ports
        # What comes to be packed.
        self._intake = intake
        # The close or result that is due, and the local check of others'.
        self._taskwork = taskwork
        # Whether the tip's certificate is here: a block must carry it.
        self._catchup = catchup
        # What was wrong with each block judged on this tip, None: nothing; judging takes long.
        self._validated: dict[BlockId, str | None] = {}
        # When the tip was applied: blocks keep an interval.
        self.applied_ms = ports.now_ms() - genesis.bounds.block_interval_ms
        # How far the last fresh block that was offered is ahead of this clock, when that is too far to vote for it.
        self.clock_behind_ms = 0

    @property
    def due_ms(self) -> int:
        """From when on the next block may be packed."""
        return self.applied_ms + self._genesis.bounds.block_interval_ms

    def applied(self) -> None:
        """The tip has moved on."""
        self.applied_ms = self._ports.now_ms()
        self._validated.clear()

    def fault(self, block: Block) -> str | None:
        """Deterministic check, remembered by id: parent state and block bytes decide. What is wrong; None: nothing."""
        if block.id not in self._validated:
            try:
                validate(self._ledger.tip, block)
                self._validated[block.id] = None
            except PeerFault as error:
                self._validated[block.id] = error.message
        return self._validated[block.id]

    def valid(self, block: Block) -> bool:
        """Whether nothing is wrong with it."""
        return self.fault(block) is None

    def acceptable(self, block: Block) -> bool:
        """Local check of a fresh block: its time, its tasks' files, its close or result [P-10.12]."""
        ahead_ms = block.header.time_ms - self._ports.wall_ms()
        if ahead_ms > CLOCK_SKEW_MS:
            self.clock_behind_ms = ahead_ms
            return False
        self.clock_behind_ms = 0
        return all(self._accepts(transaction) for transaction in block.transactions)

    def pack(self, view: int) -> Block | None:
        """A fresh block: pending transactions, then the close or result that is due.

        In odd views tasks and results are left out if there is anything else, so that one that the others cannot
        accept yet does not hold up the rest. [P-10.25]
        """
        now = self._ports.now_ms()
        if now < self.due_ms or self._catchup.uncertified:
            return None
        state, even = self._ledger.tip.state, view % 2 == 0
        due = self._taskwork.due()
        certain = due is not None and (even or isinstance(due, Close))
        room = self._genesis.bounds.block_bytes - BLOCK_ROOM_BYTES
        if certain and due is not None:
            room -= len(encode(due.to_json()))
        packed: list[Transaction] = []
        if len(self._intake.mempool):
            packed += self._intake.mempool.pack(state, now, tasks=even, room_bytes=room)
            if not packed and due is None and not even:
                packed += self._intake.mempool.pack(state, now, tasks=True, room_bytes=room)
        if due is not None and (certain or not packed):
            packed.append(due)
        if not packed:
            return None
        return fresh_block(state, self._ledger.tip.certificate, view, packed, self._ports.wall_ms())

    # Rule [P-10.13].
    def _accepts(self, transaction: Transaction) -> bool:
        match transaction:
            case Task():
                return self._intake.inspections.has_checked(transaction.id)
            case Close() | Result():
                return self._taskwork.accepts(transaction)
        return True
