"""A council of finality machines for traces: who hears what and when is said line by line.

Real keys and signatures; what is persisted is kept as the vote log's bytes, and `restart` gives a machine back nothing
else. `say` lets messages out, `hear` lets them in: nothing is delivered unless a trace says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from chains import ChainMaker

from fedcoin_cli.consensus.council import Council
from fedcoin_cli.consensus.simplex import Decide, Effect, Persist, Simplex
from fedcoin_cli.protocol.message import Certified, Proposal, Vote
from fedcoin_cli.replica.ports import RosterSigner
from fedcoin_cli.replica.records import Record, from_bytes, to_bytes
from ledger_store.base.names import BlockId, MinerIndex
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate

Said = Proposal | Vote | Certified
DELTA_MS = 500


@dataclass
class Judge:
    """The node's side: what may be packed, what is invalid for all, what is not acceptable here."""

    maker: ChainMaker
    index: int
    parent: BlockId
    packs: bool = True
    invalid: set[str] = field(default_factory=set)
    refuses: bool = False
    packed: int = 0
    asked: list[BlockId] = field(default_factory=list)

    def valid(self, block: Block) -> bool:
        return block.id not in self.invalid

    def acceptable(self, block: Block) -> bool:
        self.asked.append(block.id)
        return not self.refuses

    def pack(self, view: int) -> Block | None:
        """Another block each time: what was packed before must come from the log."""
        if not self.packs:
            return None
        self.packed += 1
        amount = 10_000 + 100 * self.index + self.packed
        transfer = self.maker.transfer(self.maker.requester, self.maker.server.address, amount, sequence=1)
        return self.maker.propose(transfer, view=view)


class Member:
    """One machine, its disk, and what it said."""

    def __init__(self, council: "Assembly", index: int, parent: BlockId | None) -> None:
        self.council = council
        self.index = index
        self.judge = Judge(council.maker, index, council.maker.genesis.id if parent is None else parent)
        self.disk: list[bytes] = []
        self.said: list[Said] = []
        self.final: tuple[Block, Certificate] | None = None
        self.machine = self._machine()

    def _machine(self) -> Simplex:
        maker = self.council.maker
        rules = Council(
            len(maker.miners), MinerIndex(self.index), DELTA_MS, maker.genesis.quorum, maker.genesis.faults
        )
        signer = RosterSigner(maker.miners[self.index], maker.genesis)
        return Simplex(rules, 1, signer, self.judge, self.council.now_ms)

    def restart(self) -> None:
        """Only what was persisted is left."""
        self.machine = self._machine()
        records = [from_bytes(data) for data in self.disk]
        self.machine.restore([record for record in records if isinstance(record, Said)], self.council.now_ms)

    def carry_out(self, effects: Iterable[Effect]) -> list[Said]:
        """Do what the machine says; returns what was sent."""
        sent: list[Said] = []
        for effect in effects:
            if isinstance(effect, Persist):
                record: Record = effect.record
                self.disk.append(to_bytes(record))
            elif isinstance(effect, Decide):
                self.final = effect.block, effect.certificate
            else:
                sent.append(effect.message)
        self.said += sent
        return sent

    def arm(self) -> list[Said]:
        """There is something to decide."""
        return self.carry_out(self.machine.arm(self.council.now_ms))

    def tick(self) -> list[Said]:
        """Time has passed."""
        return self.carry_out(self.machine.tick(self.council.now_ms))

    def hear(self, *messages: Said) -> list[Said]:
        """Messages arrive, in this order."""
        return [
            said
            for message in messages
            for said in self.carry_out(self.machine.receive(message, self.council.now_ms))
        ]

    def repeat(self) -> list[Said]:
        """What it says at a standstill."""
        return self.carry_out(self.machine.standstill())

    def kinds(self) -> list[tuple[str, int]]:
        """Kind and view of everything said so far."""
        return [(said.kind, view_of(said)) for said in self.said]


class Assembly:
    """R machines that decide height 1; the leader of view v is roster index (1 + v) mod R.

    `parent`: the id of the block before, where a trace has an attacker choose it.
    """

    def __init__(self, miners: int, parent: BlockId | None = None) -> None:
        self.maker = ChainMaker(miners)
        self.now_ms = 1_000_000
        self.members = [Member(self, index, parent) for index in range(miners)]

    def leader(self, view: int) -> Member:
        return self.members[(1 + view) % len(self.members)]

    def pass_time(self, milliseconds: int) -> list[Said]:
        """Everybody's clock goes on; returns what is said."""
        self.now_ms += milliseconds
        return [said for member in self.members for said in member.tick()]

    def converse(self, among: Iterable[Member], messages: Iterable[Said]) -> int:
        """Deliver messages, and what they cause, to all of `among` until nobody has more to say; counts messages."""
        hearers, waiting, count = list(among), list(messages), 0
        while waiting:
            message = waiting.pop(0)
            count += 1
            for member in hearers:
                waiting += member.hear(message)
        return count

    def go_on(self, among: Iterable[Member], milliseconds: int) -> None:
        """Half a second at a time: clocks, standstills, and everything that is said reaches all of `among`."""
        hearers = list(among)
        for _ in range(milliseconds // 500):
            self.now_ms += 500
            said = [message for member in hearers for message in [*member.tick(), *member.repeat()]]
            self.converse(hearers, said)

    def vote(self, kind: str, voter: int, view: int, block: BlockId | None) -> Vote:
        """A signed vote, whatever the voter's machine thinks."""
        signature = self.signer(voter).sign(kind, {"block": block, "height": 1, "view": view})
        return Vote(VoteKind(kind), MinerIndex(voter), 1, view, block, signature)

    def certificate(self, kind: str, view: int, block: BlockId | None, voters: Iterable[int]) -> Certificate:
        """The certificate of these voters, however many they are."""
        votes = [self.vote(kind, voter, view, block) for voter in voters]
        return Certificate(view, tuple((vote.voter, vote.signature) for vote in votes))

    def skips(self, *views: int) -> tuple[Certificate, ...]:
        """Skip certificates by the first q miners."""
        return tuple(self.certificate("skip", view, None, range(self.maker.genesis.quorum)) for view in views)

    def proposal(
        self,
        view: int,
        block: Block,
        justified: int = -1,
        notarisation: Certificate | None = None,
        skips: tuple[Certificate, ...] = (),
        proposer: int | None = None,
    ) -> Proposal:
        """A signed proposal, justified or not."""
        index = (1 + view) % len(self.members) if proposer is None else proposer
        unsigned = Proposal(MinerIndex(index), view, block, justified, notarisation, skips, "")
        signature = self.signer(index).sign("proposal", unsigned.terms())
        return Proposal(MinerIndex(index), view, block, justified, notarisation, skips, signature)

    def block(self, view: int = 0, note: int = 1) -> Block:
        """A block whose header names `view`; `note` makes it differ from others."""
        transfer = self.maker.transfer(self.maker.requester, self.maker.server.address, 10_000 + note, 1)
        return self.maker.propose(transfer, view=view)

    def signer(self, index: int) -> RosterSigner:
        return RosterSigner(self.maker.miners[index], self.maker.genesis)


def view_of(message: Said) -> int:
    """The view that a message is about."""
    return message.certificate.view if isinstance(message, Certified) else message.view


def armed(miners: int) -> Assembly:
    """An assembly in which everybody knows of something to decide; the proposal of view 0 waits in `said`."""
    council = Assembly(miners)
    for member in council.members:
        member.arm()
    return council
