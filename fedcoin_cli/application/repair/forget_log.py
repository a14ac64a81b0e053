"""A vote log made anew from what all other miners say: `repair --forget-log`.

Asked over the network, twice: the second answers come after anything that the lost miner may still have had on its way.
What may be said again is decided in `consensus.amnesia`; here reminders are gathered, checked and written down.
(docs/adr/0016)
"""

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from fedcoin_cli.application.node.votelog import VoteLog, is_whole
from fedcoin_cli.application.workspace.peers import listening
from fedcoin_cli.application.workspace.workspace import MinerFolder, Workspace
from fedcoin_cli.consensus.amnesia import Forgotten, recollect
from fedcoin_cli.network.transport.admission import Admission
from fedcoin_cli.network.transport.base import Door, Transport
from fedcoin_cli.network.transport.p2p import P2P
from fedcoin_cli.protocol.frame import from_frame, to_frame
from fedcoin_cli.protocol.message import Remind, Reminder, Vote
from fedcoin_cli.replica.replica import reconcile
from ledger_store.base.errors import Malformed, NetworkFailure, NotFound, SettingsError
from ledger_store.base.names import Address, BlockId, GenesisId
from ledger_store.base.words import VoteKind
from ledger_store.block import vote_terms
from ledger_store.file.chain_file import ChainFile
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import KeyPair, verify

ASK_S, TURN_MS = 0.5, 50
ROUNDS = 2


@dataclass(frozen=True, slots=True)
class Reminded:
    """A vote log that may be relied on again: silent at `height` up to `view` but for what `votes` says."""

    number: int
    height: int
    view: int
    votes: tuple[Vote, ...]
    witnesses: tuple[str, ...]


def lost_logs(workspace: Workspace) -> list[MinerFolder]:
    """The local miners whose vote log is missing, or known to lack something; raises `NotFound` when there are none."""
    found = [miner for miner in workspace.miners if not is_whole(miner.votes)]
    if not found:
        hint = "a log that is whole is never forgotten: it keeps this miner from contradicting itself"
        raise NotFound("no local miner has lost its vote log", where=str(workspace.root), hint=hint)
    return found


def forget_log(workspace: Workspace, folder: MinerFolder, host: str, wait_s: float) -> Reminded:
    """Ask all other miners and complete the log of this folder's miner, which must not run and listens at `host`.

    Raises `NetworkFailure` naming those that gave no reminder, `Locked` while the miner runs.
    """
    genesis, key = workspace.genesis(), workspace.key(folder.name)
    with ChainFile.open_for_writing(folder.path) as ledger, _log(folder, key.address, genesis.id) as log:
        remembered = log.load()
        reconcile(ledger, remembered)
        reminders = _gather(workspace, genesis, key, host, wait_s)
        own = [record for record in remembered.records if isinstance(record, Vote)]
        said = [*own, *(vote for reminder in reminders for vote in reminder.held)]
        known = [vote for vote in dict.fromkeys(said) if vote.height > ledger.height]
        forgotten, votes = plan(genesis, key, ledger.height, reminders, known)
        log.remind([forgotten, *(vote for vote in known if vote not in own), *votes])
        witnesses = tuple(genesis.roster[reminder.witness] for reminder in reminders)
        return Reminded(folder.number, forgotten.height, forgotten.view, tuple(votes), witnesses)


def plan(
    genesis: Genesis, key: KeyPair, ledger_height: int, reminders: Sequence[Reminder], known: Sequence[Vote]
) -> tuple[Forgotten, list[Vote]]:
    """Where to be silent, and which votes to give anew; `known` are the miner's own votes above its ledger."""
    height = max([ledger_height + 1, *(reminder.height for reminder in reminders)])
    if not reminders:
        # Nobody has heard a lone miner.
        return Forgotten(height - 1, 0), []
    others = [reminder.own if reminder.height == height else () for reminder in reminders]
    own = [(vote.kind, vote.view, vote.block) for vote in known if vote.height == height]
    anew, view = recollect(genesis.quorum, others, own)
    return Forgotten(height, view), [_signed(genesis, key, height, *terms) for terms in anew]


