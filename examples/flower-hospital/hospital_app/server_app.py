"""The server: Flower's FedAvg, wrapped by the strategy that pays; models are judged by AUROC, and chance is worth 0."""

from time import sleep

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from hospital_app.task import MODEL, SHOP, beginning, tests

from fedcoin.flower import Paid

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Wait for all hospitals once, so that the first round has them all; later rounds go on without who is gone."""
    while len(list(grid.get_node_ids())) < int(context.run_config["hospitals"]):
        sleep(1)
    strategy = Paid(
        FedAvg(fraction_evaluate=0.0),
        workspace=SHOP,
        model=MODEL,
        test=tests(),
        price=1000,
        metric="roc_auc",
        settings={"task.runtime": 5},
    )
    result = strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(beginning()),
        num_rounds=int(context.run_config["num-server-rounds"]),
        timeout=float(context.run_config["seconds-a-round"]),
    )
    print(result.fedcoin)
