"""The terms of a task before anybody has signed: settings, and what is asked of the clients, become a call."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fedcoin_cli.application.rounds.files import UNSIGNED
from fedcoin_cli.application.rounds.judging import Judged
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.configuration import Configuration, FlagError
from fedcoin_cli.application.workspace.settings import Settings
from ledger_store.base.amount import split
from ledger_store.base.names import Address, Digest
from ledger_store.transaction import NONCE_LENGTH, Task

_UNNUMBERED = 0

_FIXED: Final[Mapping[str, str]] = {
    "task.price": "price_micro",
    "task.runtime": "runtime_ms",
    "task.attempts": "attempts",
    "task.least-rankings": "least_rankings",
    "task.most-rankings": "most_rankings",
    "task.block-images": "block_images",
    "task.metric": "metric",
    "task.baseline": "baseline",
    "task.aggregation": "aggregation",
    "task.server": "server",
    "consensus.difficulty": "difficulty_micro",
    "payment.train": "train_micro",
    "payment.computation": "computation_micro",
    "payment.shapley": "shapley_micro",
    "payment.rule": "sap_rule",
}
"""Which field of a call a setting becomes."""


def fresh_nonce() -> str:
    """What no other call of anybody has."""
    return secrets.token_hex(NONCE_LENGTH // 2)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the clients' updates: the files that they are judged by and how, and from how many clients.

    `held` shows that who asks has the files [P-5.22].
    """

    model: Digest
    test: Digest
    frozen: Digest | None
    held: Digest
    images: int
    judged: Judged
    aggregation: str
    least_clients: int
    most_clients: int


@dataclass(frozen=True, slots=True)
class AskedTerms:
    """The settings in force, the FL server's address, and the payments' wanted precision if any.

    `difficulty_micro` replaces the settings' D (10⁻⁶ percentage points); `groups` are addresses of one owner each.
    """

    settings: Settings
    server: Address
    payment_error_micro: int | None = None
    difficulty_micro: int | None = None
    groups: tuple[tuple[Address, ...], ...] = ()

    @property
    def parts_micro(self) -> tuple[int, int, int]:
        """The price as (TrainPrice, ComPrice, SapPrice); they sum to it exactly."""
        train, computation, shapley = split(self.settings.task.price_micro, self.settings.payment.parts_micro)
        return train, computation, shapley

    def call(self, sender: Address, asked: Asked, nonce: str) -> Task:
        """The call of `sender`: everything that clients sign, as a task that still lacks their updates."""
        settings = self.settings
        train_micro, computation_micro, shapley_micro = self.parts_micro
        difficulty_micro = self.difficulty_micro
        if difficulty_micro is None:
            difficulty_micro = settings.consensus.difficulty_micro
        return Task(
            sender=sender,
            sequence=_UNNUMBERED,
            signature=UNSIGNED,
            server=self.server,
            nonce=nonce,
            model=asked.model,
            test=asked.test,
            least_clients=asked.least_clients,
            most_clients=asked.most_clients,
            baseline=asked.judged.baseline,
            frozen=asked.frozen,
            held=asked.held,
            groups=self.groups,
            updates=(),
            images=asked.images,
            block_images=settings.task.block_images,
            metric=asked.judged.metric,
            whole=asked.judged.whole,
            empty=asked.judged.empty,
            aggregation=asked.aggregation,
            price_micro=settings.task.price_micro,
            train_micro=train_micro,
            computation_micro=computation_micro,
            shapley_micro=shapley_micro,
            runtime_ms=settings.task.runtime_ms,
            difficulty_micro=difficulty_micro,
            least_rankings=settings.task.least_rankings,
            most_rankings=settings.task.most_rankings,
            payment_error_micro=self.payment_error_micro,
            attempts=settings.task.attempts,
            sap_rule=settings.payment.rule,
        )


def read_groups(texts: Sequence[str], names: Names) -> tuple[tuple[Address, ...], ...]:
    """Groups of clients of one owner each, as `alice,bob`; raises `FlagError`, and `NotFound` for a name."""
    groups = tuple(tuple(names.address(one.strip()) for one in text.split(",")) for text in texts)
    named = [address for group in groups for address in group]
    hint = "name the clients of one owner, each once: --group alice,bob"
    if any(len(group) < 2 for group in groups):
        raise FlagError("a group is two or more clients", where="--group", hint=hint)
    if len(set(named)) != len(named):
        raise FlagError("a client is in two groups, or twice in one", where="--group", hint=hint)
    return groups


def check_clients(groups: Sequence[Sequence[Address]], clients: Iterable[Address], names: Names) -> None:
    """Raise `FlagError` where a group names somebody who is no client of the round, or all are one owner."""
    among = set(clients)
    strangers = [address for group in groups for address in group if address not in among]
    if strangers:
        message, hint = f"{names.name(strangers[0])} is no client of this round", "leave it out of the group"
        raise FlagError(message, where="--group", hint=hint)
    if any(among <= set(group) for group in groups):
        message, hint = "all clients of this round are one owner", "values compare owners: two at least"
        raise FlagError(message, where="--group", hint=hint)


def check_unchanged(configuration: Configuration, asked: Task, signed: Task) -> None:
    """Raise `FlagError` where a flag asks for anything else than what the clients have signed."""
    for key, name in _FIXED.items():
        given = configuration.origin(key)
        if given.origin == "flag" and getattr(asked, name) != getattr(signed, name):
            message = f"the clients signed for other terms than {key} = {given.value}"
            hint = "leave it out, or ask them anew: fedcoin round call"
            raise FlagError(message, where=given.where, hint=hint)
