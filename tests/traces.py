"""Directed histories that random seeds nearly miss; each raises AssertionError where the protocol is broken.

They pass on the right machines and fail on those with the planted bug that they were written for.
"""

import itertools

from chains import history_of
from councils import Assembly, Member, Said, armed
from planted import ground_leader
from simulated.world import Faults, World

from fedcoin_cli.consensus.attempt import Stage
from fedcoin_cli.consensus.posap import Posap
from fedcoin_cli.protocol.message import Proposal, Vote
from ledger_store.base.words import TaskState

T0_MS = 3_000
LONG_MS = 120_000


def agree(members: list[Member]) -> None:
    """All have decided, and the same."""
    finals = [member.final[0].id if member.final is not None else "nothing" for member in members]
    assert len(set(finals)) == 1, f"they decided {finals}"
    assert finals[0] != "nothing", "nobody decided"


def first_proposal(council: Assembly) -> Proposal:
    """What the leader of view 0 proposed when it was armed."""
    return next(message for message in council.leader(0).said if isinstance(message, Proposal))


def votes(member: Member, kind: str) -> list[Said]:
    """The votes of one kind that a member has said."""
    return [message for message in member.said if isinstance(message, Vote) and message.kind == kind]


def own_votes_count_after_a_restart() -> None:
    """R = 2: both have skipped view 0 and fall before they hear of each other; only two votes lead to view 1."""
    council = Assembly(2)
    council.leader(0).judge.packs = False
    for member in council.members:
        member.arm()
    council.now_ms += T0_MS
    for member in council.members:
        member.tick()
        assert votes(member, "skip")
        member.restart()
        member.arm()
    council.go_on(council.members, LONG_MS)
    agree(council.members)


def a_notarisation_survives_the_fall_of_those_who_rest_on_it() -> None:
    """R = 4: 0 and 2 voted FINAL on votes of 1, which then dies; 3 never heard of the block and has skipped.

    0 and 2 may never skip, 3 may never vote FINAL in that view: only their notarisation lets the block come again.
    """
    council = armed(4)
    zero, leader, two, three = council.members
    proposal = first_proposal(council)
    council.converse([zero, two], [proposal, *votes(leader, "notar")])
    assert votes(zero, "final")
    assert votes(two, "final")
    council.now_ms += T0_MS
    three.tick()
    for member in (zero, two):
        member.restart()
    council.go_on([zero, two, three], LONG_MS)
    agree([zero, two, three])


def a_notarisation_without_its_block_survives_a_fall() -> None:
    """R = 4: only 3 hears the dead leader's NOTAR, and never its block; it has left the view when it falls.

    0 and 2 have said SKIP there, 3 will say nothing there any more: its certificate is all that can bring a decision.
    """
    council = armed(4)
    zero, leader, two, three = council.members
    proposal = first_proposal(council)
    for member in (zero, two):
        member.hear(proposal)
    three.hear(*votes(leader, "notar"), *votes(zero, "notar"), *votes(two, "notar"))
    zero.hear(*votes(two, "notar"))
    two.hear(*votes(zero, "notar"))
    for _ in range(14):  # nothing that 3 says gets out
        council.now_ms += 500
        three.tick()
    assert three.kinds() == [("skip", 1)]
    three.restart()
    council.go_on([zero, two, three], LONG_MS)
    agree([zero, two, three])


def a_repeated_block_needs_no_second_look() -> None:
    """R = 4: the liar 1 notarises late and falls silent; 3 has skipped and could never accept the block itself."""
    council = armed(4)
    zero, liar, two, three = council.members
    three.judge.refuses = True
    proposal = first_proposal(council)
    for member in (zero, two, three):
        member.hear(proposal)
    council.now_ms += T0_MS - 1
    council.converse([zero, two], [*votes(zero, "notar"), *votes(two, "notar"), *votes(liar, "notar")])
    council.now_ms += 1
    three.tick()
    assert votes(three, "skip")
    council.go_on([zero, two, three], LONG_MS)
    agree([zero, two, three])


def an_unjustified_block_gets_nowhere() -> None:
    """R = 4: 0 has decided; before 1 and 2 hear of it, the liar 3 proposes something else for a view nobody reached."""
    council = armed(4)
    zero, one, two, _ = council.members
    proposal = first_proposal(council)
    voters = [zero, one, two]
    for member in (zero, two):
        member.hear(proposal)
    for member in voters:
        member.hear(*(vote for voter in voters for vote in votes(voter, "notar")))
    zero.hear(*votes(one, "final"), *votes(two, "final"))
    assert zero.final is not None
    other = council.block(view=2, note=77)
    lies: list[Said] = [
        council.proposal(2, other),
        council.vote("notar", 3, 2, other.id),
        council.vote("final", 3, 2, other.id),
    ]
    council.converse([one, two], lies)
    for member in (one, two):
        assert member.final is None or member.final[0].id == zero.final[0].id, "a fork"


def no_final_after_skip() -> None:
    """R = 4: 3 skips, then sees the notarisation of the block that it skipped."""
    council = armed(4)
    proposal = first_proposal(council)
    three = council.members[3]
    council.now_ms += T0_MS
    three.tick()
    three.hear(proposal, *(council.vote("notar", voter, 0, proposal.block.id) for voter in (0, 1, 2)))
    assert not votes(three, "final"), "a FINAL after the own SKIP"


def a_proposal_is_said_once() -> None:
    """R = 4: a leader falls after its proposal was sent, and proposes the same again."""
    council = armed(4)
    leader = council.leader(0)
    before = first_proposal(council)
    leader.restart()
    leader.said.clear()
    leader.arm()
    council.go_on([leader], 3_000)
    again = {message.block.id for message in leader.said if isinstance(message, Proposal)}
    assert again == {before.block.id}, "another proposal for the same view"


