"""Which key of a workspace asks the miners: one that they let in, wherever one is kept here."""

from typing import Final, NamedTuple

from fedcoin_cli.application.requester.standing import ask
from fedcoin_cli.application.workspace.workspace import REQUESTER, Workspace
from ledger_store.base.amount import MICRO
from ledger_store.base.errors import FedCoinError, KeyFailure
from ledger_store.identity.keyfile import read_key
from ledger_store.identity.keys import KeyPair
from ledger_store.state import State

_TRIAL_S: Final = 2.0


class _Rank(NamedTuple):
    """In which order keys are taken: the least first."""

    unknown: bool
    sealed: bool
    other: bool


def admitted_key(workspace: Workspace, state: State, wanted: str | None = None) -> tuple[str, KeyPair]:
    """As `asking_key`; where the ledger here tells of nobody whom miners let in, open keys are tried in turn.

    Who joined and has earned coins since has no copy of the ledger yet that says so.
    """
    first = asking_key(workspace, state, wanted)
    if wanted is not None or not _rank(workspace, state, first[0]).unknown:
        return first
    for name in _ordered(workspace, state):
        if _rank(workspace, state, name).sealed:
            continue
        key = workspace.key(name)
        miners = ask(workspace, key, _TRIAL_S)
        if any(miner.standing for miner in miners):
            return name, key
        if not any(miner.denied for miner in miners):
            break  # no miner is there, whoever asks
    return first


def asking_key(workspace: Workspace, state: State, wanted: str | None = None) -> tuple[str, KeyPair]:
    """The key called `wanted`, else the first that opens; with its name. Raises `KeyFailure` without any.

    Those that miners admit go first (their own, those of accounts with a coin by the ledger here), then those that
    need no passphrase, then the requester's.
    """
    if wanted is not None:
        return wanted, workspace.key(wanted)
    hint = "fedcoin key new requester makes one"
    reason = KeyFailure("no key to speak with", where=str(workspace.keys), hint=hint)
    for name in _ordered(workspace, state):
        try:
            return name, workspace.key(name)
        except KeyFailure as error:
            reason = error
    raise reason


def _ordered(workspace: Workspace, state: State) -> list[str]:
    return sorted(workspace.key_names(), key=lambda name: _rank(workspace, state, name))


def _rank(workspace: Workspace, state: State, name: str) -> _Rank:
    try:
        record = read_key(workspace.key_file(name))
    except FedCoinError:
        return _Rank(unknown=True, sealed=True, other=True)
    admitted = record.address in state.genesis.roster or state.balances.get(record.address, 0) >= MICRO
    return _Rank(not admitted, record.sealed, name != REQUESTER)
