"""Hostile model descriptions and tensor files: each promises, nests or hides more than a miner may give to it.

`PYTHONPATH=tests python -m attacking.untrusted [FOLDER]` refuses all of them in this one process and prints, as JSON,
how many were refused, how long the longest took and how much memory the process took at most beyond what it had before.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rounds import model_json

from fedcoin_cli.learning.game.game import Game, RoundFiles
from fedcoin_cli.learning.model.model import parse_model
from fedcoin_cli.learning.model.weights import read_test, read_update
from ledger_store.base.errors import RoundFilesInvalid

GIB = 2**30
Layer = tuple[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Hostile:
    """One attack: its name, which file of a round it replaces, and how that is written."""

    name: str
    part: str
    write: Callable[[Path], object]


def hostile() -> list[Hostile]:
    """A hundred and more of them."""
    models = [Hostile(name, "model", _text(text)) for name, text in _models()]
    tensors = [
        Hostile(f"{name} ({part})", part, write)
        for part in ("update", "test")
        for name, write in _tensors(part)
    ]
    return [*models, *tensors]


def refuse(attack: Hostile, path: Path) -> str | None:
    """Why a reader refuses the attack's file; None when it is taken."""
    attack.write(path)
    spec = parse_model(json.dumps(model_json()))
    try:
        match attack.part:
            case "model":
                _load(path)
            case "update":
                read_update(path, spec, owner="client 1")
            case _:
                read_test(path, spec)
    except RoundFilesInvalid as error:
        return error.message
    return None


def _load(path: Path) -> Game:
    """A model whose sizes are allowed is refused at the latest for what it does not fit: the round's other files."""
    with path.open("rb") as file:
        parse_model(file.read(), where=str(path))
    missing = path.with_name("missing")
    return Game.load(RoundFiles(path, missing, (missing, missing)))


# Models -----------------------------------------------------------------------------------------------------------


def _described(*layers: Layer, kind: str = "Sequential", **more: Any) -> str:
    entries = [{"module": "keras.layers", "class_name": name, "config": config} for name, config in layers]
    config = {"name": "m", "layers": entries, **more}
    return json.dumps({"module": "keras", "class_name": kind, "config": config})


