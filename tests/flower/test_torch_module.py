"""A convolutional PyTorch module is paid for in a Flower federation: no chain of layers, tensors by their own names."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'fedcoin[flower]'")
pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("onnxscript", reason="PyTorch's exporter needs it: pip install 'fedcoin[onnx]'")

import torch
from flowers import Loop
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg
from shell import fedcoin as program

import fedcoin
from benchmarks.network import free_ports
from fedcoin.flower import Paid, paid

NODES = {node: {"partition-id": node} for node in (1, 2, 3)}
ROUNDS = 2


def net() -> Any:
    """Convolution, BatchNorm with its counter, and a head."""
    torch.manual_seed(5)
    parts = torch.nn
    return parts.Sequential(
        parts.Conv2d(1, 3, 3), parts.BatchNorm2d(3), parts.ReLU(), parts.Flatten(), parts.Linear(48, 3)
    )


def judged_by() -> tuple[np.ndarray, np.ndarray]:
    """Labels that a net with other weights gives."""
    images = np.random.default_rng(2).random((90, 1, 6, 6), dtype=np.float32)
    teacher = net()
    with torch.no_grad():
        for weight in teacher.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        return images, teacher.eval()(torch.from_numpy(images)).argmax(1).numpy()


TEST = judged_by()


@pytest.fixture
def shop(tmp_path: Any) -> Iterator[fedcoin.Workspace]:
    settings = {"network.port": free_ports(4), "task.runtime": 3}
    workspace = fedcoin.Workspace.create(tmp_path / "shop", miners=2, settings=settings)
    with workspace.mining():
        yield workspace


def headed() -> Any:
    """The same, of which the head alone is trained: the base is frozen, its BatchNorm's statistics with it."""
    made = net()
    for weight in made[:-1].parameters():
        weight.requires_grad_(False)
    return made


def app(
    shop: fedcoin.Workspace,
    moved: dict[int, dict[str, np.ndarray]],
    trained: tuple[str, ...] = ("weight", "bias"),
) -> ClientApp:
    """Each node steps somewhere of its own, in tensors of such names; what it did in all is noted."""
    made = ClientApp(mods=[paid(simulated=shop.path)])

    @made.train()  # type: ignore[untyped-decorator, unused-ignore]  # unknown where Flower is not installed
    def train(message: Message, context: Context) -> Message:
        node, round_ = context.node_id, int(message.content["config"]["server-round"])
        draw, state = np.random.default_rng([node, round_]), message.content["arrays"].to_torch_state_dict()
        for name, tensor in state.items():
            if name.endswith(trained):
                before = tensor.numpy().copy()
                step = 0.1 * node * draw.standard_normal(tensor.shape)
                tensor.add_(torch.from_numpy(step.astype(np.float32)))
                own = moved.setdefault(node, {k: v.numpy().copy() for k, v in net().state_dict().items()})
                own[name] = own[name] + (tensor.numpy() - before)
        metrics = MetricRecord({"num-examples": 10 * node})
        return Message(RecordDict({"arrays": ArrayRecord(state), "metrics": metrics}), reply_to=message)

    return made


def test_a_convolutional_module_is_paid(shop: fedcoin.Workspace) -> None:
    """Miners agree on what `shapley` says of the same state_dicts, and an audit recomputes it."""
    moved: dict[int, dict[str, np.ndarray]] = {}
    strategy = Paid(FedAvg(fraction_evaluate=0), workspace=shop.path, model=net(), test=TEST, price=100)
    result = strategy.start(
        Loop(app(shop, moved), dict(NODES)), ArrayRecord(net().state_dict()), num_rounds=ROUNDS
    )
    (settled,) = result.fedcoin.settlements
    # Clients stand in the order in which they first signed; that of partition p has key p + 1.
    nodes = [int(name.removeprefix("client-")) - 1 for name in settled.clients]
    assert sorted(nodes) == sorted(NODES)
    alone = fedcoin.shapley(
        net(),
        TEST,
        [moved[node] for node in nodes],
        examples=[10 * node for node in nodes],
        baseline={name: value.numpy() for name, value in net().state_dict().items()},
        exact=True,
    )
    assert settled.values == alone.fractions
    assert program("audit", "--level", "4", folder=shop.path).code == 0


def test_a_frozen_base_is_paid(shop: fedcoin.Workspace) -> None:
    """Transfer learning: all tensors travel, the head is trained and valued on the base that the run began with."""
    moved: dict[int, dict[str, np.ndarray]] = {}
    # Another base than the run's: which one counts is what the run began with.
    torch.manual_seed(8)
    other = headed()
    with torch.no_grad():
        other[0].weight.add_(1)
    strategy = Paid(FedAvg(fraction_evaluate=0), workspace=shop.path, model=other, test=TEST, price=100)
    grid = Loop(app(shop, moved, ("4.weight", "4.bias")), dict(NODES))
    result = strategy.start(grid, ArrayRecord(headed().state_dict()), num_rounds=ROUNDS)
    (settled,) = result.fedcoin.settlements
    nodes = [int(name.removeprefix("client-")) - 1 for name in settled.clients]
    assert sorted(nodes) == sorted(NODES)
    begun = {name: value.numpy() for name, value in headed().state_dict().items()}
    asked: dict[str, Any] = {"examples": [10 * node for node in nodes], "baseline": begun, "exact": True}
    # By a model without anything frozen the values are the same, since nobody moved the base.
    for whole in (headed(), net()):
        alone = fedcoin.shapley(whole, TEST, [moved[node] for node in nodes], **asked)
        assert settled.values == alone.fractions
    assert any(settled.values)
    assert (shop.path / "rounds" / "1" / "frozen.safetensors").exists()
    assert program("audit", "--level", "4", folder=shop.path).code == 0
    # Rounds of arrays take such a module, too.
    folder = shop.make_round(headed(), TEST, [moved[node] for node in nodes], examples=[1, 1, 1])
    assert shop.publish(folder, price=1, runtime=2).clients


def test_a_base_that_moves_is_not_paid_for(shop: fedcoin.Workspace) -> None:
    """A client that trains in train() moves BatchNorm's statistics, which the model freezes: it is told so."""
    made = app(shop, {}, ("running_mean", "4.weight"))
    strategy = Paid(FedAvg(fraction_evaluate=0), workspace=shop.path, model=headed(), test=TEST, price=100)
    result = strategy.start(Loop(made, dict(NODES)), ArrayRecord(headed().state_dict()), num_rounds=1)
    assert set(map(int, result.fedcoin.unpaid)) == set(NODES)
    for reason in result.fedcoin.unpaid.values():
        assert reason.startswith("training moved '1.running_mean', which the model freezes")
        assert "eval()" in reason
