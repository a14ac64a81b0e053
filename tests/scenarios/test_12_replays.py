"""Scenario 12: a vote log put back from an earlier height; statements replayed where they do not belong.

A cloned key is, as a liar, the simulator's behaviour "twin"; that a second node of one key refuses to start is tested
with real processes elsewhere.
"""

import itertools
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any
from unittest.mock import patch

import simulated.world
import simulator
from scenarios.heights import HOUR_MS, history, settle, start
from scenarios.rows import Row
from simulated.clients import Clients
from simulated.nodes import Node
from simulated.signatures import stub_signatures
from simulated.world import Faults, World

from fedcoin_cli.protocol.message import CommitNote, Message, Proposal, RevealNote, TransactionNote, Vote
from ledger_store.base.names import Address, BlockId, GenesisId
from ledger_store.block import vote_terms
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import verify
from ledger_store.transaction import Task, Transfer, commit_terms

SAMPLE_TRIALS, RELEASE_TRIALS = 25, 500
SAMPLE_REPLAYS, RELEASE_REPLAYS = 4_000, 110_000
PROCESSES = 2
KINDS = (
    "proposal",
    "notar",
    "skip",
    "final",
    "commit",
    "reveal",
    "fraud",
    "transfer",
    "task",
    "cancel",
    "update",
)


# Old logs -----------------------------------------------------------------------------------------------------


def old_log(seed: int) -> list[str]:
    """R = 4, always something to decide: one miner's log is copied, and put back some heights later.

    That miner is held to its word like all others. Its ledger may be an old copy as well. That it may have
    lost an opening or a frozen set is its own loss and no contradiction.
    """
    dice = Random(f"old log {seed}")

    def live(world: World) -> None:
        right = world.witness.problem
        world.witness.problem = (  # type: ignore[method-assign]  # all but two of its problems count
            lambda text: None if text.startswith(("mute", "refrozen")) else right(text)
        )
        heights = start(world)
        world.after(500, partial(world.clients.submit, world.clients.task(0, 1)))
        heights_until(world, dice.randint(1, 6))
        victim = dice.choice(world.nodes)
        copy: Any = victim.log.saved()
        heights_until(world, world.nodes[0].ledger.tip.height + dice.randint(0, 6))
        world.run_until(world.now + dice.randint(0, 2_000), lambda: False)
        victim.die()
        victim.log.put_back(copy)
        if dice.random() < 0.5:
            victim.ledger.cut(dice.randint(0, victim.ledger.tip.height))
        world.run_until(world.now + 30_000, lambda: False)
        settle(world, heights)

    return history(seed, 4, Faults(loss=0.1, delay_ms=(1, 200)), live)


def heights_until(world: World, height: int) -> None:
    """Until somebody has so many blocks."""
    world.run_until(
        world.now + HOUR_MS, lambda: max(node.ledger.tip.height for node in world.nodes) >= height
    )


