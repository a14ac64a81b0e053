"""The clients: an ordinary ClientApp, and one line that has them paid. The last client is a free rider."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from shop_app.task import SHOP, network, part, train

from fedcoin.flower import paid

app = ClientApp(mods=[paid(simulated=SHOP)])


@app.train()
def training(message: Message, context: Context) -> Message:
    """Train on one's own images; the free rider returns what it got."""
    net = network()
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    clients, number = int(context.run_config["clients"]), int(context.node_config["partition-id"])
    x, y = part(number, clients)
    loss = 0.0 if number == clients - 1 else train(net, x, y)
    metrics = MetricRecord({"num-examples": len(y), "loss": loss})
    return Message(
        RecordDict({"arrays": ArrayRecord(net.state_dict()), "metrics": metrics}), reply_to=message
    )
