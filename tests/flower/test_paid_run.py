"""A federation of Flower's is paid: the real ClientApp and strategy over a Grid of ten lines, real miners, no Ray."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from math import comb
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'fedcoin[flower]'")

from flowers import Loop, begun, client_app, data
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp.mod import adaptiveclipping_mod, fixedclipping_mod
from flwr.server.strategy import FedAvg as OldFedAvg
from flwr.serverapp import strategy as strategies
from flwr.serverapp.strategy import FedAdam, FedAvg
from safetensors.numpy import load_file
from shell import fedcoin as program
from toys import MODEL, SHAPES, logits

import fedcoin
from benchmarks.network import free_ports
from fedcoin.flower import Paid, PaidResult, paid
from fedcoin_cli.application.federation.agent import SigningAgent
from fedcoin_cli.application.rounds.files import BASELINE_NAME
from fedcoin_cli.application.rounds.writing import client_key
from fedcoin_cli.application.workspace.workspace import Workspace as Folder

TEST = data(0, 100)
PRICE, ROUNDS = 100, 3
NODES = {10 * number: {"partition-id": number - 1} for number in (1, 2, 3, 4)}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fedcoin.Workspace]:
    """A network of two miners."""
    root = tmp_path_factory.mktemp("flower") / "shop"
    settings = {"network.port": free_ports(4), "task.runtime": 1}
    workspace = fedcoin.Workspace.create(root, miners=2, settings=settings)
    with workspace.mining():
        yield workspace


def strategy(shop: fedcoin.Workspace, inner: Any = None, **terms: Any) -> Paid:
    return Paid(inner or FedAvg(), workspace=shop.path, model=MODEL, test=TEST, **{"price": PRICE, **terms})


def loop(shop: fedcoin.Workspace, fails: Callable[[int, int], bool] = lambda *_: False) -> Loop:
    return Loop(client_app([paid(simulated=shop.path)], fails), dict(NODES))


def right(weights: list[Any]) -> int:
    return int((logits(TEST[0], weights).argmax(axis=1) == TEST[1]).sum())


def by_definition(updates: list[list[Any]], examples: list[int], nobody: list[Any]) -> list[Fraction]:
    """Values in percentage points: all coalitions averaged by examples; nobody's is what the run began with."""
    clients = range(len(updates))
    worth: dict[tuple[int, ...], int] = {(): right(nobody)}
    for some in (one for size in range(1, len(updates) + 1) for one in combinations(clients, size)):
        shares = [examples[one] for one in some]
        worth[some] = right(
            [np.average([updates[one][place] for one in some], 0, shares) for place in range(len(SHAPES))]
        )
    return [
        sum(
            (
                Fraction(
                    100 * (worth[tuple(sorted((*s, one)))] - worth[s]),
                    len(updates) * comb(len(updates) - 1, len(s)),
                )
                for s in worth
                if one not in s
            ),
            Fraction(),
        )
        / len(TEST[1])
        for one in clients
    ]


def check(result: PaidResult, updates: dict[int, list[Any]], first: Any = None) -> None:
    """One task was settled, of these nodes, by the definition for their updates of what the run began with."""
    (settled,) = result.fedcoin.settlements
    nodes = nodes_of(settled)
    assert sorted(nodes) == sorted(updates)
    assert list(settled.values) == by_definition([updates[node] for node in nodes], nodes, first or begun())


def nodes_of(settled: fedcoin.Settlement) -> list[int]:
    """The nodes of a task's clients; a node's number is also how many examples it has."""
    return [10 * int(name.removeprefix("client-")) for name in settled.clients]


class Watched(Loop):
    """Notes what every node got and returned; `loses` says which replies never arrive."""

    def __init__(self, *given: Any, loses: Callable[[int, int], bool] = lambda *_: False) -> None:
        super().__init__(*given)
        self.loses, self.updates, self.sent = loses, dict[int, list[Any]](), list[tuple[int, set[str]]]()

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> list[Message]:
        replies = []
        for message in messages:
            node, content = message.metadata.dst_node_id, message.content
            self.sent.append((node, set(content)))
            got = content["arrays"].to_numpy_ndarrays()
            round_ = int(content["config"]["server-round"])
            reply = self._handed(message)
            if message.metadata.message_type != "train":
                replies.append(reply)
            elif not self.loses(node, round_):
                replies.append(reply)
                if not reply.has_error():
                    after = reply.content["arrays"].to_numpy_ndarrays()
                    before = self.updates.get(node, begun())
                    self.updates[node] = [u + (a - g) for u, a, g in zip(before, after, got, strict=True)]
        return replies


