"""Bugs to be caught: each is a patch of the machines that breaks one rule of the protocol.

`PLANTED` maps the rule's name to the patch. The tests prove that traces or a bounded number of simulated histories
catch each one; the same histories pass without it.
"""

import dataclasses
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from planted_rules import PLANTED_RULES
from simulated.disks import MemoryLog

from fedcoin_cli.consensus import simplex
from fedcoin_cli.consensus.attempt import Attempt, Frozen, Opening, Persist, Send
from fedcoin_cli.consensus.clocks import Clocks
from fedcoin_cli.consensus.council import Council
from fedcoin_cli.consensus.posap import Posap
from fedcoin_cli.consensus.proposals import Proposals
from fedcoin_cli.consensus.reveals import Reveals
from fedcoin_cli.consensus.simplex import Simplex
from fedcoin_cli.protocol.message import Certified, CommitNote, RevealNote, Vote
from fedcoin_cli.replica.block_judge import BlockJudge
from fedcoin_cli.replica.records import Remembered
from ledger_store.base.names import BlockId, MinerIndex
from ledger_store.base.words import VoteKind
from ledger_store.block import vote_terms
from ledger_store.genesis import Genesis

Patch = Callable[[pytest.MonkeyPatch], None]


def final_after_own_skip(patch: pytest.MonkeyPatch) -> None:
    """FINAL as if SKIP had never been voted."""
    right = Simplex._finalise

    def wrong(machine: Any) -> bool:
        skips = {number: view.skip for number, view in machine.memory.views.items()}
        for view in machine.memory.views.values():
            view.skip = None
        done = right(machine)
        for number, skip in skips.items():
            machine.memory.views[number].skip = skip
        return done

    patch.setattr(Simplex, "_finalise", wrong)


def small_quorum(patch: pytest.MonkeyPatch) -> None:
    """q = 2f + 1 is enough for a certificate."""
    patch.setattr(Genesis, "quorum", property(lambda genesis: 2 * genesis.faults + 1))


def log_ignored(patch: pytest.MonkeyPatch) -> None:
    """A restarted miner has forgotten what it said."""
    right = MemoryLog.load

    def wrong(log: MemoryLog) -> Remembered:
        return Remembered((), right(log).decided)

    patch.setattr(MemoryLog, "load", wrong)


def own_votes_not_counted_again(patch: pytest.MonkeyPatch) -> None:
    """A restarted miner knows its votes, but they are in no tally."""
    right = Simplex.restore

    def wrong(machine: Any, records: list[Any], now_ms: int) -> None:
        machine.ballots.count = lambda _: None
        right(machine, records, now_ms)
        del machine.ballots.count

    patch.setattr(Simplex, "restore", wrong)


def justification_unchecked(patch: pytest.MonkeyPatch) -> None:
    """Whatever a leader proposes is taken to be justified."""
    patch.setattr(Proposals, "is_justified", lambda *_: True)


def sent_before_persisted(patch: pytest.MonkeyPatch) -> None:
    """A vote leaves, then it is written."""

    def wrong(machine: Any, kind: str, view: int, block: BlockId | None) -> None:
        signature = machine._signer.sign(kind, vote_terms(machine.height, view, block))
        vote = Vote(VoteKind(kind), machine.council.me, machine.height, view, block, signature)
        machine._out += [simplex.Send(vote), simplex.Persist(vote)]
        machine._keep_own(vote)

    patch.setattr(Simplex, "_vote", wrong)


def notarisation_not_persisted(patch: pytest.MonkeyPatch) -> None:
    """FINAL rests on a certificate that is in memory only."""
    right = Simplex._keep

    def wrong(machine: Any) -> bool:
        before = len(machine._out)
        right(machine)
        del machine._out[before:]
        return False

    patch.setattr(Simplex, "_keep", wrong)


def bare_notarisation_not_persisted(patch: pytest.MonkeyPatch) -> None:
    """A view is left on a certificate whose block is unknown here, and nothing of it is written."""
    right = Simplex._keep

    def wrong(machine: Any) -> bool:
        before = len(machine._out)
        right(machine)
        kept = [effect for effect in machine._out[before:] if not _is_bare(machine, effect.record)]
        machine._out[before:] = kept
        return False

    patch.setattr(Simplex, "_keep", wrong)


def _is_bare(machine: Any, record: Any) -> bool:
    return (
        isinstance(record, Certified)
        and record.votes == "notar"
        and record.block not in machine.memory.bodies
    )


def proposal_rebuilt(patch: pytest.MonkeyPatch) -> None:
    """A restarted leader packs its view's block anew."""
    right = Simplex._restore_proposal

    def wrong(machine: Any, proposal: Any) -> None:
        right(machine, proposal)
        machine.memory.at(proposal.view).own_proposal = machine.memory.at(proposal.view).proposal = None

    patch.setattr(Simplex, "_restore_proposal", wrong)


def no_veto(patch: pytest.MonkeyPatch) -> None:
    """A fresh block gets a vote whatever it leaves out."""
    patch.setattr(BlockJudge, "acceptable", lambda *_: True)