def nobody_decides_alone() -> None:
    """R = 2, cut off from each other: 1 proposes in view 0, 0 skips it; each hears only itself. Then they meet."""
    council = armed(2)
    zero, one = council.members
    for _ in range(20):
        council.now_ms += T0_MS
        for member in (zero, one):
            member.tick()
    assert zero.final is None, "miner 0 decided alone"
    assert one.final is None, "miner 1 decided alone"
    council.go_on([zero, one], LONG_MS)
    agree([zero, one])


def a_ground_parent_gives_nobody_the_next_views() -> None:
    """R = 4: the liar 1 makes the block before, and tries times of day until a lot by its id gives it six views.

    Then it falls silent. The first view is its by turns, too; the others must not wait for the rest.
    """
    liar, views = 1, 6
    maker = Assembly(4).maker
    tried = (maker.propose(time_ms=maker.genesis.time_ms + later).id for later in itertools.count())
    parent = next(id_ for id_ in tried if all(ground_leader(id_, view, 4) == liar for view in range(views)))
    council = Assembly(4, parent)
    others = [member for member in council.members if member.index != liar]
    for member in others:
        member.arm()
    council.go_on(others, 50_000)
    agree(others)


def commits_outlive_their_miner_and_all_memory() -> None:
    """R = 4: miner 2 commits and dies, miner 3 is late, the others freeze with 2's commit; then all fall at once.

    Everybody insists on 2's commit, so somebody must still have it: or no close is ever accepted. Miner 2 leads the
    view in which it dies, so that no proposal has kept its commit.
    """
    world = World(3, 4, Faults())
    world.heal()
    task = world.clients.task(0, 1)
    world.clients.submit(task)
    world.run_until(60_000, lambda: len(_machines(world)) == 4)
    world.nodes[3].life += 1  # what its child computes is lost
    world.run_until(120_000, lambda: all(len(machine._commits) == 3 for machine in _machines(world)))
    world.nodes[2].dead = True
    world.nodes[2].die()
    everybody = world.genesis.roster
    world._blocked |= {(one, other) for one in everybody for other in everybody}
    world.run_until(
        300_000, lambda: all(Stage.COMMITS in machine.clocks.frozen for machine in _machines(world))
    )
    assert all(len(machine._commits) == 3 for machine in _machines(world))
    world.blackout()
    world._blocked.clear()
    world.run_until(world.now + 600_000, world.converged)
    assert world.witness.problems == []
    assert world.converged(), "an attempt that nobody can close"


def a_frozen_set_outlives_its_miner_and_its_clock() -> None:
    """R = 4: 0 freezes without 3's commit and falls; its time of day is set back, and now 3's commit comes in time.

    What 0 froze is what it insists on: it must not become another set, later, with other commits.
    """
    world = World(3, 4, Faults())
    world.heal()
    zero, one, two, three = (node.address for node in world.nodes)
    everything = {(one, other) for one in world.genesis.roster for other in world.genesis.roster}
    world.clients.submit(world.clients.task(0, 1))
    world.run_until(60_000, lambda: len(_machines(world)) == 4)
    world._blocked |= {way for way in everything if three in way}
    world.run_until(120_000, lambda: all(len(machine._commits) == 3 for machine in _machines(world)[:3]))
    world._blocked |= everything
    world.run_until(300_000, lambda: Stage.COMMITS in _machines(world)[0].clocks.frozen)
    frozen = _machines(world)[0].clocks.frozen[Stage.COMMITS]
    node = world.nodes[0]
    node.die()
    node.clock._skew_ms = -60_000
    world._blocked -= {(zero, one), (one, zero), (zero, two), (two, zero)}
    world.run_until(world.now + 60_000, lambda: node.replica is not None and node.replica.voting)
    world._blocked |= everything
    world._blocked.discard((three, zero))
    world.run_until(world.now + 120_000, lambda: Stage.COMMITS in _machines(world)[0].clocks.frozen)
    world.run_until(world.now + 10_000, lambda: False)
    assert world.witness.problems == [], world.witness.problems[0]
    assert _machines(world)[0].clocks.frozen[Stage.COMMITS] == frozen, "another frozen set"
    world._blocked.clear()
    world.run_until(world.now + 600_000, world.converged)
    assert world.converged(), "an attempt that nobody can close"


def tables_that_nobody_gets_end_the_attempt() -> None:
    """R = 4, all honest, nothing fails, but no table ever gets from one to another: each holds its own reveal only."""
    world = World(3, 4, Faults(walls=1.0))
    world.heal()
    task = world.clients.task(0, 1)
    world.clients.submit(task)
    world.run_until(600_000, world.converged)
    assert world.witness.problems == []
    assert world.converged(), "a task that stays CLOSED"
    record = history_of(world.nodes[0].ledger)[task.id]
    assert record.state == TaskState.REFUNDED, f"{record.state} without a table that two miners hold"


def _machines(world: World) -> list[Posap]:
    """The attempts at work, of nodes that are up."""
    running = [node.replica.taskwork.machine for node in world.nodes if node.replica is not None]
    return [machine for machine in running if machine is not None]


# These need stub signatures, like every history of the simulated world.
IN_THE_WORLD = (
    commits_outlive_their_miner_and_all_memory,
    a_frozen_set_outlives_its_miner_and_its_clock,
    tables_that_nobody_gets_end_the_attempt,
)