def watched(shop: fedcoin.Workspace, fails: Any = lambda *_: False, loses: Any = lambda *_: False) -> Watched:
    return Watched(client_app([paid(simulated=shop.path)], fails), dict(NODES), loses=loses)


def test_a_run_is_one_task_and_everybody_is_paid_by_definition(shop: fedcoin.Workspace) -> None:
    """Values are those of the definition for w0 + everything a client did, beside w0; the ledger's audit agrees."""
    grid = watched(shop)
    result = strategy(shop).start(grid, ArrayRecord(begun()), num_rounds=ROUNDS)
    (settled,) = result.fedcoin.settlements
    nodes = nodes_of(settled)
    assert sorted(nodes) == list(NODES)
    wanted = by_definition([grid.updates[node] for node in nodes], nodes, begun())
    assert list(settled.values) == wanted
    assert any(wanted)
    assert result.fedcoin.payments == dict(zip(settled.clients, settled.payments, strict=True))
    assert sum(settled.payments) == Decimal(70)
    assert result.fedcoin.task == settled.task
    assert f"task {settled.task}" in str(result.fedcoin)
    # With everybody there in every round, the model of all is the run's own.
    assert settled.together == f"{right(result.arrays.to_numpy_ndarrays())}.00% accuracy"
    found = shop.audit(level=4, sample=None)
    assert found.check().level == 4
    assert not result.fedcoin.folders
    assert not result.fedcoin.problems


def test_training_is_what_it_is_without_it(shop: fedcoin.Workspace) -> None:
    """Arrays and metrics are those of the bare strategy, to the last bit."""
    random.seed(1)  # of which Flower draws the order of its nodes, and sums in that
    bare = FedAvg().start(loop(shop), ArrayRecord(begun()), num_rounds=2)
    random.seed(1)
    given = strategy(shop).start(loop(shop), ArrayRecord(begun()), num_rounds=2)
    for one, other in zip(bare.arrays.to_numpy_ndarrays(), given.arrays.to_numpy_ndarrays(), strict=True):
        assert np.array_equal(one, other)
    assert bare.train_metrics_clientapp == given.train_metrics_clientapp
    assert bare.evaluate_metrics_clientapp == given.evaluate_metrics_clientapp


def test_dropouts_late_joiners_and_lost_answers(shop: fedcoin.Workspace) -> None:
    """What a client did until it fell counts, also who comes late, and a lost answer counts for nobody."""
    grid = watched(
        shop,
        fails=lambda node, round_: (node == 10 and round_ > 1) or (node == 20 and round_ < 3),
        loses=lambda node, round_: (node, round_) in {(30, 2), (40, 1), (30, 4)},
    )
    result = strategy(shop).start(grid, ArrayRecord(begun()), num_rounds=5)
    check(result, grid.updates)
    assert not result.fedcoin.unpaid
    late = sorted(node for node, names in grid.sent if "fedcoin-initial" in names)
    assert late == [20, 20, 40]  # the initial weights go to whoever is not known to have them, and once


def test_an_agent_that_comes_up_in_round_2(shop: fedcoin.Workspace, tmp_path: Path) -> None:
    """What its client does from then on is paid, what it did before is not; nothing is sent to it twice."""
    folder, socket = Folder.find(shop.path), tmp_path / "late.sock"
    nodes = {**NODES, 40: {"partition-id": 3, "fedcoin-signer": str(socket)}}
    grid = Watched(client_app([paid(simulated=shop.path)]), nodes)
    with ExitStack() as stack:

        def starts(server_round: int, _arrays: ArrayRecord) -> None:
            if server_round == 1:
                grid.updates.pop(40)
                key, log = client_key(folder, 4), tmp_path / "late.jsonl"
                agent = stack.enter_context(SigningAgent(key, folder.genesis(), socket, log))
                serving = Thread(target=agent.run)
                serving.start()
                stack.callback(serving.join)
                stack.callback(agent.stop)

        result = strategy(shop).start(grid, ArrayRecord(begun()), num_rounds=3, evaluate_fn=starts)
    check(result, grid.updates)
    assert not any("fedcoin-initial" in names for _, names in grid.sent)


