"""Everyday models beside plain PyTorch: what a coalition costs, and whether both count the same.

    python -m benchmarks.models [--quick] [--json] [--models cnn tabular …] [--beside keras numpy]
    python -m benchmarks.models --checked 1000 --images 16      # is any count outside its interval?

Plain PyTorch takes the mean of the members' state_dicts, loads it and evaluates in batches of 256 (`inference_mode`).
Ours is what a miner's child would take: `engine_for`. Both have one thread, and what is compared is processor time, in
turns, the least of three. What is done once is told apart. `outside` counts those outside the reference's [lo, hi], of
`checked`; `admission_s` is what an inspection takes of one processor before miners admit the round. Weights and inputs
are drawn: a layer's speed does not depend on them. `--beside` names engines that count the same in the same turns.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from graphs import MODELS, drawn_inputs, drawn_weights, transformer

from benchmarks.machine import finish, machine
from fedcoin_cli.learning.engines.choice import Kind, counts, engine_for
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.graph.graph import Graph, Node, Weight
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.weights import TestSet
from fedcoin_cli.learning.reference.referee import own_outputs, prepared, reference_for
from fedcoin_cli.learning.reference.update_admission import refused_update

CLIENTS: Final = 10
_LAYERS: Final = 6
_TRAINED: Final = 2
"""Layers with LoRA: the last third."""
_RANK: Final = 4
_BATCH: Final = 256
_TURNS: Final = 3

Floats = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Case:
    """A model, its twin in PyTorch, so many images, and so many coalitions a turn of ours and of PyTorch's."""

    graph: Callable[[], Graph]
    twin: str
    images: int
    coalitions: tuple[int, int]


def lora() -> Graph:
    """A transformer of which low-rank additions to the last third are trained, and nothing else."""
    whole = transformer(layers=_LAYERS)
    nodes, added = list(whole.nodes), list[Weight]()
    for layer in range(_LAYERS - _TRAINED, _LAYERS):
        name = f"blocks.{layer}.qkv"
        place = next(at for at, node in enumerate(nodes) if f"{name}.bias" in node.inputs)
        product, after = nodes[place - 1], nodes[place]
        low, high, plain = f"{name}.low", f"{name}.high", f"{name}.plain"
        nodes[place : place + 1] = [
            replace(after, outputs=(plain,)),
            Node("MatMul", (product.inputs[0], f"{name}.A"), (low,), {}),
            Node("MatMul", (low, f"{name}.B"), (high,), {}),
            Node("Add", (plain, high), after.outputs, {}),
        ]
        added += [Weight(f"{name}.A", (64, _RANK)), Weight(f"{name}.B", (_RANK, 192))]
    return Graph(whole.inputs, tuple(added), whole.weights, whole.constants, tuple(nodes), whole.output)


def head() -> Graph:
    """The same transformer of which the last layer is trained."""
    whole = transformer(layers=_LAYERS)
    last = ("out.weight", "out.bias")
    return replace(
        whole,
        weights=tuple(one for one in whole.weights if one.name in last),
        frozen=tuple(one for one in whole.weights if one.name not in last),
    )


CASES: Final = {
    "dense": Case(MODELS["mlp"], "MLP", 2000, (512, 16)),
    "tabular": Case(MODELS["tabular"], "Tabular", 2000, (256, 64)),
    "cnn": Case(MODELS["cnn"], "CNN", 512, (16, 8)),
    "lora": Case(lora, "Lora", 256, (12, 6)),
    "head": Case(head, "Deep", 256, (1024, 4)),
    "transformer": Case(MODELS["transformer"], "Transformer", 256, (12, 6)),
    "lstm": Case(MODELS["lstm"], "LSTM", 512, (8, 8)),
    "gru": Case(MODELS["gru"], "GRU", 512, (8, 8)),
}


def game_of(case: Case) -> tuple[Game, list[Floats]]:
    """A game of clients that differ, and their weights by name; labels are what the model that all began with says."""
    graph, draw = case.graph(), np.random.default_rng(1)
    model, begin, inputs = (
        GraphModel.of(graph),
        drawn_weights(graph, draw),
        drawn_inputs(graph, case.images, draw),
    )
    clients = []
    for _ in range(CLIENTS):
        step = drawn_weights(graph, draw)
        clients.append({name: begin[name] + np.float32(0.5) * step[name] for name in graph.weight_names})
    frozen = {one.name: begin[one.name] for one in graph.frozen}
    (images,) = inputs.values()
    updates = tuple(tuple(one[name] for name in graph.weight_names) for one in clients)
    game = Game(
        model,
        TestSet(images, np.zeros(case.images, np.int32)),
        updates,
        (1,) * CLIENTS,
        frozen=tuple(frozen.values()),
    )
    outputs = own_outputs(game, 0)
    labels = (outputs - np.median(outputs, axis=0)).argmax(axis=1).astype(np.int32)
    game = replace(game, test=TestSet(images, labels)).played()
    return game, [{**frozen, **one} for one in clients]


