"""Which key of a workspace asks the miners: one that they let in, wherever one is kept here."""

from fedcoin_cli.application.workspace.workspace import REQUESTER, Workspace
from ledger_store.base.amount import MICRO
from ledger_store.base.errors import FedCoinError, KeyFailure
from ledger_store.identity.keyfile import read_key
from ledger_store.identity.keys import KeyPair
from ledger_store.state import State


def asking_key(workspace: Workspace, state: State, wanted: str | None = None) -> tuple[str, KeyPair]:
    """The key called `wanted`, else the first that opens; with its name. Raises `KeyFailure` without any.

    Those that miners admit go first (their own, those of accounts with a coin by the ledger here), then those that
    need no passphrase, then the requester's.
    """
    if wanted is not None:
        return wanted, workspace.key(wanted)
    hint = "fedcoin key new requester makes one"
    reason = KeyFailure("no key to speak with", where=str(workspace.keys), hint=hint)
    for name in sorted(workspace.key_names(), key=lambda name: _rank(workspace, state, name)):
        try:
            return name, workspace.key(name)
        except KeyFailure as error:
            reason = error
    raise reason


def _rank(workspace: Workspace, state: State, name: str) -> tuple[bool, bool, bool]:
    try:
        record = read_key(workspace.key_file(name))
    except FedCoinError:
        return True, True, True
    admitted = record.address in state.genesis.roster or state.balances.get(record.address, 0) >= MICRO
    return not admitted, record.sealed, name != REQUESTER