class Restarted(Watched):
    """A SuperNode that keeps its id, since it is registered, and is started anew before round `again`."""

    def __init__(self, *given: Any, again: int) -> None:
        super().__init__(*given)
        self.again, self.first = again, list[Any]()

    def _handed(self, message: Message) -> Message:
        round_ = int(message.content["config"]["server-round"])
        if message.metadata.dst_node_id == 40 and message.metadata.message_type == "train":
            if round_ == self.again:
                self.contexts[40].state = RecordDict()
                self.first = self.updates.pop(40)
            if round_ == self.again + 1:
                self.updates.pop(40)
        return super()._handed(message)


@pytest.mark.parametrize("again", [2, 3])
def test_a_node_that_is_started_anew_and_keeps_its_id(shop: fedcoin.Workspace, again: int) -> None:
    """It says that it forgot, is told anew, and goes on; of its two updates the one of more rounds counts."""
    grid = Restarted(client_app([paid(simulated=shop.path)]), dict(NODES), again=again)
    result = strategy(shop).start(grid, ArrayRecord(begun()), num_rounds=4)
    check(result, grid.updates if again == 2 else {**grid.updates, 40: grid.first})
    assert [node for node, names in grid.sent if "fedcoin-initial" in names] == [40]
    assert not result.fedcoin.unpaid


def test_a_client_that_returns_other_weights_than_it_signed(shop: fedcoin.Workspace) -> None:
    """It trains on and is not paid, told once with its node; the others are."""

    def tamper(message: Message, context: Context, call_next: Any) -> Message:
        reply = call_next(message, context)
        if context.node_id == 30 and message.metadata.message_type == "train":
            altered = [2 * one for one in reply.content["arrays"].to_numpy_ndarrays()]
            reply.content["arrays"] = ArrayRecord(altered)
        return reply

    grid = Loop(client_app([tamper, paid(simulated=shop.path)]), dict(NODES))
    result = strategy(shop).start(grid, ArrayRecord(begun()), num_rounds=2)
    assert result.fedcoin.unpaid == {"30": "it signed for other weights than it returned"}
    assert "client-003" not in result.fedcoin.payments
    assert len(result.fedcoin.payments) == 3
    assert len(result.train_metrics_clientapp) == 2


@pytest.mark.parametrize("signing", [0, 1])
def test_fewer_than_two_signers(shop: fedcoin.Workspace, signing: int) -> None:
    """Nobody is paid, said in one line; training is done and no task is on the ledger."""
    before = shop.tasks()
    half: dict[str, Any] = {"fedcoin-key": "ben"}
    nodes = {node: one | (half if node > 10 * signing else {}) for node, one in NODES.items()}
    app = client_app([paid(simulated=shop.path)])
    result = strategy(shop).start(Loop(app, nodes), ArrayRecord(begun()), num_rounds=2)
    assert len(result.train_metrics_clientapp) == 2
    (line,) = result.fedcoin.problems
    assert line.startswith(f"{signing} of its clients signed, and a value compares two: nobody is paid")
    assert shop.tasks() == before
    assert len(result.fedcoin.unpaid) == 4 - signing
    assert "needs both fedcoin-workspace and fedcoin-key" in next(iter(result.fedcoin.unpaid.values()))


def test_a_task_a_round(shop: fedcoin.Workspace) -> None:
    """With pay="round" every round is a task, in which nobody is worth 0 and an update is what was returned."""
    result = strategy(shop, pay="round", price=10).start(loop(shop), ArrayRecord(begun()), num_rounds=2)
    assert len(result.fedcoin.settlements) == 2
    assert {one.nobody for one in result.fedcoin.settlements} == {"0.00% accuracy"}
    last = result.fedcoin.settlements[-1]
    assert last.together == f"{right(result.arrays.to_numpy_ndarrays())}.00% accuracy"
    assert sum(result.fedcoin.payments.values()) == 14
    shop.audit(level=4, sample=None).check()


