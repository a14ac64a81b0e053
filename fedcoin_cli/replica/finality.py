"""The way of blocks at one miner: heard of, judged, decided, applied; then the next height begins.

A decided height's `Simplex` is replaced by the next one. Effects are carried out in the order in which the machines
gave them, and what is to persist is durable before anything that follows is sent.
"""

from collections.abc import Callable, Iterable

from fedcoin_cli.consensus import simplex
from fedcoin_cli.consensus.council import Council, Signer
from fedcoin_cli.consensus.simplex import Simplex
from fedcoin_cli.protocol.message import Certified, FinalBlock, Proposal, Status, Vote
from fedcoin_cli.replica.durable import durably
from fedcoin_cli.replica.early import EarlyMessages
from fedcoin_cli.replica.parts import Parts
from fedcoin_cli.replica.ports import Ledger, Log, Ports
from ledger_store.base.errors import BadSignature, LedgerInvalid
from ledger_store.base.names import Address
from ledger_store.base.words import VoteKind
from ledger_store.block import Block, Certificate
from ledger_store.genesis import Genesis


class Finality:
    """The machine of the height at work, and everything that a final block sets in motion."""

    def __init__(
        self,
        council: Council,
        genesis: Genesis,
        signer: Signer,
        ledger: Ledger,
        log: Log,
        ports: Ports,
        parts: Parts,
        status: Callable[[], Status],
    ) -> None:
        # Who decides a height.
        self._council = council
        # The network.
        self._genesis = genesis
        # Signs with this miner's key.
        self._signer = signer
        # The certified chain, which only `_apply` grows.
        self._ledger = ledger
        # The vote log: what is said is in it before.
        self._log = log
        # The other miners, and the clock.
        self._ports = ports
        # What is judged of blocks, and what is packed.
        self._judge = parts.judge
        # What waits for a block: it hears of proposals and of final blocks.
        self._intake = parts.intake
        # The attempt at work: it follows the chain.
        self._taskwork = parts.taskwork
        # Final blocks asked for and served.
        self._catchup = parts.catchup
        # What this miner said before it fell.
        self._rejoining = parts.rejoining
        # The own status, which follows each block.
        self._status = status
        # Messages of the next height.
        self._early = EarlyMessages()
        # The machine of the height at work, a new one for each.
        self.simplex = self._next_height()

    # Rule [P-11.21].
    def hear(self, sender: Address, message: Proposal | Vote | Certified) -> None:
        """A word about some height: of this one for its machine, of the next for later, of others a reason to fetch."""
        height = self.simplex.height
        if message.height < height:
            # What is said of the last height when it is just decided was on its way: the rest of it comes, too.
            fresh = self._ports.now_ms() < self._judge.applied_ms + self._genesis.delta_ms
            if message.height < height - 1 or not fresh:
                self._catchup.serve(sender, message.height, self._status())
        elif message.height > height:
            if message.height == height + 1:
                self._early.keep(sender, message)
            self._catchup.heard(sender, message.height - 1)
        else:
            if isinstance(message, Proposal) and self.simplex.proposals.is_led(message):
                self._intake.learn(message.block, sender)
            self.run(self.simplex.receive(message, self._ports.now_ms()))

    # Rule [P-11.22].
    def take(self, final: FinalBlock) -> None:
        """A block that is final elsewhere, or the tip's certificate."""
        tip, block = self._ledger.tip, final.block
        following = block.height == tip.height + 1
        if not following and not (block.id == tip.state.head and tip.certificate is None):
            return
        try:
            final.certificate.check(self._genesis, VoteKind.FINAL, block.height, block.id)
        except BadSignature:
            return
        if not following:
            self._ledger.certify(final.certificate)
        elif self._judge.valid(block):
            self._apply(block, final.certificate)

    # Blocks -----------------------------------------------------------------------------------------------------

    def run(self, effects: Iterable[simplex.Effect]) -> None:
        """Carry out what a height's machine orders."""
        for effect in durably(effects, self._log):
            if isinstance(effect, simplex.Send):
                self._ports.broadcast(effect.message)
            elif isinstance(effect, simplex.Decide):
                self._apply(effect.block, effect.certificate)

    def _apply(self, block: Block, certificate: Certificate) -> None:
        """A final block: log, ledger, then everything that follows from it [P-13.10]."""
        if not self._judge.valid(block):
            hint = "more than f miners lie; keep this ledger and compare it with the others'"
            fault = self._judge.fault(block)
            raise LedgerInvalid(f"block {block.height} is final and invalid: {fault}", hint=hint)
        if self.simplex.disturbed or block.header.view or certificate.view:
            final = Certified(VoteKind.FINAL, block.height, block.id, certificate, None)
            self._ports.keep_evidence(block.height, [*self.simplex.ballots.evidence(), final])
        current = self._ledger.tip.state.current
        self._log.decide(block, certificate, None if current is None else current.task.id)
        self._ledger.append(block, certificate)
        self._judge.applied()
        self._intake.applied(block)
        self.simplex = self._next_height()
        self._taskwork.follow(self._rejoining.said)
        self._ports.applied(block)
        self._ports.broadcast(self._status())
        following = self._rejoining.decided_at(block.height + 1)
        if following is not None:
            self._apply(*following)  # perhaps nobody else knows that it is final
        self.end_recovery_if_due()
        for sender, message in self._early.take():
            self.hear(sender, message)

    def _next_height(self) -> Simplex:
        height, now = self._ledger.tip.height + 1, self._ports.now_ms()
        machine = Simplex(self._council, height, self._signer, self._judge, now)
        machine.voting = not self._rejoining.is_waiting
        machine.restore(self._rejoining.said_at(height), now)
        return machine

    def end_recovery_if_due(self) -> None:
        """Vote from now on, if enough is known of what this miner said."""
        forgotten_to = self._rejoining.ended(self.simplex.height, self._ports.now_ms())
        if forgotten_to is not None:
            self.simplex.voting = True
            self._taskwork.may_sign(forgotten_to)
