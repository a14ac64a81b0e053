"""Large models as people have them, in PyTorch: what `benchmarks.from_files` imports by `fedcoin model import`."""

# mypy: disable-error-code="misc"
# PyTorch is not installed everywhere, so its classes are unknown.

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (as everybody calls it)

BASE = Path(__file__).with_name("base.safetensors")
"""The pretrained weights of `MiniLM`; without them it has drawn ones."""
CLASSES = 4
_WIDTH, _HEADS, _LAYERS, _TRAINED, _RANK = 384, 12, 6, 2, 4


class Residual(nn.Module):
    """Two convolutions, each with BatchNorm, and what is led around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.around = nn.Sequential()
        if stride > 1:
            self.around = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.around(x))


class ResNet18(nn.Module):
    """He et al. 2016, on pictures of one channel: 11.2 million weights."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(1, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        widths = (64, 64, 64, 128, 128, 256, 256, 512, 512)
        self.blocks = nn.Sequential(
            *(Residual(before, after, 2 if after > before else 1) for before, after in pairwise(widths))
        )
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.bn(self.stem(x))), 3, 2, 1)
        return self.fc(self.blocks(x).mean((2, 3)))


class LowRank(nn.Linear):
    """A dense layer that nobody trains, and what its two factors add (LoRA, Hu et al. 2021)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.lora_a = nn.Parameter(torch.randn(_RANK, inputs) / inputs**0.5)
        self.lora_b = nn.Parameter(torch.zeros(outputs, _RANK))

    def forward(self, x: Any) -> Any:
        return super().forward(x) + x @ self.lora_a.T @ self.lora_b.T * 2.0


class Layer(nn.Module):
    """Attention and two dense layers, normalised afterwards, as BERT has them; names are those of its files."""

    def __init__(self, dense: type[nn.Linear]) -> None:
        super().__init__()
        own = nn.ModuleDict(
            {"query": dense(_WIDTH, _WIDTH), "key": nn.Linear(_WIDTH, _WIDTH), "value": dense(_WIDTH, _WIDTH)}
        )
        self.attention = nn.ModuleDict({"self": own, "output": _closing(_WIDTH)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(_WIDTH, 4 * _WIDTH)})
        self.output = _closing(4 * _WIDTH)

    def forward(self, x: Any, mask: Any) -> Any:
        rows, steps, _ = x.shape
        own, after = self.attention["self"], self.attention["output"]
        query, key, value = (
            own[name](x).reshape(rows, steps, _HEADS, -1).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        scores = query @ key.transpose(-1, -2) / (_WIDTH // _HEADS) ** 0.5 + mask
        seen = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(rows, steps, _WIDTH)
        x = after["LayerNorm"](x + after["dense"](seen))
        inner = F.gelu(self.intermediate["dense"](x))
        return self.output["LayerNorm"](x + self.output["dense"](inner))


def _closing(inputs: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inputs, _WIDTH), "LayerNorm": nn.LayerNorm(_WIDTH, eps=1e-12)})


class MiniLM(nn.Module):
    """all-MiniLM-L6-v2's six layers, frozen, LoRA on queries and values of the last third, and a new head."""

    def __init__(self, tokens: int = 30522, places: int = 512) -> None:
        super().__init__()
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(tokens, _WIDTH),
                "position_embeddings": nn.Embedding(places, _WIDTH),
                "token_type_embeddings": nn.Embedding(2, _WIDTH),
                "LayerNorm": nn.LayerNorm(_WIDTH, eps=1e-12),
            }
        )
        kinds = [LowRank if number >= _LAYERS - _TRAINED else nn.Linear for number in range(_LAYERS)]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(map(Layer, kinds))})
        self.head = nn.Linear(_WIDTH, CLASSES)
        if BASE.exists():
            from safetensors.torch import load_file

            kept = self.state_dict()
            self.load_state_dict({name: one for name, one in load_file(BASE).items() if name in kept}, False)
        for name, one in self.named_parameters():
            one.requires_grad = "lora" in name or name.startswith("head")

    def forward(self, ids: Any) -> Any:
        kept = (ids != 0).to(self.head.weight.dtype)
        its = self.embeddings
        x = its["word_embeddings"](ids) + its["token_type_embeddings"].weight[0]
        x = its["LayerNorm"](x + its["position_embeddings"].weight[: ids.shape[1]])
        for layer in self.encoder["layer"]:
            x = layer(x, ((1 - kept) * -1e4)[:, None, None])
        weights = kept[:, :, None]
        return self.head((x * weights).sum(1) / weights.sum(1).clamp(min=1e-9))