def test_a_task_a_round_against_chance(shop: fedcoin.Workspace) -> None:
    """What nobody is worth may be asked for there: by the frequencies of the labels."""
    terms = {"pay": "round", "price": 10, "settings": {"task.baseline": "chance"}}
    result = strategy(shop, **terms).start(loop(shop), ArrayRecord(begun()), num_rounds=1)
    (settled,) = result.fedcoin.settlements
    assert settled.nobody == f"{np.bincount(TEST[1]).max()}.00% accuracy"


def test_miners_that_are_down_end_no_training(tmp_path: Path) -> None:
    """Without a network the run ends as ever; its folder stays, and the command that it names pays later."""
    root = tmp_path / "shop"
    own = fedcoin.Workspace.create(
        root, miners=2, settings={"network.port": free_ports(4), "task.runtime": 1}
    )
    result = strategy(own).start(loop(own), ArrayRecord(begun()), num_rounds=2)
    assert len(result.train_metrics_clientapp) == 2
    (folder,), (line,) = result.fedcoin.folders, result.fedcoin.problems
    assert line.endswith(f"to go on: fedcoin publish {folder} -C {root}")
    with own.mining():
        said = program(*line.rpartition("fedcoin ")[2].split(), "--json", folder=tmp_path)
    assert said.code == 0, said.err
    assert said.json["state"] == "SETTLED"


def test_a_run_that_is_killed_leaves_what_can_be_gathered(tmp_path: Path) -> None:
    """State is written each round: what clients signed before the server died is gathered by the program."""
    root = tmp_path / "shop"
    own = fedcoin.Workspace.create(root, miners=2, settings={"network.port": free_ports(4)})

    def dies(server_round: int, _arrays: ArrayRecord) -> None:
        if server_round == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        strategy(own).start(loop(own), ArrayRecord(begun()), num_rounds=3, evaluate_fn=dies)
    folder = root / "rounds" / "1"
    assert program("round", "gather", str(folder / "updates"), folder=root).code == 0
    made = json.loads((folder / "round.json").read_text())
    assert len(made["updates"]) == 4
    first = [load_file(folder / BASELINE_NAME)[f"{place:03d}"] for place in range(4)]
    assert all(np.array_equal(one, other) for one, other in zip(first, begun(), strict=True))


def test_what_does_not_average_is_refused_or_warned_of(shop: fedcoin.Workspace, caplog: Any) -> None:
    """Trees have no average; a server optimiser makes another model than the mean, and that is said."""
    from flwr.serverapp.strategy import FedXgbBagging

    with pytest.raises(fedcoin.FedCoinError, match="FedXgbBagging does not average weights"):
        strategy(shop, FedXgbBagging())
    strategy(shop, FedAdam())
    assert "FedAdam makes another model" in caplog.text


def half(message: Message, context: Context, call_next: Any) -> Message:
    """A ClientApp that sends half of the bits."""
    reply = call_next(message, context)
    if message.metadata.message_type == "train":
        arrays = reply.content["arrays"].to_numpy_ndarrays()
        reply.content["arrays"] = ArrayRecord([one.astype(np.float16) for one in arrays])
    return reply


def renamed(message: Message, context: Context, call_next: Any) -> Message:
    """A ClientApp that counts its examples by another name."""
    reply = call_next(message, context)
    if message.metadata.message_type == "train":
        count = reply.content["metrics"]["num-examples"]
        reply.content["metrics"] = MetricRecord({"samples": count})
    return reply


NODES_ALL = {"min_train_nodes": len(NODES), "fraction_evaluate": 0.0}
ORDINARY: dict[str, tuple[Any, list[Any], bool]] = {
    "FedProx": (lambda: strategies.FedProx(proximal_mu=0.1), [], True),
    "FedYogi": (strategies.FedYogi, [], False),
    "clipped by the clients": (
        lambda: strategies.DifferentialPrivacyClientSideFixedClipping(FedAvg(**NODES_ALL), 0.01, 0.5, 4),
        [fixedclipping_mod],
        False,
    ),
    "clipped by the clients, by what they say": (
        lambda: strategies.DifferentialPrivacyClientSideAdaptiveClipping(FedAvg(**NODES_ALL), 0.01, 4),
        [adaptiveclipping_mod],
        False,
    ),
    "another name for examples, within a wrapper": (
        lambda: strategies.DifferentialPrivacyServerSideFixedClipping(
            FedAvg(weighted_by_key="samples", **NODES_ALL), 0.01, 0.5, 4
        ),
        [renamed],
        False,
    ),
    "half precision": (FedAvg, [half], True),
    "some nodes a round": (lambda: FedAvg(fraction_train=0.5), [], True),
}


