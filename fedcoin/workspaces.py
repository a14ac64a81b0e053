"""A workspace from Python: founded or opened, rounds made of arrays, tasks published and followed, coins paid."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fedcoin.ledgers import Audit, audit, prove
from fedcoin.settlements import Settlement, coins, settlement_of
from fedcoin_cli.application.books.books import Books, ledgers
from fedcoin_cli.application.books.lookup import report_on, task_id
from fedcoin_cli.application.crew.local import crew_of, local_numbers, mining
from fedcoin_cli.application.founding.founding import local_founding
from fedcoin_cli.application.requester.difficulty import with_learnt_difficulty
from fedcoin_cli.application.requester.publication import Publication, wanted_of
from fedcoin_cli.application.requester.requester import Requester
from fedcoin_cli.application.requester.watch import Progress
from fedcoin_cli.application.rounds.inspecting import look_first
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.configuration import Configuration, Given, load
from fedcoin_cli.application.workspace.workspace import REQUESTER
from fedcoin_cli.application.workspace.workspace import Workspace as Folder
from ledger_store.base.amount import parse_micro
from ledger_store.base.errors import SettingsError
from ledger_store.identity.passphrase import Passphrase

if TYPE_CHECKING:
    from fedcoin_cli.learning.exchange.description import Model
    from fedcoin_cli.learning.model.arrays import Array, Update

__all__ = ["Progress", "Workspace"]

Number = int | float | str | Decimal
"""An amount or a time: a float is read as Python prints it."""
Settings = Mapping[str, object]
"""Settings by their names in settings.toml, as {"consensus.difficulty": 3}."""


class Workspace:
    """One folder that holds a network's settings, keys, local miners' ledgers and rounds: the program's own.

    `path` is the folder; `genesis` the network's id, which auditors and readers of proofs want to know.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.path = folder.root
        self.genesis = folder.genesis().id

    @classmethod
    def open(cls, path: str | Path | None = None, *, passphrase: str | None = None) -> Self:
        """Open a workspace.

        Args:
            path: its folder; default: the nearest one at or above the current folder.
            passphrase: opens sealed keys.

        Raises:
            NoWorkspace: there is none.
        """
        ask = None if passphrase is None else lambda: Passphrase.of(passphrase.encode(), "passphrase")
        return cls(Folder.find(None if path is None else Path(path), ask))

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        miners: int | None = None,
        clients: int | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Found a network of local miners in a folder that holds none yet, and open it.

        Args:
            path: where.
            miners: how many miners there are; default: the setting `network.miners`.
            clients: how many simulated clients get a key; others get theirs with their first round.
            settings: kept in the workspace's settings.toml, as {"network.port": 7600}.

        Raises:
            SettingsError: a setting is unknown or out of range, or there is a workspace already.
        """
        configuration = configured(None, settings, {"network.miners": miners, "task.clients": clients})
        local_founding(Path(path).resolve(), configuration, time.time_ns() // 10**6).make(force=False)
        return cls.open(path)

    def make_round(
        self,
        model: "Model",
        test: "tuple[Array, Array]",
        updates: "Sequence[Update]",
        *,
        examples: Sequence[int] | None = None,
        aggregation: str | None = None,
    ) -> Path:
        """Write updates of clients, simulated by whoever publishes, as the next round; returns its folder.

        The clients get a key each here and `publish` signs for them. Clients on hosts of their own sign for themselves
        (`fedcoin round call`, `fedcoin update sign`, `fedcoin round gather`); `publish` takes such a round, too.

        Args:
            model: as `shapley` takes it; it travels to the miners.
            test: images and labels, as `shapley` takes them; they travel to the miners.
            updates: each client's weights after training, as `shapley` takes them.
            examples: how many examples each client trained on; default: 1 each.
            aggregation: "mean", or "fedavg", which weights by examples; default: fedavg where examples are given.

        Raises:
            RoundFilesInvalid: what is wrong with model, test set or update; `where` names it.
        """
        # Here, because who pays or audits needs no NumPy.
        from fedcoin_cli.application.rounds.from_arrays import round_from_arrays

        return round_from_arrays(self._folder, model, test, updates, examples, aggregation)

    @contextmanager
    def mining(self, settings: Settings | None = None) -> Iterator[Self]:
        """The local miners run, as processes, while the block does: `with workspace.mining(): …`.

        Those that ran before are left running.

        Args:
            settings: for these miners only, as {"mining.estimator": "balanced"}.

        Raises:
            FedCoinError: what keeps a miner from starting.
        """
        configuration = self._configuration(settings)
        words = [f"{key}={value}" for key, value in (settings or {}).items()]
        numbers = local_numbers(self._folder)
        with mining(crew_of(self._folder, configuration.settings, numbers, assignments=words)):
            yield self

    def publish(  # noqa: PLR0913 -- what a task may be asked for, by name
        self,
        folder: str | Path | None = None,
        *,
        price: Number | None = None,
        runtime: Number | None = None,
        difficulty: Number | None = None,
        payment_error: Number | None = None,
        metric: str | None = None,
        baseline: str | Path | None = None,
        groups: Sequence[Sequence[str]] = (),
        settings: Settings | None = None,
        key: str = REQUESTER,
        progress: Callable[[Progress], None] | None = None,
    ) -> Settlement:
        """Publish a round, follow it to its end and return what came of it, from a certified block.

        Two clients that send the very same update are refused unless `settings` say {"task.copies": "allow"}.

        Args:
            folder: the round's; default: the newest.
            price: coins for the task, locked until it ends; default: the setting `task.price`.
            runtime: seconds to mine.
            difficulty: D, the greatest distance from the average in percentage points; "auto": learnt from the ledger.
            payment_error: stop mining once every payment is known to so many coins, at 95 percent.
            metric: what models are judged by, as "roc_auc"; default: the setting `task.metric`.
            baseline: what nobody is worth: "zero", "chance" or a file of weights; default: the setting `task.baseline`.
            groups: clients of one owner each, by name or address: together one client, whose coins go to the first.
            settings: further terms, as {"task.attempts": 1}.
            key: who pays, by the key's name.
            progress: called several times a second with how the task stands.

        Raises:
            ConsensusFailure: the task was refunded; `task` tells more.
            NetworkFailure: too few miners can be reached.
            InsufficientFunds: the price is above the balance.
            RoundFilesInvalid: the round's files are not what they should be.
            SettingsError: terms out of range, or other ones than real clients have signed.
        """
        wanted = self._wanted(
            folder,
            payment_error,
            settings,
            {
                "task.price": price,
                "task.runtime": runtime,
                "consensus.difficulty": difficulty,
                "task.metric": metric,
                "task.baseline": baseline,
            },
            [",".join(group) for group in groups],
        )
        look_first(wanted.round, self._configuration(settings).settings.task, wanted.groups)
        payer = self._folder.key(key)
        with Requester(self._folder, payer, progress or (lambda _: None)) as requester:
            published = requester.publish(wanted)
        published.check()
        return settlement_of(published.report, Names.of(self._folder))

    def tasks(self) -> tuple[str, ...]:
        """The ids of all tasks on the ledger, oldest first."""
        with Books.open(self._folder) as books:
            return tuple(books.history)

    def task(self, name: str) -> Settlement:
        """What the ledger here tells of a task, by its id or the beginning of it; raises `NotFound`."""
        with Books.open(self._folder) as books:
            record = books.history[task_id(books.history, name)]
            return settlement_of(report_on(books, record), Names.of(self._folder))

    def pay(self, to: str, amount: Number, *, key: str = REQUESTER) -> str:
        """Pay coins to another account and wait until that is final; returns the transaction's id.

        Args:
            to: a key's name or an address.
            amount: coins, with at most six decimals.
            key: who pays, by the key's name.

        Raises:
            InsufficientFunds: the balance does not cover it.
            NetworkFailure: too few miners can be reached.
        """
        receiver, micro = Names.of(self._folder).address(to), parse_micro(_text(amount))
        with Requester(self._folder, self._folder.key(key)) as requester:
            return requester.pay(receiver, micro).transaction

    def balance(self, who: str = REQUESTER) -> Decimal:
        """What an account holds by the ledger here, in coins; by a key's name or an address."""
        with Books.open(self._folder) as books:
            address = Names.of(self._folder).address(who, books.state.balances)
            return coins(books.state.balances.get(address, 0))

    def audit(self, *, level: int = 3, **deeper: Any) -> Audit:
        """Audit the longest ledger here, as `fedcoin.audit`, against this workspace's own genesis."""
        return audit(ledgers(self._folder)[0], level=level, genesis=self.genesis, **deeper)

    def prove(self, what: str) -> bytes:
        """A proof of a payment or of what a task came to, as `fedcoin.prove`."""
        return prove(ledgers(self._folder)[0], what)

    def _wanted(
        self,
        folder: str | Path | None,
        error: Number | None,
        settings: Settings | None,
        terms: Mapping[str, Number | Path | None],
        groups: Sequence[str],
    ) -> Publication:
        learning = terms["consensus.difficulty"] == "auto"
        configuration = self._configuration(
            settings, {**terms, "consensus.difficulty": None} if learning else terms
        )
        place = self._folder.latest_round() if folder is None else Path(folder)
        error_micro = None if error is None else parse_micro(_text(error), "payment_error")
        wanted = wanted_of(self._folder, place, configuration, error_micro, groups)
        if not learning:
            return wanted
        if wanted.called:
            raise SettingsError("the clients have signed for a D", where="difficulty", hint="leave it out")
        learnt, _ = with_learnt_difficulty(self._folder, wanted.terms, len(wanted.round.updates))
        return replace(wanted, terms=learnt)

    def _configuration(
        self, settings: Settings | None, named: Mapping[str, object] | None = None
    ) -> Configuration:
        return configured(self._folder.settings_file, settings, named or {})

    def __repr__(self) -> str:
        return f"Workspace({str(self.path)!r})"


def configured(file: Path | None, settings: Settings | None, named: Mapping[str, object]) -> Configuration:
    """The settings in force with those of a call above them; raises `SettingsError`."""
    given = {
        key: Given(_text(value), "flag", f"settings[{key!r}]") for key, value in (settings or {}).items()
    }
    for key, value in named.items():
        if value is not None:
            where = f"{key.split('.')[1].replace('-', '_')}="
            if not isinstance(value, str | Path | int | float | Decimal):
                hint = "give a number or a word, or the path of a file that holds it"
                raise SettingsError(
                    f"{type(value).__name__} is no value of a setting", where=where, hint=hint
                )
            given[key] = Given(_text(value), "flag", where)
    return load(file, given)


def _text(value: object) -> str:
    """A number as settings and amounts are written: no exponent, however small."""
    return f"{Decimal(str(value)):f}" if isinstance(value, float) else str(value)