def old_logs(trials: int) -> list[list[str]]:
    """The problems of each trial."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        return list(pool.map(old_log, range(trials)))


def test_an_old_log_makes_nobody_contradict_itself() -> None:
    """Restored from any earlier height, a miner observes until it can no longer contradict what it said.

    [P-10.27] [P-10.28]
    """
    assert [problems for problems in old_logs(SAMPLE_TRIALS) if problems] == []


# Replays ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signed:
    """One signed statement as it was said: by whom, of which kind and network, what, and the signature."""

    signer: str
    kind: str
    genesis: GenesisId
    terms: Any
    signature: str


SEED, MINERS = 4, 4


def listened() -> tuple[list[Message], list[Signed], list[str]]:
    """Everything that is said in a round with real signatures in a network of another name; the statements in it.

    At the end all is said again, by everybody to everybody: the third value is what changed by that.
    """
    messages: list[Message] = []
    found: list[str] = []
    seen: list[World] = []

    def live(world: World) -> None:
        seen.append(world)
        right, submit = Node._send, Clients.submit

        def sent(node: Node, addresses: Any, message: Message) -> None:
            messages.append(message)
            right(node, addresses, message)

        def submitted(clients: Clients, transaction: Any) -> None:
            messages.append(TransactionNote(transaction))
            submit(clients, transaction)

        with patch.object(Node, "_send", sent), patch.object(Clients, "submit", submitted):
            simulator.calm(world)
        before = [(node.ledger.tip.state.head, node.ledger.tip.state.balances) for node in world.nodes]
        say_all(world, list(dict.fromkeys(messages)))
        after = [(node.ledger.tip.state.head, node.ledger.tip.state.balances) for node in world.nodes]
        found.extend(["the ledger went on"] if before != after else [])

    another = partial(_genesis, "another network")
    with patch.object(simulated.world, "Genesis", another):
        report = simulator.run(SEED, miners=MINERS, faults=Faults(), real=True, files=False, live=live)
    assert report.problems == []
    unique = list(dict.fromkeys(messages))
    genesis = seen[0].genesis
    statements = [signed for said in unique for signed in _statements(said, genesis.id, genesis.roster)]
    return unique, statements, found


def _genesis(name: str, **fields: Any) -> Genesis:
    return Genesis(**{**fields, "network": name})


def say_all(world: World, messages: list[Message]) -> None:
    """Every message, to every node, from every miner and from an account; then let time pass."""
    for message, node in itertools.product(messages, world.nodes):
        for sender in (*world.genesis.roster, world.client_keys[0].address):
            if sender != node.address:
                node.deliver(sender, message)
    world.run_until(world.now + 20_000, lambda: False)


def _statements(message: Message, genesis: GenesisId, roster: tuple[Address, ...]) -> Iterator[Signed]:
    match message:
        case Vote(kind, voter, height, view, block, signature):
            yield Signed(roster[voter], kind, genesis, vote_terms(height, view, block), signature)
        case Proposal():
            signer = roster[message.proposer]
            yield Signed(signer, "proposal", genesis, message.terms(), message.signature)
        case CommitNote(task, attempt, commit):
            terms = commit_terms(task, attempt, commit.digest)
            yield Signed(commit.miner, "commit", genesis, terms, commit.signature)
        case RevealNote(task, attempt, reveal):
            terms = reveal.terms(task, attempt)
            yield Signed(reveal.miner, "reveal", genesis, terms, reveal.signature)
        case TransactionNote(transaction):
            assert isinstance(transaction, Task | Transfer)
            body, signature = transaction.body, transaction.signature
            yield Signed(transaction.sender, transaction.kind, genesis, body, signature)
            if isinstance(transaction, Task):
                for update in transaction.updates:
                    signed = transaction.update_terms(update)
                    yield Signed(update.client, "update", genesis, signed, update.signature)


def crossed(statements: list[Signed], most: int) -> tuple[int, int]:
    """Signatures held up in a place that they were not made for: another kind, network or text, or another signer's.

    Returns how many were tried and how many were accepted.
    """
    dice = Random(12)
    tried = accepted = 0
    for _ in range(most):
        said, elsewhere = dice.choice(statements), dice.choice(statements)
        forged = dice.choice(
            (
                replace(said, kind=dice.choice(KINDS)),
                replace(said, genesis=GenesisId(BlockId(f"{dice.getrandbits(256):064x}"))),
                replace(said, terms=elsewhere.terms),
                replace(said, kind=elsewhere.kind, terms=elsewhere.terms),
                replace(said, signer=elsewhere.signer),
                replace(elsewhere, signature=said.signature),
            )
        )
        if forged in (said, elsewhere):
            continue
        tried += 1
        accepted += verify(
            Address(forged.signer), forged.kind, forged.genesis, forged.terms, forged.signature
        )
    return tried, accepted


def replayed_elsewhere(messages: list[Message]) -> list[str]:
    """What changes in a network with the same keys and another name when all of it is said there."""
    with stub_signatures(False):
        world = World(SEED, MINERS, Faults(), real=True)
        world.heal()
        world.run_until(10_000, lambda: False)
        say_all(world, messages)
        heights = [node.ledger.tip.height for node in world.nodes]
        pending = [len(node.replica._intake.mempool) for node in world.nodes if node.replica is not None]
        votes = [
            list(node.replica.finality.simplex.ballots.all())
            for node in world.nodes
            if node.replica is not None
        ]
        problems = list(world.witness.problems)
    changed = {"heights": any(heights), "pending": any(pending), "votes": any(votes)}
    return problems + [what for what, has in changed.items() if has]


def test_what_is_replayed_is_not_accepted() -> None:
    """Signatures held up elsewhere do not verify; messages said again, here or in another network, do nothing.

    [P-2.4]
    """
    messages, statements, changed = listened()
    assert {signed.kind for signed in statements} >= set(KINDS) - {"skip", "fraud", "cancel"}
    assert changed == []
    assert replayed_elsewhere(messages) == []
    tried, accepted = crossed(statements, SAMPLE_REPLAYS)
    assert (tried > SAMPLE_REPLAYS // 2, accepted) == (True, 0)


def test_a_statement_verifies_where_it_belongs() -> None:
    """The replays can fail: the same statements, untouched, verify."""
    _, statements, _ = listened()
    for said in statements[:200]:
        assert verify(Address(said.signer), said.kind, said.genesis, said.terms, said.signature)


# The table ----------------------------------------------------------------------------------------------------


def measure(*, full: bool) -> list[Row]:
    """Old logs, then replays."""
    outcomes = old_logs(RELEASE_TRIALS if full else SAMPLE_TRIALS)
    wrong = sum(bool(problems) for problems in outcomes)
    logs = Row(
        "a log restored from an earlier height",
        f"{len(outcomes)} trials, R = 4, 10 % loss, half of them with an old ledger as well, simulated",
        "0 conflicting signatures",
        f"{wrong} trials with any problem",
        wrong == 0,
    )
    messages, statements, changed = listened()
    changed += replayed_elsewhere(messages)
    tried, accepted = crossed(statements, RELEASE_REPLAYS if full else SAMPLE_REPLAYS)
    replays = Row(
        "replayed statements, votes and transactions",
        f"{tried} Ed25519 signatures in another kind, network, text or name; {len(messages)} messages of a "
        "round said again by everybody, there and in a network with the same keys",
        "0 accepted",
        f"{accepted} accepted, {len(changed)} effects",
        not accepted and not changed,
    )
    return [logs, replays]