@pytest.mark.parametrize("case", ORDINARY)
def test_what_federations_run(shop: fedcoin.Workspace, caplog: Any, case: str) -> None:
    """Other strategies and mods of Flower's: values are of what left the hosts, with a warning where it is no mean."""
    make, mods, averages = ORDINARY[case]
    random.seed(4)  # by which Flower draws its nodes
    grid = Watched(client_app([paid(simulated=shop.path), *mods]), dict(NODES))
    result = strategy(shop, make()).start(grid, ArrayRecord(begun()), num_rounds=3)
    check(result, grid.updates)
    assert not result.fedcoin.unpaid
    assert ("makes another model" in caplog.text) != averages


def test_a_run_that_goes_on_from_another(shop: fedcoin.Workspace) -> None:
    """A second run on the same hosts pays for what is added to the first one's model, and for nothing twice."""
    grid = watched(shop)
    first = strategy(shop).start(grid, ArrayRecord(begun()), num_rounds=1)
    check(first, grid.updates)
    reached = first.arrays.to_numpy_ndarrays()
    grid.updates = dict.fromkeys(NODES, reached)
    second = strategy(shop).start(grid, first.arrays, num_rounds=2)
    check(second, grid.updates, reached)


def test_two_runs_at_once_of_one_payer(shop: fedcoin.Workspace) -> None:
    """An account has one unfinished task at a time: who comes second waits, and is paid."""
    grids, results = [watched(shop), watched(shop)], dict[int, PaidResult]()

    def runs(number: int) -> None:
        terms = {"settings": {"task.runtime": 3}}
        paying = strategy(shop, **terms)
        results[number] = paying.start(grids[number], ArrayRecord(begun()), num_rounds=1)

    running = [Thread(target=runs, args=(number,)) for number in range(len(grids))]
    for one in running:
        one.start()
    for one in running:
        one.join()
    for number, grid in enumerate(grids):
        check(results[number], grid.updates)


@pytest.mark.parametrize("pay", ["run", "round"])
def test_rounds_that_another_start_runs(shop: fedcoin.Workspace, caplog: Any, pay: str) -> None:
    """A strategy around `Paid` has a start of its own: nobody is paid, which is said once, and nothing is left over."""
    before = sorted((shop.path / "rounds").iterdir())
    around = strategies.DifferentialPrivacyServerSideFixedClipping(strategy(shop, pay=pay), 0.01, 0.5, 4)
    result = around.start(loop(shop), ArrayRecord(begun()), num_rounds=2)
    assert len(result.train_metrics_clientapp) == 2
    assert caplog.text.count("let Paid be the outermost strategy") == 1
    assert sorted((shop.path / "rounds").iterdir()) == before


