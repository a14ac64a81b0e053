"""Flower in one process: a Grid that hands messages to real ClientApps, and an app that trains in NumPy."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity
from toys import CLASSES, SHAPES, SIDE

Arrays = list[Any]
Node = dict[str, Any]


class Loop(Grid):
    """Every message goes to its node's ClientApp at once; what that raises is an error reply, as Flower makes of it."""

    def __init__(
        self,
        app: Callable[[Message, Context], Message],
        nodes: dict[int, Node],
        run_config: Node | None = None,
    ) -> None:
        self.app = app
        # What the process that runs a ServerApp is told when it starts.
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
        self.contexts = {
            node: Context(1, node, config, RecordDict(), run_config or {}) for node, config in nodes.items()
        }

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return [self._handed(message) for message in messages]

    def _handed(self, message: Message) -> Message:
        try:
            return self.app(message, self.contexts[message.metadata.dst_node_id])
        except Exception as error:  # noqa: BLE001 -- as Flower does
            return Message(Error(0, repr(error)), reply_to=message)

    def get_node_ids(self) -> list[int]:
        return list(self.contexts)

    run = set_run = create_message = push_messages = pull_messages = None


def data(part: int, images: int = 40) -> tuple[Any, Any]:
    """One client's images and labels: the labels of `toys`' truth; part 0 is the test set."""
    draw = np.random.default_rng(0)
    truth = [draw.normal(size=shape) for shape in SHAPES]
    pixels = np.random.default_rng([1, part]).random((images, SIDE, SIDE), dtype=np.float32) - 0.5
    hidden = np.maximum(pixels.reshape(images, -1) @ truth[0] + truth[1], 0)
    return pixels, (hidden @ truth[2] + truth[3]).argmax(axis=1)


def begun() -> Arrays:
    """The weights that a run begins with."""
    draw = np.random.default_rng(3)
    return [(draw.normal(size=shape) / 4).astype(np.float32) for shape in SHAPES]


def trained(weights: Arrays, pixels: Any, labels: Any, steps: int = 20, rate: float = 0.5) -> Arrays:
    """Some steps of gradient descent on softmax cross-entropy."""
    k, b, u, c = (weight.astype(np.float64) for weight in weights)
    x, wanted = pixels.reshape(len(pixels), -1).astype(np.float64), np.eye(CLASSES)[labels]
    for _ in range(steps):
        hidden = np.maximum(x @ k + b, 0)
        scores = np.exp((raw := hidden @ u + c) - raw.max(axis=1, keepdims=True))
        off = (scores / scores.sum(axis=1, keepdims=True) - wanted) / len(x)
        back = (off @ u.T) * (hidden > 0)
        for weight, step in ((u, hidden.T @ off), (c, off.sum(0)), (k, x.T @ back), (b, back.sum(0))):
            np.subtract(weight, rate * step, out=weight)
    return [weight.astype(np.float32) for weight in (k, b, u, c)]


def client_app(mods: list[Any], fails: Callable[[int, int], bool] = lambda *_: False) -> ClientApp:
    """A ClientApp as its author writes it; a node of partition p has the data of part p + 1."""
    app = ClientApp(mods=mods)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        if fails(context.node_id, int(message.content["config"]["server-round"])):
            raise RuntimeError("this node fails")
        part = int(context.node_config["partition-id"]) + 1
        after = trained(message.content["arrays"].to_numpy_ndarrays(), *data(part))
        metrics = MetricRecord({"num-examples": 10 * part, "loss": 0.5})
        return Message(RecordDict({"arrays": ArrayRecord(after), "metrics": metrics}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, _context: Context) -> Message:
        return Message(
            RecordDict({"metrics": MetricRecord({"num-examples": 10, "loss": 0.1})}), reply_to=message
        )

    return app