def _signed(
    genesis: Genesis, key: KeyPair, height: int, kind: VoteKind, view: int, block_id: BlockId | None
) -> Vote:
    signature = key.sign(kind, genesis.id, vote_terms(height, view, block_id))
    return Vote(kind, genesis.index_of(key.address), height, view, block_id, signature)


@contextmanager
def _log(folder: MinerFolder, address: Address, genesis_id: GenesisId) -> Iterator[VoteLog]:
    """The log as it is; a missing one is made, not yet whole."""
    if not folder.votes.exists():
        VoteLog.create(folder.votes, address, genesis_id, whole=False).close()
    with closing(VoteLog(folder.votes, address, genesis_id)) as log:
        yield log


# The others -----------------------------------------------------------------------------------------------------------


def _gather(workspace: Workspace, genesis: Genesis, key: KeyPair, host: str, wait_s: float) -> list[Reminder]:
    """A fresh reminder of every other miner of the roster."""
    peers = {peer.address: peer for peer in listening(workspace.peers_file, genesis.roster)}
    own = peers.pop(key.address, None)
    missing = set(genesis.roster) - {key.address} - peers.keys()
    if own is None or missing:
        where = str(workspace.peers_file)
        hint = "all miners of the roster are needed, and this one: add their addresses, hosts and ports"
        raise SettingsError("the peers file does not name all miners", where=where, hint=hint)
    if not peers:
        return []
    door = Door(host, own.port, Admission(genesis.roster))
    wire = P2P(key, {address: peer.messages for address, peer in peers.items()}, door)
    with closing(wire):
        for _ in range(ROUNDS):
            reminders = _ask(wire, genesis, key.address, wait_s)
            silent = [peer.name for address, peer in peers.items() if address not in reminders]
            if silent:
                hint = "start all others, not this one; a miner that lost its own vote log gives none"
                message = f"no reminder from {', '.join(silent)}; every other miner is needed"
                raise NetworkFailure(message, where=str(workspace.peers_file), hint=hint)
    return [reminders[address] for address in genesis.roster if address in reminders]


def _ask(wire: Transport, genesis: Genesis, me: Address, wait_s: float) -> dict[str, Reminder]:
    """The reminders by address that came within `wait_s`; ends as soon as all have."""
    nonce, found = secrets.token_hex(16), dict[str, Reminder]()
    until_s = time.monotonic() + wait_s
    ask_s = 0.0
    while len(found) < len(genesis.roster) - 1 and (now_s := time.monotonic()) < until_s:
        if now_s >= ask_s:
            ask_s = now_s + ASK_S
            wire.broadcast(to_frame(Remind(nonce)))
        for sender, frame in wire.poll(TURN_MS)[0]:
            reminder = _read(genesis, me, nonce, sender, frame)
            if reminder is not None:
                found[sender] = reminder
    return found


def _read(genesis: Genesis, me: Address, nonce: str, sender: Address, frame: bytes) -> Reminder | None:
    """A reminder of this round that its witness signed, holding votes that this miner signed; else None."""
    try:
        message = from_frame(frame)
    except Malformed:
        return None
    if not isinstance(message, Reminder) or (message.about, message.nonce) != (me, nonce):
        return None
    if sender not in genesis.roster or genesis.index_of(sender) != message.witness:
        return None
    right = verify(sender, "reminder", genesis.id, message.terms(), message.signature)
    return message if right and all(_is_own(genesis, me, vote) for vote in message.held) else None


def _is_own(genesis: Genesis, me: Address, vote: Vote) -> bool:
    terms = vote_terms(vote.height, vote.view, vote.block)
    return genesis.roster[vote.voter] == me and verify(me, vote.kind, genesis.id, terms, vote.signature)
