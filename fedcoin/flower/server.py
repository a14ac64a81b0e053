"""The server's side in Flower: a strategy that wraps another, notes what clients sign, and pays when training is done.

Training goes on as without it, whatever happens here: every failure is a line in the log and in `Earnings`.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from logging import getLogger
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp import strategy as strategies
from flwr.serverapp.strategy import FedAvg, Result, Strategy

from fedcoin.flower.client import arrays
from fedcoin.flower.earnings import Earnings
from fedcoin.settlements import Settlement
from fedcoin.workspaces import Number, Settings, Workspace, configured
from fedcoin_cli.application.federation.run import PaidRun, planned
from fedcoin_cli.application.federation.telling import INITIAL, RECORD, Told
from fedcoin_cli.application.workspace.workspace import REQUESTER
from fedcoin_cli.application.workspace.workspace import Workspace as Folder
from fedcoin_cli.learning.exchange.description import Model, described
from fedcoin_cli.learning.model.arrays import Array, images_and_labels
from ledger_store.base.errors import FedCoinError, RoundFilesInvalid, SettingsError, Unfinished

__all__ = ["Paid", "PaidResult"]

_LOG: Final = getLogger("flwr")
_WEIGH: Final = "num-examples"
_TREES: Final = ("FedXgbBagging", "FedXgbCyclic")
_OPTIMISERS: Final = (
    "FedOpt",
    "FedAvgM",
    "FedMedian",
    "FedTrimmedAvg",
    "Krum",
    "MultiKrum",
    "Bulyan",
    "QFedAvg",
    "DifferentialPrivacyClientSideFixedClipping",
    "DifferentialPrivacyServerSideFixedClipping",
    "DifferentialPrivacyClientSideAdaptiveClipping",
    "DifferentialPrivacyServerSideAdaptiveClipping",
)
_UNSIGNED: Final = ("task.copies", "task.inspect")
# How long a round waits for another task of who pays to end, and how often it looks.
_TURN_S, _AGAIN_S = 3600.0, 2.0
RUN, ROUND = "run", "round"
"""What `pay=` may be: one task for the whole run, or one a round."""


@dataclass(repr=False)
class PaidResult(Result):
    """Flower's result, and in `fedcoin` who earned what."""

    fedcoin: Earnings = field(default_factory=Earnings)