def _models() -> Iterator[tuple[str, str]]:
    image: Layer = ("InputLayer", {"batch_shape": [None, 4, 4]})
    picture: Layer = ("InputLayer", {"batch_shape": [None, 64, 64, 1]})
    flat: Layer = ("Flatten", {})
    out: Layer = ("Dense", {"units": 3, "activation": "linear"})
    for units in (2**16 + 1, 2**31, 2**63, 10**30, -1, 0, True, 3.0, "3", None, [3]):
        yield f"{units!r} units", _described(image, flat, ("Dense", {"units": units}), out)
    for shape in ([2**30], [2**20, 2**20], [2**31, 2**31, 2**31, 2**31], [None], [-1, -1], [0], [1] * 9, []):
        yield f"input {shape}", _described(("InputLayer", {"batch_shape": [None, *shape]}), flat, out)
    yield "wide after wide", _described(image, flat, *[("Dense", {"units": 2**16})] * 3, out)
    yield "63 wide layers", _described(image, flat, *[("Dense", {"units": 2**12})] * 60, out)
    yield "a thousand layers", _described(image, flat, *[("Dense", {"units": 2})] * 1_000, out)
    for filters, kernel in (
        (2**12, 1024),
        (2**31, 3),
        (1, 2**31),
        (1, [1, -1]),
        (1, 0),
        (1, [1, 2, 3]),
        (1, None),
    ):
        conv: Layer = ("Conv2D", {"filters": filters, "kernel_size": kernel, "padding": "same"})
        yield f"{filters} filters of {kernel}", _described(picture, conv, flat, out)
    for name in (
        "Lambda",
        "TFSMLayer",
        "Bidirectional",
        "TimeDistributed",
        "Embedding",
        "LSTM",
        "StringLookup",
        "Sequential",
    ):
        config = {
            "function": "evil",
            "filepath": "/etc/passwd",
            "layer": {"class_name": "Lambda"},
            "units": 2,
        }
        yield f"a {name} layer", _described(image, flat, (name, config), out)
    for kind in ("Functional", "Model", "SavedModel"):
        inbound = {"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["d", 0, 0]}}]}
        yield f"a {kind} graph", _described(image, flat, out, kind=kind, inbound_nodes=[inbound] * 50)
    nested: Layer = ("Functional", json.loads(_described(image, flat, out))["config"])
    yield "a graph in a layer", _described(image, nested, out)
    yield "graphs in graphs", "".join(['{"class_name":"Functional","config":{"layers":['] * 5_000)
    for dtype in (
        "float16",
        "bfloat16",
        "float64",
        {"class_name": "DTypePolicy", "config": {"name": "int8"}},
        ["float32"],
    ):
        yield f"dtype {dtype}", _described(image, flat, ("Dense", {"units": 3, "dtype": dtype}), out)
    for activation in ("exec", {"class_name": "function", "config": "evil"}, None, ["relu"], "relu\0"):
        yield (
            f"activation {activation}",
            _described(image, flat, ("Dense", {"units": 3, "activation": activation}), out),
        )
    yield "a pooling of a megapixel", pooling(1024)
    yield "a convolution over a megapixel", convolution(1024, 1024)
    yield "a number of 100,000 digits", '{"class_name":' + "9" * 100_000 + "}"
    yield "a tower", "[" * 500_000
    yield "two megabytes", " " * 2**21


def pooling(side: int) -> str:
    """Images of side × side whose mean is taken at once."""
    return _described(
        ("InputLayer", {"batch_shape": [None, side, side, 1]}),
        ("Conv2D", {"filters": 1, "kernel_size": [1, 1]}),
        ("GlobalAveragePooling2D", {}),
        ("Dense", {"units": 3}),
    )


def convolution(kernel: int, side: int) -> str:
    """A window of kernel × kernel at every place of images of side × side."""
    return _described(
        ("InputLayer", {"batch_shape": [None, side, side, 1]}),
        ("Conv2D", {"filters": 1, "kernel_size": [kernel, kernel], "padding": "same"}),
        ("Flatten", {}),
        ("Dense", {"units": 3}),
    )


def _text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


# Tensors ----------------------------------------------------------------------------------------------------------


def _tensors(part: str) -> Iterator[tuple[str, Callable[[Path], object]]]:
    name = {"update": "000", "test": "x"}[part]
    good: dict[str, Any] = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    for size in (2**31, 2**40, 2**62):
        promise = good | {"shape": [size // 4], "data_offsets": [0, size]}
        yield f"promises {size} bytes", _tensor({name: promise}, b"")
    yield "a sparse file of 16 GiB", _tensor({name: good}, b"", 16 * GIB)
    yield (
        "sparse, and it fits",
        _tensor({name: good | {"shape": [2**28], "data_offsets": [0, GIB]}}, b"", GIB),
    )
    yield "80,000 axes", _tensor({name: good | {"shape": [2**31] * 80_000}}, bytes(16))
    yield "axes of one", _tensor({name: good | {"shape": [1] * 70, "data_offsets": [0, 4]}}, bytes(4))
    yield "an axis of none", _tensor({name: good | {"shape": [0, 2**31], "data_offsets": [0, 0]}}, b"")
    shape: Any
    for shape in ([2, -2], [-2, -2], [True, 4], [2.0, 2], ["2", 2], [2**63, 2], None, {}, "22"):
        yield f"shape {shape}", _tensor({name: good | {"shape": shape}}, bytes(16))
    for offsets in ([0, 8], [4, 20], [16, 0], [-16, 0], [0, 16, 32], [0.0, 16], None, "ab", [0, 2**63]):
        yield f"offsets {offsets}", _tensor({name: good | {"data_offsets": offsets}}, bytes(16))
    for dtype in ("F64", "BF16", "F16", "I64", "BOOL", "O", "V8", "F32 ", "f32", 4, None, ["F32"]):
        yield f"dtype {dtype}", _tensor({name: good | {"dtype": dtype}}, bytes(16))
    overlapping = {name: good, "001": good}
    yield "two tensors in one place", _tensor(overlapping, bytes(16))
    yield "a hole between two", _tensor({name: good, "001": good | {"data_offsets": [20, 36]}}, bytes(36))
    yield (
        "12,000 tensors",
        _tensor({f"{n:05d}": good | {"shape": [0], "data_offsets": [0, 0]} for n in range(12_000)}, b""),
    )
    yield "a header of 2^63", lambda path: path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    yield "a header of 2 MiB", lambda path: path.write_bytes((2**21).to_bytes(8, "little") + b" " * 2**21)
    yield "a tower", lambda path: path.write_bytes((500_000).to_bytes(8, "little") + b"[" * 500_000)
    yield "a pickle", lambda path: path.write_bytes(b"\x80\x05cposix\nsystem\n(S'true'\ntR.")
    yield "a zip bomb", lambda path: path.write_bytes(b"PK\x03\x04" + bytes(200))
    yield "nothing", lambda path: path.write_bytes(b"")


def _tensor(header: dict[str, Any], data: bytes, sparse_bytes: int = 0) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        text = json.dumps(header).encode()
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text + data)
            if sparse_bytes:
                file.truncate(8 + len(text) + sparse_bytes)

    return write


def refuse_all(folder: Path) -> dict[str, Any]:
    """Refuse every one of them, here and now."""
    attacks = hostile()
    refuse(attacks[0], folder / "file")  # what is loaded once is not an attack's
    before, taken, slowest = _peak_mib(), [], (0.0, "")
    for attack in attacks:
        started = time.process_time()
        if refuse(attack, folder / "file") is None:
            taken.append(attack.name)
        slowest = max(slowest, (time.process_time() - started, attack.name))
    return {
        "attacks": len(attacks),
        "taken": taken,
        "peak_mib": round(_peak_mib() - before, 1),
        "slowest_ms": round(1_000 * slowest[0], 1),
        "slowest": slowest[1],
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as chosen:
        sys.stdout.write(json.dumps(refuse_all(Path(chosen))) + "\n")
