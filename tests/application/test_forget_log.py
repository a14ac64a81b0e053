from collections import Counter
from functools import partial
from itertools import product

from simulated.disks import MemoryLog
from simulated.nodes import Node
from simulated.signatures import stub_signatures
from simulated.world import Faults, World

from fedcoin_cli.application.repair.forget_log import plan
from fedcoin_cli.consensus.amnesia import Forgotten, VoteTerms, recollect
from fedcoin_cli.protocol.message import Message, Remind, Reminder
from fedcoin_cli.replica.records import to_bytes
from ledger_store.base.names import BlockId
from ledger_store.base.words import VoteKind

X, Y = BlockId("a" * 64), BlockId("b" * 64)
SEEDS = 16
NONCE = "0f" * 16


# What follows from what others say ----------------------------------------------------------------------------------


def test_views_that_others_let_pass_are_let_pass() -> None:
    """Three miners, q = 3: where both others skipped, SKIP is said anew, and the silence ends with the next view."""
    others: list[list[VoteTerms]] = [
        [(VoteKind.SKIP, 0, None), (VoteKind.NOTAR, 0, X)],
        [(VoteKind.SKIP, 0, None)],
    ]
    assert recollect(3, others, []) == ([(VoteKind.SKIP, 0, None)], 1)


def test_a_block_that_may_have_been_made_final_is_notarised_and_not_skipped() -> None:
    """Both others chose X in view 0: a FINAL for it may be out, so NOTAR of X is said and nothing else."""
    others: list[list[VoteTerms]] = [
        [(VoteKind.NOTAR, 0, X), (VoteKind.SKIP, 0, None)],
        [(VoteKind.NOTAR, 0, X)],
    ]
    assert recollect(3, others, []) == ([(VoteKind.NOTAR, 0, X)], 1)
    assert recollect(3, others, [(VoteKind.NOTAR, 0, X)]) == ([], 1)


def test_votes_that_others_hold_rule_out_what_they_exclude() -> None:
    """Own SKIP, or own NOTAR of another block: no FINAL for X can be out."""
    others = [[(VoteKind.NOTAR, 0, X)], [(VoteKind.NOTAR, 0, X)]]
    assert recollect(3, others, [(VoteKind.SKIP, 0, None)]) == ([], 1)
    assert recollect(3, others, [(VoteKind.NOTAR, 0, Y)]) == ([(VoteKind.SKIP, 0, None)], 1)


def test_where_nothing_was_said_only_view_0_is_uncertain() -> None:
    """An idle height: nothing is said anew, so that nothing wakes it."""
    assert recollect(2, [[]], []) == ([], 0)
    assert recollect(3, [[(VoteKind.SKIP, 0, None)], []], []) == ([], 0)


def test_no_two_votes_given_anew_exclude_each_other() -> None:
    """Whatever two others and held votes say of two views: SKIP is never given beside a possible or known FINAL.

    [P-10.31]
    """
    kinds = [(VoteKind.SKIP, None), (VoteKind.NOTAR, X), (VoteKind.NOTAR, Y), (VoteKind.FINAL, X)]
    for first, second, own in product([(), *((kind,) for kind in kinds), (kinds[0], kinds[1])], repeat=3):
        others = [[(kind, 0, block) for kind, block in votes] for votes in (first, second)]
        held = [(kind, 0, block) for kind, block in own]
        anew, _ = recollect(3, others, held)
        said = {(kind, block) for kind, _, block in (*anew, *held)}
        possible = (
            (VoteKind.NOTAR, X) in first
            and (VoteKind.NOTAR, X) in second
            and not {(VoteKind.SKIP, None), (VoteKind.NOTAR, Y)} & {*own}
        )
        if possible or (VoteKind.FINAL, X) in own:
            assert (VoteKind.SKIP, 0, None) not in anew, (first, second, own)
        assert not {(VoteKind.NOTAR, X), (VoteKind.NOTAR, Y)} <= said, (first, second, own)


def test_silence_covers_all_heights_where_something_may_have_been_said() -> None:
    """Lower heights wholly, the height itself up to the view, view 0 of the next, nothing after that."""
    silence = Forgotten(7, 3)
    assert silence.silent_to(6) > 1_000
    assert [silence.silent_to(height) for height in (7, 8, 9)] == [3, 0, -1]


# Whole networks -----------------------------------------------------------------------------------------------------


