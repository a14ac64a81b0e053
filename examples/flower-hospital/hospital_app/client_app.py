"""The hospitals: an ordinary ClientApp, and one line that has them paid. The last one is a free rider."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from hospital_app.task import SHOP, patients, train

from fedcoin.flower import paid

app = ClientApp(mods=[paid(simulated=SHOP)])


@app.train()
def training(message: Message, context: Context) -> Message:
    """Train on one's own patients; the free rider returns what it got."""
    hospitals, number = int(context.run_config["hospitals"]), int(context.node_config["partition-id"])
    weights = message.content["arrays"].to_numpy_ndarrays()
    x, y = patients(number, hospitals)
    if number < hospitals - 1:
        weights = train(weights, x, y)
    metrics = MetricRecord({"num-examples": len(y), "deaths": int(y.sum())})
    return Message(RecordDict({"arrays": ArrayRecord(weights), "metrics": metrics}), reply_to=message)
