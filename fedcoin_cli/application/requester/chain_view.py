"""A requester's own verified view of the chain: it grows by final blocks that any one miner sends.

Certificates and settlements are checked here in full, so it does not matter who sent a block. Pure: messages in,
messages out; no socket, no clock of its own.
"""

from collections.abc import Callable, Mapping

from fedcoin_cli.contract.settlement import validate
from fedcoin_cli.protocol.message import Fetch, FinalBlock, Message, Standing, Status
from ledger_store.base.errors import BadSignature, LedgerInvalid, PeerFault
from ledger_store.base.names import Address, TaskId
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate
from ledger_store.bookkeeping.history import ended_by
from ledger_store.chain import Tip
from ledger_store.state import State, TaskRecord
from ledger_store.transaction import Close, Result, Signed

ANSWER_S = 1.0


class ChainView:
    """The chain from `tip` on. `placed` maps signed transactions to heights, `ends` tasks to what ended them.

    Of tasks that ended before nothing is known here.

    `keep` is told every block that was verified, with its certificate.
    """

    def __init__(self, tip: Tip, keep: Callable[[Block, Certificate], None] = lambda _, __: None) -> None:
        self.tip = tip
        self._keep = keep
        self.placed: dict[str, int] = {}
        self.ends: dict[str, Close | Result] = {}
        self._ended: dict[TaskId, TaskRecord] = {}
        self._claims: dict[Address, int] = {}
        self._asked: str | None = None
        self._asked_s = 0.0
        self._turns: list[str] = []

    @property
    def state(self) -> State:
        """The state after the last verified block."""
        return self.tip.state

    @property
    def caught_up(self) -> bool:
        """Whether the view reaches a height that at least one honest miner claims."""
        claims = sorted(self._claims.values(), reverse=True)
        faults = self.tip.genesis.faults
        return len(claims) > faults and self.tip.height >= claims[faults]

    @property
    def records(self) -> Mapping[TaskId, TaskRecord]:
        """The unfinished tasks, and those that ended in a block that was seen here."""
        return {**self._ended, **self.state.tasks}

    def forget_claims(self) -> None:
        """What the miners said of their heights is old: `caught_up` waits for what they say from now on."""
        self._claims.clear()

    def take(self, miner: Address, message: Message) -> None:
        """A message of a miner; raises `LedgerInvalid` when a certified block does not fit what is here."""
        match message:
            case Standing(height=height):
                self._claims[miner] = height
            case Status(height=height):
                self._claims[miner] = height
                if miner == self._asked:
                    self._asked = None  # a status ends the answer to a fetch
            case FinalBlock():
                self._extend(message)
            case _:
                pass

    def fetch(self, now_s: float) -> tuple[Address, Fetch] | None:
        """Whom to ask for what now: one miner at a time, the next one when the last was no help."""
        if self._asked is not None and now_s - self._asked_s < ANSWER_S:
            return None
        ahead = [miner for miner, height in self._claims.items() if height > self.tip.height]
        if not ahead:
            return None
        miner = min(ahead, key=lambda one: self._turns.index(one) if one in self._turns else -1)
        self._turns = [*(one for one in self._turns if one != miner), miner]
        self._asked, self._asked_s = miner, now_s
        return miner, Fetch(self.tip.height + 1)

    def _extend(self, final: FinalBlock) -> None:
        block, certificate = final.block, final.certificate
        if block.height != self.tip.height + 1:
            return
        try:
            certificate.check(self.tip.genesis, VoteKind.FINAL, block.height, block.id)
        except BadSignature:
            return
        try:
            after = validate(self.tip, block)
        except PeerFault as error:
            hint = "this ledger and the miners' differ: keep both, and compare them with fedcoin audit"
            message = f"block {block.height} is final and does not fit: {error.message}"
            raise LedgerInvalid(message, where=f"height {block.height}", hint=hint) from error
        self.tip = Tip(after, certificate)
        self._keep(block, certificate)
        self._note(block)

    def _note(self, block: Block) -> None:
        for transaction in block.transactions:
            if isinstance(transaction, Signed):
                self.placed[transaction.id] = block.height
            elif ended_by(transaction) is not None:
                self.ends[transaction.task] = transaction
        self._ended.update((record.task.id, record) for record in self.state.ended)