class Starts(FedAvg):
    """A strategy that runs rounds in its own way."""

    def start(self, *_: Any, **__: Any) -> Any: ...


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": "{}"}, "only Keras' own layers|model"),
    "a model of other images": ({"model": fedcoin.mlp(9, [4], 3)}, "images are"),
    "no such key": ({"key": "nobody"}, "no such key"),
    "a price above the balance": ({"price": 5_000_000}, "the price is 5000000.0"),
    "no such metric": ({"metric": "beauty"}, "beauty"),
    "a metric of two classes": ({"metric": "roc_auc"}, "roc_auc"),
    "terms out of range": ({"settings": {"task.runtime": 86_000}}, "task.runtime"),
    "no such way to pay": ({"pay": "hour"}, "neither of"),
    "no workspace": ({"workspace": "/nowhere"}, "no FedCoin workspace"),
    "a baseline": ({"settings": {"task.baseline": "chance"}}, "task.baseline is not asked for here"),
    "no such setting": ({"settings": {"task.luck": 1}}, "luck"),
    "a class": ({"strategy": FedAvg}, "FedAvg is a class"),
    "no pair of arrays": ({"test": TEST[0]}, r"no pair of arrays\ntest\nhint: \(images, labels\)"),
    "no strategy": ({"strategy": object()}, "does not average weights"),
    "Flower's older API": (
        {"strategy": OldFedAvg()},
        "older API\nstrategy\nhint: from flwr.serverapp.strategy",
    ),
    "a start of its own": ({"strategy": Starts()}, "Starts has a start of its own"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_paid_is_refused_at_construction(shop: fedcoin.Workspace, case: str) -> None:
    """Before anybody trains, as an error that says where and, mostly, what to do."""
    spoilt, words = REFUSED[case]
    given: dict[str, Any] = {
        "workspace": shop.path,
        "model": MODEL,
        "test": TEST,
        "price": 1,
        "strategy": FedAvg(),
    }
    given |= spoilt
    with pytest.raises(fedcoin.FedCoinError, match=words):
        Paid(given.pop("strategy"), **given)


def spoils(message: Message, context: Context, call_next: Any) -> Message:
    """A ClientApp whose metrics or weights are no client's: half an example, a training that diverged."""
    reply = call_next(message, context)
    if "half" in context.node_config:
        reply.content["metrics"]["num-examples"] = 2.5
    if how := context.node_config.get("diverged"):
        reply.content["arrays"] = ArrayRecord([np.full(shape, np.inf, str(how)) for shape in SHAPES])
    return reply


def test_hosts_that_cannot_sign(shop: fedcoin.Workspace, tmp_path: Path) -> None:
    """Whatever keeps a host from signing is told with its node; it trains on, and the others are paid."""
    other = fedcoin.Workspace.create(tmp_path / "other", miners=1, clients=2)
    own = {"fedcoin-workspace": str(shop.path)}
    hosts: dict[str, dict[str, Any]] = {
        "names no key": {},
        "needs both fedcoin-workspace and fedcoin-key": own,
        "no FedCoin workspace": {"fedcoin-workspace": "/nowhere", "fedcoin-key": "client-001"},
        "no such key": {**own, "fedcoin-key": "nobody"},
        "for another network": {"fedcoin-workspace": str(other.path), "fedcoin-key": "client-001"},
        "no signer answers": {"fedcoin-signer": str(tmp_path / "none.sock")},
        "no whole number 'num-examples'": {**own, "fedcoin-key": "client-003", "half": 1},
        "not finite": {**own, "fedcoin-key": "client-004", "diverged": "float32"},
        "not finite or beyond": {**own, "fedcoin-key": "client-004", "diverged": "float16"},
    }
    good = [{**own, "fedcoin-key": f"client-00{part + 1}", "partition-id": part} for part in (0, 1)]
    configs = [*good, *({**config, "partition-id": 1} for config in hosts.values())]
    app = client_app([paid(), spoils])
    grid = Loop(app, dict(enumerate(configs, 1)))
    result = strategy(shop).start(grid, ArrayRecord(begun()), num_rounds=1)
    assert len(result.train_metrics_clientapp) == 1
    assert set(result.fedcoin.payments) == {"client-001", "client-002"}
    for node, words in enumerate(hosts, 3):
        assert words in result.fedcoin.unpaid[str(node)]
    assert len(result.fedcoin.unpaid) == len(hosts)


def leaps(message: Message, context: Context, call_next: Any) -> Message:
    """A ClientApp that returns weights of which each is allowed, and a model of them is not."""
    reply = call_next(message, context)
    if message.metadata.message_type == "train" and context.node_id == 40:
        reply.content["arrays"] = ArrayRecord([np.full(shape, 9e5, np.float32) for shape in SHAPES])
    return reply


def rests(message: Message, context: Context, call_next: Any) -> Message:
    """A ClientApp of which three nodes return what they got."""
    if message.metadata.message_type == "train" and context.node_id > 10:
        metrics = MetricRecord({"num-examples": context.node_id, "loss": 0.0})
        return Message(
            RecordDict({"arrays": message.content["arrays"], "metrics": metrics}), reply_to=message
        )
    return call_next(message, context)


def test_one_client_cannot_have_all_the_others_unpaid(shop: fedcoin.Workspace) -> None:
    """A round with an update that miners refuse would be refused as a whole: it is published without that client."""
    grid = Watched(client_app([paid(simulated=shop.path), leaps]), dict(NODES))
    # By the median training survives such a client.
    result = strategy(shop, strategies.FedMedian()).start(grid, ArrayRecord(begun()), num_rounds=2)
    grid.updates.pop(40)
    check(result, grid.updates)
    assert not result.fedcoin.problems
    assert set(result.fedcoin.unpaid) == {"40"}
    assert "makes rounding matter" in result.fedcoin.unpaid["40"]


def test_nodes_that_return_the_very_same(shop: fedcoin.Workspace) -> None:
    """Copies are not paid twice, and do not keep the others from being paid: whoever signed first stays."""
    grid = Watched(client_app([paid(simulated=shop.path), rests]), dict(NODES))
    result = strategy(shop).start(grid, ArrayRecord(begun()), num_rounds=2)
    (settled,) = result.fedcoin.settlements
    first, second = sorted(nodes_of(settled))
    assert first == 10
    check(result, {node: grid.updates[node] for node in (first, second)})
    assert set(map(int, result.fedcoin.unpaid)) == set(NODES) - {first, second}
    assert all("very same" in reason for reason in result.fedcoin.unpaid.values())
    allowed = strategy(shop, settings={"task.copies": "allow"})
    result = allowed.start(
        Watched(client_app([paid(simulated=shop.path), rests]), dict(NODES)),
        ArrayRecord(begun()),
        num_rounds=1,
    )
    assert len(result.fedcoin.payments) == len(NODES)


def test_nodes_that_all_return_the_very_same(shop: fedcoin.Workspace) -> None:
    """Then nothing was learnt: nobody is paid, in one line, and the round is left as it was."""

    def rest(message: Message, _context: Context, _next: Any) -> Message:
        metrics = MetricRecord({"num-examples": 1, "loss": 0.0})
        content = RecordDict({**message.content.array_records, "metrics": metrics})
        return Message(content, reply_to=message)

    grid = Loop(client_app([paid(simulated=shop.path), rest]), dict(NODES))
    result = strategy(shop, FedAvg(fraction_evaluate=0.0)).start(grid, ArrayRecord(begun()), num_rounds=2)
    (line,) = result.fedcoin.problems
    assert line.startswith("1 of its clients would be left, and the round asks for 2: nobody is paid")
    assert not result.fedcoin.settlements


def test_a_strategy_that_sends_more_than_a_model(shop: fedcoin.Workspace) -> None:
    """Told once, however many rounds there are, and nobody is asked to sign."""

    class Two(FedAvg):
        def configure_train(self, *given: Any) -> list[Message]:
            messages = list(super().configure_train(*given))
            for message in messages:
                message.content["control"] = ArrayRecord([np.zeros(2, np.float32)])
            return messages

    result = strategy(shop, Two()).start(loop(shop), ArrayRecord(begun()), num_rounds=2)
    assert len(result.train_metrics_clientapp) == 2
    assert [line.split(";")[0] for line in result.fedcoin.problems] == [
        "the strategy sends 2 records of arrays, not one",
        "0 of its clients signed, and a value compares two: nobody is paid",
    ]


def test_arrays_that_are_not_the_models(shop: fedcoin.Workspace) -> None:
    """Initial arrays of another model: told in a line in the first round, training goes on."""
    others = [np.zeros(3, np.float32)]

    class Echo(Loop):
        def _handed(self, message: Message) -> Message:
            from flwr.app import MetricRecord, RecordDict

            content = RecordDict({"metrics": MetricRecord({"num-examples": 1})})
            if message.metadata.message_type == "train":
                content["arrays"] = message.content["arrays"]
            return Message(content, reply_to=message)

    result = strategy(shop).start(Echo(client_app([]), dict(NODES)), ArrayRecord(others), num_rounds=2)
    assert [one.shape for one in result.arrays.to_numpy_ndarrays()] == [(3,)]
    (line,) = result.fedcoin.problems
    assert line.startswith("1 arrays, the model has 4")
    assert not result.fedcoin.settlements