def veto_on_repeats(patch: pytest.MonkeyPatch) -> None:
    """A notarised block that comes again is checked locally once more."""
    right = Simplex._notarise

    def wrong(machine: Any) -> bool:
        proposal = machine.memory.at(machine.view).proposal
        if proposal is not None and not machine._judge.acceptable(proposal.block):
            return False
        return right(machine)

    patch.setattr(Simplex, "_notarise", wrong)


def reveal_before_the_close(patch: pytest.MonkeyPatch) -> None:
    """A miner reveals as soon as it has committed."""
    right = Posap.estimated

    def wrong(machine: Any, reveal: Any) -> list[Any]:
        effects = right(machine, reveal)
        if effects:
            attempt = machine.attempt
            effects.append(Send(RevealNote(attempt.task, attempt.number, machine._opening)))
        return effects

    patch.setattr(Posap, "estimated", wrong)


def frozen_set_not_persisted(patch: pytest.MonkeyPatch) -> None:
    """A restarted miner freezes what it holds then."""
    _forget(patch, lambda record: isinstance(record, Frozen))


def frozen_items_not_persisted(patch: pytest.MonkeyPatch) -> None:
    """A restarted miner insists on commits and reveals that it no longer has."""
    right = Clocks.freeze

    def wrong(*arguments: Any) -> list[Any]:
        return [e for e in right(*arguments) if isinstance(e, Persist) and isinstance(e.record, Frozen)]

    patch.setattr(Clocks, "freeze", wrong)


def opening_not_persisted(patch: pytest.MonkeyPatch) -> None:
    """A restarted miner cannot open its commit."""
    _forget(patch, lambda record: isinstance(record, Opening))


def commit_not_persisted(patch: pytest.MonkeyPatch) -> None:
    """A restarted miner commits once more."""
    _forget(patch, lambda record: isinstance(record, Opening | CommitNote))


def counted_unchecked(patch: pytest.MonkeyPatch) -> None:
    """A reveal is held before its table is here."""
    right = Reveals.take

    def wrong(reveals: Any, note: Any) -> list[Any]:
        reveals.held[note.reveal.miner] = note.reveal
        return right(reveals, note)

    patch.setattr(Reveals, "take", wrong)


def no_abandon_clock(patch: pytest.MonkeyPatch) -> None:
    """Everybody insists on its frozen set for ever."""
    patch.setattr(Attempt, "abandon_ms", 10**12)


def abandoned_at_once(patch: pytest.MonkeyPatch) -> None:
    """The clock after which omissions are no longer vetoed begins where it should end."""
    patch.setattr(Attempt, "abandon_ms", 0)


def never_given_up(patch: pytest.MonkeyPatch) -> None:
    """Who has abandoned an attempt goes on to propose what it holds."""
    patch.setattr(Attempt, "give_up_ms", 10**12)


class GroundCouncil(Council):
    """A council whose leaders follow from the id of the block before."""

    def leader(self, height: int, view: int) -> MinerIndex:
        return MinerIndex(ground_leader(self.parent, view, self.miners))  # type: ignore[attr-defined]

    __slots__ = ("parent",)


def ground_leader(parent: BlockId, view: int, miners: int) -> int:
    """A leader by lot, drawn from the parent's id: whoever makes the parent can try ids until it likes the lot."""
    return int(sha256(f"{parent} {view}".encode()).hexdigest(), 16) % miners


def leader_from_a_block_id(patch: pytest.MonkeyPatch) -> None:
    """Who leads is drawn from the id of the block before."""
    right = Simplex.__init__

    def wrong(machine: Any, council: Council, height: int, signer: Any, judge: Any, now: int) -> None:
        fields = {name.name: getattr(council, name.name) for name in dataclasses.fields(council)}
        ground = GroundCouncil(**fields)
        object.__setattr__(ground, "parent", judge.parent)
        right(machine, ground, height, signer, judge, now)

    patch.setattr(Simplex, "__init__", wrong)


def _forget(patch: pytest.MonkeyPatch, what: Callable[[Any], bool]) -> None:
    """Effects that persist `what` are lost on the way to the log."""
    for name in ("estimated", "tick"):
        patch.setattr(Posap, name, _without(getattr(Posap, name), what))


def _without(right: Callable[..., list[Any]], what: Callable[[Any], bool]) -> Callable[..., list[Any]]:
    def wrong(*arguments: Any, **named: Any) -> list[Any]:
        effects = right(*arguments, **named)
        return [e for e in effects if not (isinstance(e, Persist) and what(e.record))]

    return wrong


PLANTED: dict[str, Patch] = {
    patch.__name__: patch
    for patch in (
        final_after_own_skip,
        small_quorum,
        log_ignored,
        own_votes_not_counted_again,
        justification_unchecked,
        sent_before_persisted,
        notarisation_not_persisted,
        bare_notarisation_not_persisted,
        proposal_rebuilt,
        no_veto,
        veto_on_repeats,
        reveal_before_the_close,
        frozen_set_not_persisted,
        frozen_items_not_persisted,
        opening_not_persisted,
        commit_not_persisted,
        counted_unchecked,
        leader_from_a_block_id,
        no_abandon_clock,
        abandoned_at_once,
        never_given_up,
    )
} | PLANTED_RULES