class Paid(Strategy):
    """A strategy that averages, with its clients paid by their Shapley values: `Paid(FedAvg(), workspace="shop", …)`.

    The wrapped strategy decides everything about training. A client is paid if it runs `fedcoin.flower.paid()` with a
    key. With `pay="run"` one task pays for the whole run: a client's update is the model that the run began with plus
    everything the client did, and nobody's worth is that model's. It is published when training is done. With
    `pay="round"` each round is a task, published while the next trains; there nobody is worth what the setting
    `task.baseline` says, 0 unless it is "chance".

    Nothing after the construction raises: who trains and is not paid, and a task that could not be published, are told
    in the log and in the result's `fedcoin`; the round's folder stays, with the command that goes on.

    Args:
        strategy: FedAvg, FedProx or one that averages like them.
        workspace: the folder of a FedCoin workspace.
        model: what the arrays are weights of, as `fedcoin.shapley` takes it.
        test: images and labels by which clients are judged; they travel to the miners.
        price: coins for a task; default: the setting `task.price`.
        pay: "run" or "round".
        metric: what models are judged by, as "roc_auc"; default: the setting `task.metric`.
        settings: further terms, as {"task.runtime": 5}.
        key: who pays, by the key's name.

    Raises:
        SettingsError: a strategy that does not average, or terms out of range.
        NoWorkspace: there is none.
        KeyFailure: there is no such key.
        InsufficientFunds: the price is above the balance, by the ledger here.
        RoundFilesInvalid: the model cannot be described, or the test set is not one of its.
    """

    def __init__(  # noqa: PLR0913 -- what a run may be paid by, by name
        self,
        strategy: Strategy,
        *,
        workspace: str | Path,
        model: Model,
        test: tuple[Array, Array],
        price: Number | None = None,
        pay: str = RUN,
        metric: str | None = None,
        settings: Settings | None = None,
        key: str = REQUESTER,
    ) -> None:
        if pay not in {RUN, ROUND}:
            raise SettingsError(f"pay={pay!r} is neither of {RUN!r} and {ROUND!r}", where="pay")
        _check_strategy(strategy)
        folder = Folder.find(Path(workspace))
        configuration = configured(
            folder.settings_file, settings, {"task.price": price, "task.metric": metric}
        )
        pair = images_and_labels(test)
        told = described(model, *pair)
        self._plan = planned(folder, configuration, key=key, model=told, test=pair, whole=pay == RUN)
        self._strategy, self._whole, self._key = strategy, pay == RUN, key
        self._workspace = Workspace(folder)
        # What the call does not fix is asked for once more when the round is published.
        self._unsigned = {name: word for name, word in (settings or {}).items() if name in _UNSIGNED}
        # The call under way, and what the run began with.
        self._run: PaidRun | None = None
        self._initial = ArrayRecord()
        self._problems: list[str] = []
        self._unpaid: dict[str, str] = {}
        self._tasks: list[tuple[Path, Future[Settlement]]] = []
        self._payer: ThreadPoolExecutor | None = None

    def start(self, *given: Any, **named: Any) -> PaidResult:
        """As `Strategy.start`, with the same arguments; returns its result and in `fedcoin` who earned what."""
        self._problems, self._unpaid, self._tasks = [], {}, []
        initial = named.get("initial_arrays", given[1] if len(given) > 1 else None)
        with ThreadPoolExecutor(1, "fedcoin") as self._payer:
            if self._whole and isinstance(initial, ArrayRecord):
                self._guarded(self._begin, initial)
            result = super().start(*given, **named)
            if self._whole:
                self._guarded(self._settle)
            earnings = self._earnings()
        self._payer = None
        for line in str(earnings).splitlines():
            _LOG.info("fedcoin: %s", line)
        return PaidResult(**vars(result), fedcoin=earnings)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As the wrapped strategy's, with what clients sign beside the arrays."""
        messages = list(self._strategy.configure_train(server_round, arrays, config, grid))
        if self._payer is None:
            self._problem("nobody is paid: another start runs the rounds; let Paid be the outermost strategy")
            return messages
        if not self._whole:
            self._guarded(self._begin, arrays)
        self._guarded(self._tell, messages, server_round)
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As the wrapped strategy's; what clients signed is noted before, and taken out of their replies."""
        received = list(replies)
        for reply in received:
            self._guarded(self._note, reply)
        if not self._whole:
            self._guarded(self._settle)
        return self._strategy.aggregate_train(server_round, received)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The wrapped strategy's."""
        return self._strategy.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """The wrapped strategy's."""
        return self._strategy.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        """The wrapped strategy's, and what is paid."""
        self._strategy.summary()
        task = self._plan.configuration.settings.task
        each = "the run" if self._whole else "each round"
        _LOG.info("\t└──> FedCoin: %s for %s, by %s", Decimal(task.price), each, task.metric)

    def _guarded(self, work: Callable[..., None], *given: object) -> None:
        """Do it, or say in a line why not: training goes on."""
        try:
            work(*given)
        except FedCoinError as error:
            self._problem(_line(error))
        # Paying must never end a training, not even by a fault of its own.
        except Exception as error:  # noqa: BLE001
            self._problem(f"a fault in fedcoin: {error!r}")

    def _problem(self, line: str) -> None:
        """Say it once, in whichever rounds it comes up."""
        if line not in self._problems:
            self._problems.append(line)
            _LOG.warning("fedcoin: %s", line)

    def _begin(self, initial: ArrayRecord) -> None:
        self._run, self._initial = None, initial
        self._run = PaidRun(self._plan, arrays(initial), _weigh(self._strategy))

    def _tell(self, messages: list[Message], server_round: int) -> None:
        if self._run is None:
            return
        # Messages that share one dictionary still do afterwards: it is sent once.
        shared: dict[int, list[Message]] = {}
        for message in messages:
            shared.setdefault(id(message.content), []).append(message)
        groups = list(shared.values())
        nodes = {str(message.metadata.dst_node_id) for message in messages}
        told = self._run.told(first=server_round == 1)
        late = {} if server_round == 1 else self._run.late(nodes)
        self._run.asked((list(map(_asked, group)), _sent(group[0])) for group in groups)
        for group in groups:
            said = _with(group[0].content, told, {})
            for message in group:
                own = late.get(_asked(message))
                beginning = {INITIAL: self._initial}
                message.content = said if own is None else _with(message.content, own, beginning)

    def _note(self, reply: Message) -> None:
        if reply.has_error() or self._run is None:
            return
        node = str(reply.metadata.src_node_id)
        record = reply.content.pop(RECORD, None)
        # Not `array_records`, which makes a dictionary of its own with every key checked.
        records = [one for one in reply.content.values() if isinstance(one, ArrayRecord)]
        returned = arrays(records[0]) if len(records) == 1 else {}
        answer = dict(record) if isinstance(record, ConfigRecord) else None
        reason = self._run.answered(node, returned, answer)
        if reason is not None:
            _LOG.warning("fedcoin: node %s trains on and is not paid: %s", node, reason)

    def _settle(self) -> None:
        run, self._run = self._run, None
        if run is None or self._payer is None:
            return
        try:
            run.gather()
        finally:
            self._unpaid |= run.unpaid
        self._tasks.append((run.folder, self._payer.submit(self._published, run)))

    def _published(self, run: PaidRun) -> Settlement:
        """What comes of a round, once no other task of who pays is under way, as another run's; raises as `publish`."""
        until_s = monotonic() + _TURN_S
        while True:
            try:
                return self._workspace.publish(run.folder, settings=self._unsigned, key=self._key)
            except Unfinished:
                if monotonic() >= until_s:
                    raise
                sleep(_AGAIN_S)
            except RoundFilesInvalid:
                if not run.leave_out_refused():
                    raise
                self._unpaid |= run.unpaid

    def _earnings(self) -> Earnings:
        """Wait for what was published."""
        settled, left = [], []
        for folder, job in self._tasks:
            try:
                settled.append(job.result())
            except FedCoinError as error:
                left.append(folder)
                self._problem(f"{_line(error)}; to go on: fedcoin publish {folder} -C {self._workspace.path}")
            except Exception as error:  # noqa: BLE001 -- as in _guarded
                left.append(folder)
                self._problem(f"a fault in fedcoin: {error!r}; to go on: fedcoin publish {folder}")
        return Earnings(tuple(settled), tuple(left), tuple(self._problems), dict(self._unpaid))