class Loss:
    """A network of honest miners that crash; now and then one loses its log and is reminded by all others."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed, 2 + seed % 3, Faults(loss=0.05, delay_ms=(1, 300)))
        self.reminded: Counter[str] = Counter()

    def live(self) -> None:
        world = self.world
        for node in world.nodes:
            world.after(world.rng.randint(0, 500), node.revive)
        world.after(2_000, partial(self._pay, 1))
        world.after(5_000, lambda: world.clients.submit(world.clients.task(0, 1)))
        for number in range(2, 6):
            world.after(12_000 * number, partial(self._pay, number))
        for _ in range(5):
            world.run_until(world.now + world.rng.randint(3_000, 15_000), lambda: False)
            self._crash(world.rng.choice(world.nodes))
            self._lose(world.rng.choice(world.nodes))
        world.heal()
        world.run_until(world.now + 3_600_000, lambda: world.now > 70_000 and world.converged())

    def _pay(self, number: int) -> None:
        self.world.clients.submit(self.world.clients.transfer(2, number))

    def _crash(self, node: Node) -> None:
        node.crash_at = node.steps + self.world.rng.randint(1, 12)

    def _lose(self, node: Node) -> None:
        """Its log is gone; when nothing of it is on its way any more and all others are up it is reminded."""
        world = self.world
        if any(_silent(other) for other in world.nodes):
            return
        node.behaviour, node.dead = "lost log", True
        node.crash_at = node.steps + world.rng.randint(1, 40)
        world.run_until(world.now + 3_000, lambda: node.replica is None)
        if node.replica is not None:
            node.die()
        node.log.lose()
        world.run_until(world.now + 1_000, lambda: False)
        others = [other for other in world.nodes if other is not node]
        while not self._remind(node, others):
            world.run_until(world.now + 60_000, lambda: all(other.replica is not None for other in others))
        node.dead = False
        node.revive()

    def _remind(self, node: Node, others: list[Node]) -> bool:
        """Whether all others gave their reminders; one that falls over it is asked again."""
        reminders: list[Reminder] = []
        right = self.world.transmit

        def listen(_sender: Node, _to: str, message: Message) -> None:
            if isinstance(message, Reminder):
                reminders.append(message)

        self.world.transmit = listen  # type: ignore[assignment, method-assign]  # what is said while it is asked
        for other in others:
            other.deliver(node.address, Remind(NONCE))
        self.world.transmit = right  # type: ignore[method-assign]  # whole again
        if len(reminders) < len(others):
            return False
        known = [vote for reminder in reminders for vote in reminder.held]
        height = node.ledger.tip.height
        forgotten, votes = plan(self.world.genesis, node.key, height, reminders, known)
        rows = [(forgotten.height + 1, "", to_bytes(forgotten))]
        rows += [(vote.height, "", to_bytes(vote)) for vote in (*known, *votes)]
        assert isinstance(node.log, MemoryLog)
        node.log.put_back((rows, None, True))
        node.log.signatures |= {vote.signature for vote in (*known, *votes)}
        self.reminded["times"] += 1
        self.reminded["votes"] += len(votes)
        self.reminded["known"] += len(known)
        return True


def _silent(node: Node) -> bool:
    """Whether it has not yet got over its own last loss: it could remind nobody."""
    lost = [record for record in node.log.load().records if isinstance(record, Forgotten)]
    return any(record.silent_to(node.ledger.tip.height + 1) >= 0 for record in lost)


def test_a_reminded_miner_contradicts_nothing_and_the_chain_goes_on() -> None:
    """R = 2, 3, 4, logs lost at any moment: no two signatures of anybody conflict, all becomes final, all agree.

    [P-10.31]
    """
    reminded: Counter[str] = Counter()
    for seed in range(SEEDS):
        with stub_signatures(True):
            loss = Loss(seed)
            loss.live()
            assert loss.world.finish() == [], f"seed {seed}"
        reminded += loss.reminded
    assert reminded["times"] >= SEEDS
    assert reminded["known"]
    assert reminded["votes"]


def test_whoever_may_have_committed_before_its_loss_abstains_through_later_falls() -> None:
    """A log is lost while a task is mined: no commit in this attempt, nor after a fall some heights later."""
    with stub_signatures(True):
        loss = Loss(2)
        world = loss.world
        for node in world.nodes:
            node.revive()
        world.clients.submit(world.clients.task(0, 1))
        victim = world.nodes[1]
        world.run_until(60_000, lambda: _mining(victim))
        loss._lose(victim)
        world.run_until(world.now + 10_000, lambda: _mining(victim) and victim.ledger.tip.height >= 1)
        for number in range(1, 5):
            loss._pay(number)
            world.run_until(world.now + 3_000, lambda: False)
        assert victim.ledger.tip.height >= 4
        for _ in range(2):
            assert victim.replica is not None
            machine = victim.replica.taskwork.machine
            assert machine is not None
            assert (machine.attempt.number, machine.phase, machine.me) == (1, "mining", None)
            victim.die()
            victim.revive()
            world.run_until(world.now + 2_000, lambda: False)
        world.heal()
        world.run_until(world.now + 600_000, world.converged)
        assert world.finish() == []


def _mining(node: Node) -> bool:
    return node.replica is not None and node.replica.taskwork.machine is not None
