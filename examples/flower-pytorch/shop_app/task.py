"""What server and clients share: the network, the digits and who has which of them, and how a client trains."""

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

SHOP = Path.home() / "fedcoin-shop"
TESTS = 397


def network() -> nn.Sequential:
    """64 pixels, 32 hidden units, 10 digits."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def digits() -> tuple[Tensor, Tensor]:
    """All digits, in an order that is always the same."""
    x, y = load_digits(return_X_y=True)
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    return torch.tensor(x, dtype=torch.float32)[order] / 16, torch.tensor(y)[order]


def part(number: int, clients: int) -> tuple[Tensor, Tensor]:
    """One client's images: mostly of digits that are its own; the first ones are the server's test set."""
    x, y = (one[TESTS:] for one in digits())
    owner = y % clients
    stray = torch.rand(len(y), generator=torch.Generator().manual_seed(1)) < 0.3
    owner[stray] = torch.randint(clients, (int(stray.sum()),), generator=torch.Generator().manual_seed(2))
    return x[owner == number], y[owner == number]


def train(net: nn.Module, x: Tensor, y: Tensor, epochs: int = 3) -> float:
    """Stochastic gradient descent; the loss of the last batch."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loss = torch.zeros(())
    for _ in range(epochs):
        for batch in torch.randperm(len(y)).split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
    return float(loss.detach())