def _weigh(strategy: Strategy) -> str:
    """The metric by which a strategy weighs clients; those for differential privacy hold another that does it."""
    inner = getattr(strategy, "strategy", None)
    if not hasattr(strategy, "weighted_by_key") and isinstance(inner, Strategy):
        return _weigh(inner)
    return str(getattr(strategy, "weighted_by_key", _WEIGH))


def _asked(message: Message) -> str:
    return str(message.metadata.dst_node_id)


def _sent(message: Message) -> dict[str, Any]:
    """The arrays that a message takes to its node."""
    records = list(message.content.array_records.values())
    if len(records) != 1:
        hint = (
            "clients sign for one model: a strategy that sends more beside it, as SCAFFOLD, is not paid for"
        )
        raise RoundFilesInvalid(f"the strategy sends {len(records)} records of arrays, not one", hint=hint)
    return arrays(records[0])


def _with(content: RecordDict, told: Told, more: Mapping[str, ArrayRecord]) -> RecordDict:
    return RecordDict({**content, RECORD: ConfigRecord(told.record()), **more})


def _line(error: FedCoinError) -> str:
    where = f" ({error.where})" if error.where else ""
    hint = f"; {error.hint}" if error.hint else ""
    return f"{error.message}{where}{hint}"


def _check_strategy(strategy: object) -> None:
    """Refuse what does not average weights, and say where the mean of updates is not what the strategy makes."""
    if isinstance(strategy, type):
        name = strategy.__name__
        raise SettingsError(f"{name} is a class", where="strategy", hint=f"give a strategy: {name}()")
    name = type(strategy).__name__
    if any(base.__module__.startswith("flwr.server.") for base in type(strategy).__mro__):
        hint = f"from flwr.serverapp.strategy import {name}"
        raise SettingsError(f"{name} is one of Flower's older API", where="strategy", hint=hint)
    if not isinstance(strategy, Strategy) or isinstance(strategy, _known(_TREES)):
        hint = "FedAvg, FedProx, or a strategy that averages arrays like them"
        raise SettingsError(f"{name} does not average weights", where="strategy", hint=hint)
    if type(strategy).start is not Strategy.start:
        hint = "give the strategy without it: Paid has a start of its own"
        raise SettingsError(f"{name} has a start of its own", where="strategy", hint=hint)
    averages = isinstance(strategy, FedAvg) and type(strategy).aggregate_train is FedAvg.aggregate_train
    if isinstance(strategy, _known(_OPTIMISERS)) or not averages:
        _LOG.warning(
            "fedcoin: clients are valued by the average of their updates, %s makes another model", name
        )


def _known(names: Iterable[str]) -> tuple[type, ...]:
    """Those of Flower's strategies that this version has."""
    return tuple(found for name in names if isinstance(found := getattr(strategies, name, None), type))
