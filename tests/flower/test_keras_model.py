"""Functional Keras models are paid for in a Flower federation: lists of arrays, by their order, frozen or not."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'fedcoin[flower]'")
pytest.importorskip("keras", reason="Keras is not installed: pip install 'fedcoin[mine]'")

from flowers import Loop
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg

import fedcoin
from benchmarks.network import free_ports
from fedcoin.flower import Paid, paid
from fedcoin_cli.learning.model.backend import keras

NODES = {node: {"partition-id": node} for node in (1, 2, 3)}
HEAD = 2
"""The last layer's kernel and bias, which alone are trained."""


def net(*, frozen: bool) -> Any:
    """Convolution, BatchNorm and a head: no chain that there is a kernel for."""
    keras.utils.set_random_seed(1)
    image = keras.Input((6, 6, 1))
    hidden = keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 3)(image))
    scores = keras.layers.Dense(3)(keras.layers.Flatten()(keras.layers.Activation("relu")(hidden)))
    made = keras.Model(image, scores)
    for layer in made.layers[:-1]:
        layer.trainable = not frozen
    return made


BEGUN = net(frozen=False).get_weights()
IMAGES = np.random.default_rng(0).random((60, 6, 6, 1), dtype=np.float32)
TEST = (IMAGES, np.arange(60) % 3)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fedcoin.Workspace]:
    settings = {"network.port": free_ports(4), "task.runtime": 3}
    workspace = fedcoin.Workspace.create(
        tmp_path_factory.mktemp("keras") / "shop", miners=2, settings=settings
    )
    with workspace.mining():
        yield workspace


@pytest.mark.parametrize(("frozen", "sent"), [(False, len(BEGUN)), (True, len(BEGUN)), (True, HEAD)])
def test_lists_go_by_their_order(shop: fedcoin.Workspace, frozen: bool, sent: int) -> None:
    """Frozen or not, sent or not: the base that nobody moves counts as it is, and the head is what is valued."""
    moved = {node: [one.copy() for one in BEGUN] for node in NODES}
    app = ClientApp(mods=[paid(simulated=shop.path)])

    @app.train()  # type: ignore[untyped-decorator, unused-ignore]  # unknown where Flower is not installed
    def train(message: Message, context: Context) -> Message:
        arrays = message.content["arrays"].to_numpy_ndarrays()
        draw = np.random.default_rng(context.node_id)
        for place in (-2, -1):
            before = arrays[place].copy()
            arrays[place] = before + context.node_id * draw.standard_normal(before.shape).astype(np.float32)
            moved[context.node_id][place] = moved[context.node_id][place] + (arrays[place] - before)
        content = RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord({"num-examples": 10})})
        return Message(content, reply_to=message)

    model = net(frozen=frozen)
    strategy = Paid(FedAvg(fraction_evaluate=0), workspace=shop.path, model=model, test=TEST, price=1)
    result = strategy.start(Loop(app, dict(NODES)), ArrayRecord(BEGUN[-sent:]), num_rounds=2)
    (settled,) = result.fedcoin.settlements
    nodes = [int(name.removeprefix("client-")) - 1 for name in settled.clients]
    whole = fedcoin.shapley(
        net(frozen=False),
        TEST,
        [moved[node] for node in nodes],
        examples=[10] * 3,
        baseline=BEGUN,
        exact=True,
    )
    assert settled.values == whole.fractions
    assert any(settled.values)
