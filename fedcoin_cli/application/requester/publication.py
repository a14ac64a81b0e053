"""What a requester publishes: a round and its terms become a task, signed by its clients and still not by it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from fedcoin_cli.application.rounds.files import MODEL_NAME, TEST_NAME, Round, read_round
from fedcoin_cli.application.rounds.judging import Judged, baseline_of, judged
from fedcoin_cli.application.rounds.terms import (
    Asked,
    AskedTerms,
    check_clients,
    check_unchanged,
    fresh_nonce,
    read_groups,
)
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.configuration import Configuration, FlagError
from fedcoin_cli.application.workspace.keyring import key_of
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.contract.possession import held_by
from ledger_store.base.errors import SettingsError
from ledger_store.base.names import Address, Digest, GenesisId
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import Task, sign_update


@dataclass(frozen=True, slots=True)
class Publication:
    """A round and what is asked for it, once.

    Real clients have signed a call: its terms hold, whatever `terms` say. Simulated ones have signed nothing: `keys`
    sign for them, by address, what `terms` say; `judged` is what the terms make of the round's files.
    """

    round: Round
    terms: AskedTerms
    genesis_id: GenesisId
    keys: dict[str, KeyPair]
    judged: Judged | None = None
    nonce: str = field(default_factory=fresh_nonce)

    @classmethod
    def of(cls, workspace: Workspace, files: Round, terms: AskedTerms) -> Self:
        """The same with the keys of this workspace, and the baseline among the files where the terms name one.

        Raises:
            KeyFailure: a simulated client's key is not here.
            SettingsError: there is no such baseline.
            RoundFilesInvalid: the metric or the baseline does not fit the round's files.
        """
        genesis = workspace.genesis().id
        if files.call is not None:
            return cls(files, terms, genesis, {})
        frozen = None if files.frozen is None else files.paths[files.frozen]
        parts = files.folder / MODEL_NAME, files.folder / TEST_NAME, frozen
        how = judged(terms.settings.task, parts, files.images)
        if how.named is not None:
            files = replace(files, paths={**files.paths, Digest(how.baseline): how.named})
        clients = (update.client for update in files.updates)
        return cls(files, terms, genesis, {one: key_of(workspace, one) for one in clients}, how)

    @property
    def called(self) -> bool:
        """Whether real clients have answered a call."""
        return self.round.call is not None

    @property
    def groups(self) -> tuple[tuple[Address, ...], ...]:
        """The addresses of one owner each."""
        return self.terms.groups if self.round.call is None else self.round.call.groups

    def task(self, sender: Address, sequence: int) -> Task:
        """The task that `sender` signs as its transaction number `sequence`; raises `SettingsError`."""
        files, call, updates = self.round, self.round.call, self.round.updates
        if call is None:
            assert self.judged is not None, "a round without a call is judged by the terms"
            number = len(updates)
            asked = Asked(
                files.model,
                files.test,
                files.frozen,
                held_by(sender, files.called(self.judged.named)),
                files.images,
                self.judged,
                files.aggregation,
                number,
                number,
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
    workspace: Workspace,
    folder: Path,
    configuration: Configuration,
    error_micro: int | None = None,
    groups: Sequence[str] = (),
) -> Publication:
    """A round's folder and the settings in force as what is asked for.

    `error_micro` is the precision asked of payments, `groups` are clients of one owner each, as `alice,bob`.

    Raises `RoundFilesInvalid`, and `FlagError` where a flag asks for other terms than real clients have signed, or
    groups that the round has not.
    """
    files = read_round(folder, workspace.genesis())
    settings = configuration.settings
    names = Names.of(workspace)
    owned = read_groups(groups, names)
    terms = AskedTerms(settings, names.address(settings.task.server), error_micro, groups=owned)
    if (signed := files.call) is not None:
        how = Judged(settings.task.metric, baseline_of(settings.task)[0], signed.whole, signed.empty)
        asked = Asked(
            files.model,
            files.test,
            files.frozen,
            signed.held,
            files.images,
            how,
            settings.task.aggregation,
            2,
            2,
        )
        check_unchanged(configuration, terms.call(signed.sender, asked, fresh_nonce()), signed)
        if groups and owned != signed.groups:
            message, hint = (
                "the clients signed for other groups",
                "leave it out, or ask them anew: fedcoin round call",
            )
            raise FlagError(message, where="--group", hint=hint)
        if error_micro is not None and error_micro != signed.payment_error_micro:
            message = "the clients signed for another precision of the payments"
            hint = "leave it out, or ask them anew: fedcoin round call"
            raise FlagError(message, where="--payment-error", hint=hint)
    else:
        check_clients(owned, (update.client for update in files.updates), names)
    return Publication.of(workspace, files, terms)
