"""The models of `graphs` in PyTorch; whoever imports this has it."""

# mypy: disable-error-code="misc"
# PyTorch is not installed everywhere, so its classes are unknown.

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (as everybody calls it)


class MLP(nn.Module):
    """Two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 128), nn.Linear(128, 10)

    def forward(self, x: Any) -> Any:
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class CNN(nn.Module):
    """Two convolutions, each with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32)
        self.fc = nn.Linear(800, 10)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        return self.fc(x.flatten(1))


class Tabular(nn.Module):
    """One logit."""

    def __init__(self) -> None:
        super().__init__()
        layers = (nn.Linear(8, 32), nn.Sigmoid(), nn.Linear(32, 16), nn.Sigmoid(), nn.Linear(16, 1))
        self.net = nn.Sequential(*layers)

    def forward(self, x: Any) -> Any:
        return self.net(x)


class LSTM(nn.Module):
    """Over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(28, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        return self.fc(self.lstm(x)[0][:, -1])


class GRU(nn.Module):
    """Over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.fc = nn.GRU(28, 64, batch_first=True), nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        return self.fc(self.gru(x)[0][:, -1])


class Block(nn.Module):
    """Attention and two dense layers, each with its input led around."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.o = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.f1, self.f2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Any, mask: Any) -> Any:
        rows, steps, width = x.shape
        joint = self.qkv(self.n1(x)).reshape(rows, steps, 3, self.heads, width // self.heads)
        query, key, value = joint.permute(2, 0, 3, 1, 4).unbind(0)
        seen = torch.softmax(query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5 + mask, -1)
        x = x + self.o((seen @ value).transpose(1, 2).reshape(rows, steps, width))
        return x + self.f2(F.gelu(self.f1(self.n2(x))))


class Transformer(nn.Module):
    """Token ids to two classes."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.emb, self.pos = nn.Embedding(6000, width), nn.Parameter(torch.randn(32, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, 4) for _ in range(2))
        self.n, self.out = nn.LayerNorm(width), nn.Linear(width, 2)

    def forward(self, ids: Any) -> Any:
        kept = (ids != 0).to(self.pos.dtype)
        x, mask = self.emb(ids) + self.pos, ((1 - kept) * -1e4)[:, None, None, :]
        for block in self.blocks:
            x = block(x, mask)
        weights = kept[:, :, None]
        return self.out((self.n(x) * weights).sum(1) / torch.clamp(weights.sum(1), min=1.0))


class Residual(nn.Module):
    """A convolution around which its input is led."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.stem(x))
        return self.out((x + F.relu(self.inner(x))).mean((2, 3)))


_TWINS: dict[str, Any] = {
    "mlp": MLP,
    "cnn": CNN,
    "tabular": Tabular,
    "lstm": LSTM,
    "gru": GRU,
    "transformer": Transformer,
    "residual": Residual,
}


def twin(name: str) -> Any:
    """The module that computes what the graph of that name does, ready to be evaluated."""
    return _TWINS[name]().eval()
