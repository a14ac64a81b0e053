"""What a requester asks for: settings and a round become the terms of a task, unsigned."""

from dataclasses import dataclass

from fedcoin_cli.application.rounds.files import Round
from fedcoin_cli.application.workspace.settings import Settings
from ledger_store.amount import split
from ledger_store.transaction import Task

_UNSIGNED = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A round, the settings in force, the FL server's address, and the payments' wanted precision if any.

    `difficulty_micro` replaces the settings' D (10⁻⁶ percentage points).
    """

    round: Round
    settings: Settings
    server: str
    payment_error_micro: int | None = None
    difficulty_micro: int | None = None

    @property
    def parts_micro(self) -> tuple[int, int, int]:
        """The price as (TrainPrice, ComPrice, SapPrice); they sum to it exactly."""
        train, computation, shapley = split(self.settings.task.price_micro, self.settings.payment.parts_micro)
        return train, computation, shapley

    def task(self, sender: str, sequence: int) -> Task:
        """The task that `sender` signs as its transaction number `sequence`."""
        files, settings = self.round, self.settings
        train_micro, computation_micro, shapley_micro = self.parts_micro
        difficulty_micro = self.difficulty_micro
        if difficulty_micro is None:
            difficulty_micro = settings.consensus.difficulty_micro
        return Task(
            sender=sender,
            sequence=sequence,
            signature=_UNSIGNED,
            server=self.server,
            nonce=files.nonce,
            model=files.model,
            test=files.test,
            proxy=files.proxy,
            baseline=None,
            updates=files.updates,
            images=files.images,
            empty=files.empty,
            aggregation=files.aggregation,
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
