"""A real network of two miners that judge by other metrics than accuracy, from Python and by the program."""

from collections.abc import Iterator

import numpy as np
import pytest
from live import processes_in, wait_until
from shell import fedcoin as program

import fedcoin
from benchmarks.network import free_ports

CLIENTS, PRICE = 3, 100
SIGNS = 4


def arrays() -> tuple[tuple[np.ndarray, np.ndarray], list[list[np.ndarray]]]:
    """A test set of two labels, the second rare, and linear models that know the labels more or less well."""
    rng = np.random.default_rng(4)
    truth = rng.standard_normal(SIGNS)
    images = rng.standard_normal((200, SIGNS)).astype(np.float32)
    labels = (images @ truth > 1.5 * np.linalg.norm(truth)).astype(np.int32)
    updates = []
    for noise in (0.3, 1.0, 3.0):
        own = truth + noise * rng.standard_normal(SIGNS)
        kernel = np.stack([-own, own], axis=1).astype(np.float32)
        updates.append([kernel, np.array([2.0, -2.0], np.float32)])
    return (images, labels), updates


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fedcoin.Workspace]:
    root = tmp_path_factory.mktemp("metrics") / "net"
    settings = {"network.port": free_ports(4), "task.runtime": 1}
    made = fedcoin.Workspace.create(root, miners=2, clients=CLIENTS, settings=settings)
    test, updates = arrays()
    with made.mining():
        made.make_round(fedcoin.mlp(SIGNS, [], 2), test, updates)
        yield made
    assert not processes_in(root)


@pytest.mark.parametrize(
    ("metric", "baseline"),
    [("roc_auc", "chance"), ("balanced_accuracy", "chance"), ("neg_log_loss:3", "zero")],
)
def test_miners_judge_as_they_are_asked_to(workspace: fedcoin.Workspace, metric: str, baseline: str) -> None:
    """What a network agrees on is what the metric gives without any ledger, and an audit of level 4 finds it right."""
    found = workspace.publish(price=PRICE, metric=metric, baseline=baseline)
    test, updates = arrays()
    alone = fedcoin.shapley(fedcoin.mlp(SIGNS, [], 2), test, updates, metric=metric, baseline=baseline)
    assert (found.state, found.exact, found.metric) == ("SETTLED", True, metric)
    assert found.values == alone.fractions
    assert (found.together, alone.metric) == (alone.together, metric)
    root = workspace.path
    wait_until(lambda: len({path.read_bytes() for path in root.glob("miners/*/chain.jsonl")}) == 1)
    assert program("audit", "--level", "4", folder=root).code == 0
    shown = program("show", found.task[:16], folder=root).out
    assert f"judged by {metric}" in shown or (metric, baseline) == ("accuracy", "zero")
    assert f"judged by {metric}" in program("explain", "client-001", "--task", found.task, folder=root).out


def test_a_baseline_from_a_file_travels_to_the_miners(workspace: fedcoin.Workspace) -> None:
    """The joint model as the baseline: nothing is gained, no client is paid, and all miners had the file."""
    joint = workspace.path / "joint.safetensors"
    assert program("model", "aggregate", "-o", str(joint), folder=workspace.path).code == 0
    found = workspace.publish(price=PRICE, metric="roc_auc", baseline=joint)
    assert (found.state, found.nobody) == ("SETTLED", found.together)
    assert set(map(float, found.payments)) == {0.0}
    assert float(found.returned) == 70


def test_a_metric_that_does_not_fit_locks_no_price(workspace: fedcoin.Workspace) -> None:
    """What is refused is refused before anything is sent: the balance stays."""
    before = workspace.balance()
    for metric, error in (("top_k_accuracy:2", fedcoin.RoundFilesInvalid), ("f2", fedcoin.FedCoinError)):
        with pytest.raises(error):
            workspace.publish(price=PRICE, metric=metric)
    assert workspace.balance() == before


def test_an_owner_of_two_clients_is_paid_once(workspace: fedcoin.Workspace) -> None:
    """Two clients in a group are one player, paid at the first of them, as without a ledger."""
    found = workspace.publish(price=PRICE, groups=[["client-003", "client-001"]])
    test, updates = arrays()
    alone = fedcoin.shapley(fedcoin.mlp(SIGNS, [], 2), test, updates, groups=[(2, 0)])
    assert found.values == alone.fractions
    assert len(found.payments) == 2
    root = workspace.path
    wait_until(lambda: len({path.read_bytes() for path in root.glob("miners/*/chain.jsonl")}) == 1)
    assert program("audit", "--level", "4", folder=root).code == 0
    shown = program("show", found.task[:16], folder=root).out
    assert "client-003 and 1 more of its owner" in shown
    told = program("explain", "client-001", "--task", found.task, folder=root).out
    assert "client 1 of 2" in told


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        ("client-001", "two or more"),
        ("client-001,client-001", "twice in one"),
        ("client-001,requester", "requester is no client of this round"),
        ("client-001,client-002,client-003", "all clients of this round are one owner"),
        ("client-001,nobody", "nobody"),
    ],
)
def test_groups_that_are_none_are_told_of(workspace: fedcoin.Workspace, group: str, reason: str) -> None:
    """One line what, one where, a hint; no coin is locked."""
    said = program("publish", "--dry-run", "--group", group, folder=workspace.path)
    assert said.code != 0
    assert reason in said.err
