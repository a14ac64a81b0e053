"""The server: Flower's FedAvg, wrapped by the strategy that pays."""

from time import sleep

import torch
from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from shop_app.task import SHOP, TESTS, digits, network

import fedcoin
from fedcoin.flower import Paid

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train as before; who earned what is in the log, and in `result.fedcoin`."""
    x, y = (one[:TESTS].numpy() for one in digits())
    torch.manual_seed(0)
    # The first round has all clients; a later one goes on without who is gone.
    while len(list(grid.get_node_ids())) < int(context.run_config["clients"]):
        sleep(1)
    strategy = Paid(
        FedAvg(fraction_evaluate=0.0),
        workspace=SHOP,
        model=fedcoin.mlp(64, [32], 10),
        test=(x, y),
        price=1000,
        settings={"task.runtime": 5},
    )
    result = strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(network().state_dict()),
        num_rounds=int(context.run_config["num-server-rounds"]),
    )
    print(result.fedcoin)