class Plain:
    """PyTorch, as anybody would do it."""

    def __init__(self, twin: str, clients: list[Floats], game: Game) -> None:
        self._torch = import_module("torch")
        self._torch.set_num_threads(1)
        self._model = _twin(twin).eval()
        self._states = [
            {name: self._torch.from_numpy(np.array(value)) for name, value in one.items()} for one in clients
        ]
        images = self._torch.from_numpy(np.array(game.test.images))
        self._images = images.long() if images.dtype == self._torch.int32 else images
        self._labels = self._torch.from_numpy(np.array(game.test.labels))

    def count(self, mask: int) -> int:
        """How many images the mean of the members labels right."""
        members = [state for client, state in enumerate(self._states) if mask >> client & 1]
        stack, right = self._torch.stack, 0
        mean = {name: stack([one[name] for one in members]).mean(0) for name in members[0]}
        self._model.load_state_dict(mean, strict=False)
        with self._torch.inference_mode():
            for start in range(0, len(self._labels), _BATCH):
                outputs = self._model(self._images[start : start + _BATCH])
                lone = outputs.shape[1] == 1
                said = (outputs[:, 0] > 0).long() if lone else outputs.argmax(1)
                right += int((said == self._labels[start : start + _BATCH]).sum())
        return right


def _twin(name: str) -> Any:
    torch_twins, torch = import_module("torch_twins"), import_module("torch")
    if name not in {"Lora", "Deep"}:
        return getattr(torch_twins, name)()
    made = torch_twins.Transformer()
    made.blocks = torch.nn.ModuleList(torch_twins.Block(64, 4) for _ in range(_LAYERS))
    if name == "Lora":
        for block in made.blocks[-_TRAINED:]:
            block.qkv = _low_rank(torch)
    return made


def _low_rank(torch: Any) -> Any:
    class Added(torch.nn.Linear):  # type: ignore[misc]  # torch is imported when it is needed
        def __init__(self) -> None:
            super().__init__(64, 192)
            self.A = torch.nn.Parameter(torch.zeros(64, _RANK))
            self.B = torch.nn.Parameter(torch.zeros(_RANK, 192))

        def forward(self, x: Any) -> Any:
            return super().forward(x) + x @ self.A @ self.B

    return Added()


def compare(name: str, case: Case, checked: int, beside: Sequence[Kind] = ()) -> dict[str, Any]:
    """One row of the table."""
    game, clients = game_of(case)
    plain = Plain(case.twin, clients, game)
    draw = np.random.default_rng(2)
    masks = [int(mask) for mask in draw.integers(1, 1 << CLIENTS, max(case.coalitions))]
    began = time.process_time()
    ready = prepared(game)
    engine = engine_for(game, ready, 1)
    engine.counts(masks[:1])
    once_s = time.process_time() - began
    others = {kind: engine_for(game, ready, 1, kind) for kind in beside}
    also = {kind: [inf] for kind in beside}
    for other in others.values():
        other.counts(masks[:1])
    ours: list[int] = []
    theirs: list[int] = []
    ours_s, theirs_s = [], []
    for _ in range(_TURNS):
        theirs, taken = _timed(lambda: [plain.count(mask) for mask in masks[: case.coalitions[1]]])
        theirs_s.append(taken / case.coalitions[1])
        ours, taken = _timed(lambda: engine.counts(masks[: case.coalitions[0]]).tolist())
        ours_s.append(taken / case.coalitions[0])
        for kind, other in others.items():
            _, taken = _timed(lambda other=other: other.counts(masks[: case.coalitions[0]]).tolist())  # type: ignore[misc]  # bound at once
            also[kind].append(taken / case.coalitions[0])
    both = list(zip(ours, theirs, strict=False))
    some = (1 + draw.permutation((1 << CLIENTS) - 1)[:checked]).tolist()
    reference = reference_for(game, ready)
    found = zip(reference.intervals(some), engine.counts(some).tolist(), strict=True)
    began = time.process_time()
    refused = refused_update(reference, "00" * 32, lambda part: engine_for(part, None, 1))
    admission_s = time.process_time() - began
    return {
        "model": name,
        "images": game.images,
        "plain_ms": 1e3 * min(theirs_s),
        "ours_ms": 1e3 * min(ours_s),
        "ratio": min(theirs_s) / min(ours_s),
        "once_s": once_s,
        "differ": sum(one != other for one, other in both),
        "of": len(both),
        "outside": sum(not one.lo <= count <= one.hi for one, count in found),
        "checked": len(some),
        "admission_s": admission_s,
        "admitted": refused is None,
        "engine": counts(game, 1).split(":")[0],
    } | {f"{kind}_ms": 1e3 * min(taken) for kind, taken in also.items()}


def _timed(work: Callable[[], list[int]]) -> tuple[list[int], float]:
    began = time.process_time()
    found = work()
    return found, time.process_time() - began


def rows(
    names: list[str], checked: int, images: int | None, beside: Sequence[Kind]
) -> Iterator[dict[str, Any]]:
    """The table, row by row; with few `images` few coalitions are timed."""
    for name in names:
        case = CASES[name]
        if images is not None:
            case = replace(case, images=images, coalitions=(4, 2))
        yield compare(name, case, checked, beside)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="few images and coalitions: whether it runs")
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES), help="which of them")
    parser.add_argument("--beside", nargs="+", choices=("keras", "onnx", "numpy"), default=[], help="engines")
    parser.add_argument(
        "--checked", type=int, default=4, help="so many counts are held against the reference"
    )
    parser.add_argument("--images", type=int, help="so many images, and times of few coalitions")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.checked, chosen.images = 2, 64
    # Before PyTorch, which brings threads of its own.
    import_module("fedcoin_cli.learning.model.backend").use_threads(1)
    found = list(rows(chosen.models, chosen.checked, chosen.images, chosen.beside))
    torch = import_module("torch")
    result = {"machine": machine() | {"torch": torch.__version__}, "clients": CLIENTS, "models": found}
    finish(result, chosen.json, {"models": found})


if __name__ == "__main__":
    main()
