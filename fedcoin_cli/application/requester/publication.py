"""What a requester publishes: a round and its terms become a task, signed by its clients and still not by it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from fedcoin_cli.application.rounds.files import Round, read_round
from fedcoin_cli.application.rounds.terms import Asked, AskedTerms, check_unchanged, fresh_nonce
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.configuration import Configuration, FlagError
from fedcoin_cli.application.workspace.keyring import key_of
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.errors import SettingsError
from ledger_store.base.names import Address, GenesisId
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import Task, sign_update


@dataclass(frozen=True, slots=True)
class Publication:
    """A round and what is asked for it, once.

    Real clients have signed a call: its terms hold, whatever `terms` say. Simulated ones have signed nothing: `keys`
    sign for them, by address, what `terms` say.
    """

    round: Round
    terms: AskedTerms
    genesis_id: GenesisId
    keys: dict[str, KeyPair]
    nonce: str = field(default_factory=fresh_nonce)

    @classmethod
    def of(cls, workspace: Workspace, files: Round, terms: AskedTerms) -> Self:
        """The same with the keys of this workspace; raises `KeyFailure` where a simulated client's is not here."""
        clients = () if files.call is not None else (update.client for update in files.updates)
        return cls(files, terms, workspace.genesis().id, {one: key_of(workspace, one) for one in clients})

    @property
    def called(self) -> bool:
        """Whether real clients have answered a call."""
        return self.round.call is not None

    def task(self, sender: Address, sequence: int) -> Task:
        """The task that `sender` signs as its transaction number `sequence`; raises `SettingsError`."""
        files, call, updates = self.round, self.round.call, self.round.updates
        if call is None:
            asked = Asked(
                files.model, files.test, files.images, files.aggregation, len(updates), len(updates)
            )
            call = self.terms.call(sender, asked, self.nonce)
            signed = [
                sign_update(call, one.digest, one.examples, self.keys[one.client], self.genesis_id)
                for one in updates
            ]
            updates = tuple(signed)
        if call.sender != sender:
            hint = "publish with the key that called for them: fedcoin publish --key NAME"
            raise SettingsError("the clients signed for another requester", where=call.sender, hint=hint)
        return replace(call, sequence=sequence, updates=updates)


def wanted_of(
    workspace: Workspace, folder: Path, configuration: Configuration, error_micro: int | None = None
) -> Publication:
    """A round's folder and the settings in force as what is asked for; `error_micro`: the precision asked of payments.

    Raises `RoundFilesInvalid`, and `FlagError` where a flag asks for other terms than real clients have signed.
    """
    files = read_round(folder, workspace.genesis())
    settings = configuration.settings
    terms = AskedTerms(settings, Names.of(workspace).address(settings.task.server), error_micro)
    if (signed := files.call) is not None:
        asked = Asked(files.model, files.test, files.images, settings.task.aggregation, 2, 2)
        check_unchanged(configuration, terms.call(signed.sender, asked, fresh_nonce()), signed)
        if error_micro is not None and error_micro != signed.payment_error_micro:
            message = "the clients signed for another precision of the payments"
            hint = "leave it out, or ask them anew: fedcoin round call"
            raise FlagError(message, where="--payment-error", hint=hint)
    return Publication.of(workspace, files, terms)
