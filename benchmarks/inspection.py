"""What `fedcoin inspect` sees: each known attack made for real, how often it is seen, and who is suspected wrongly.

    python -m benchmarks.inspection [--quick] [--json] [--part attacks|values|time] [--clients N,N] [--rounds N]

Clients are trained on MNIST and on a table with a seed, over all splits; one of them then attacks. `seen` is the part
of attacks after which the attacker has a sign (copies: either of the pair); `named` the part where the sign is the one
meant. False alarms are signs of honest clients in rounds without an attack. Rounds' seeds begin at 1,000: limits were
set on others. MNIST comes from FEDCOIN_MNIST or from ../shared/data/mnist.npz; without it scikit-learn's digits serve.
"""

import argparse
import hashlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.clients import HIDDEN, Trained, Weights, drawn, mean, tabular, train, trained
from benchmarks.machine import finish, machine
from fedcoin_cli.application.rounds.inspecting import inspect_files
from fedcoin_cli.learning.exchange.description import mlp
from fedcoin_cli.learning.game.game import Game
from fedcoin_cli.learning.model.model import parse_model
from fedcoin_cli.learning.model.weights import TestSet, write_update
from fedcoin_cli.learning.scrutiny.look import Looked
from fedcoin_cli.learning.scrutiny.named import look_at
from fedcoin_cli.learning.scrutiny.signs import Kind, harmful
from fedcoin_cli.learning.simulation.datasets import Dataset, load
from fedcoin_cli.learning.valuation import How, value
from ledger_store.base.names import Address, Digest
from ledger_store.transaction import Update

SPLITS: Final = ("same", "mix", "weight", "noisex", "noisey", "dirichlet:0.5", "types")
EACH: Final = {"mnist": 200, "digits": 20, "table": 80}
"""Training examples a client."""
EPOCHS: Final = 5
_SEEDS_FROM: Final = 1000
_TEST_IMAGES: Final = 500

MEANT: Final = {
    "exact copy": {Kind.copy},
    "scaled copy ×2": {Kind.scaled},
    "scaled copy ×0.5": {Kind.scaled},
    "sign flip of another": {Kind.mirrored},
    "own sign flipped": {Kind.against},
    "copy, noise 5 %": {Kind.near},
    "copy, noise 10 %": {Kind.near},
    "copy, noise 30 %": {Kind.near},
    "untouched": {Kind.untouched},
    "untouched, noise 1 %": {Kind.short, Kind.adrift},
    "mean echo": {Kind.echo},
    "random noise": {Kind.adrift, Kind.against},
    "own ×10": {Kind.long},
    "own ×4": {Kind.long, Kind.layer},
    "examples ×10": {Kind.claim, Kind.misfit},
    "labels flipped": {Kind.adrift, Kind.against},
}
"""Attacks, and the signs that are meant to tell them."""


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="K = 10 only, one round a split; 20 files are timed"
    )
    parser.add_argument("--clients", metavar="N,N", help="K of the attacks, or how many files are timed")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each split and data set")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=("attacks", "values", "time"))
    asked = parser.parse_args()
    result: dict[str, Any] = {"machine": machine()}
    tables: dict[str, list[dict[str, Any]]] = {}
    if asked.part in {None, "attacks"}:
        sizes, rounds = _sizes(asked.clients) or ((10,) if asked.quick else (10, 30, 100)), asked.rounds or 1
        for known in (True, False):
            seen, alarms = attacks(sizes, rounds, known=known)
            title = "start known" if known else "start unknown"
            tables |= {f"attacks seen, {title}": seen, f"false alarms, {title}": alarms}
    if asked.part in {None, "values"}:
        tables["flipped labels once values are known"] = flipped_labels(asked.rounds or 1)
    if asked.part in {None, "time"}:
        files = _sizes(asked.clients) or ((20,) if asked.quick else (20, 100, 1000))
        tables["time of inspect against hashing"] = times(files)
    finish(result | tables, asked.json, tables)


def attacks(
    sizes: Sequence[int], rounds: int, *, known: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """How often each attack is seen, by K; and how often honest clients are suspected, by split."""
    seen, named, tried = Counter[tuple[str, int]](), Counter[tuple[str, int]](), Counter[tuple[str, int]]()
    alarms, honest, where = Counter[str](), Counter[str](), dict[str, Counter[str]]()
    for data, clients, split, made in cases(sizes, rounds):
        found = looked(made, made.updates, made.examples, known=known)
        suspects = {one.client for one in found.signs}
        for group in (split, data):
            alarms[group] += len(suspects)
            honest[group] += clients
            where.setdefault(group, Counter[str]()).update(one.kind.value for one in found.signs)
        for attack, updates, examples in attempts(made, np.random.default_rng(clients)):
            after = looked(made, updates, examples, known=known).signs
            kinds = {one.kind for one in after if 0 in {one.client, one.other}}
            tried[attack, clients] += 1
            seen[attack, clients] += bool(kinds)
            named[attack, clients] += bool(kinds & MEANT[attack])
    rows = []
    for attack in MEANT:
        row: dict[str, Any] = {"attack": attack}
        for size in sizes:
            key = attack, size
            row |= {f"K={size} seen %": percent(seen[key], tried[key])}
            row |= {f"K={size} named %": percent(named[key], tried[key])}
        rows.append(row | {"attacks": sum(tried[attack, size] for size in sizes)})
    false = [
        {
            "honest clients of": group,
            "clients": honest[group],
            "suspected": alarms[group],
            "%": percent(alarms[group], honest[group]),
            "of": ", ".join(f"{kind} {count}" for kind, count in where[group].most_common()) or "–",
        }
        for group in honest
    ]
    return rows, false


def cases(sizes: Sequence[int], rounds: int) -> Iterator[tuple[str, int, str, Trained]]:
    """Honest rounds: a picture set and a table, each split, each K."""
    pictures = load(_mnist() or "digits")
    for clients in sizes:
        for split in SPLITS:
            for seed in range(_SEEDS_FROM, _SEEDS_FROM + rounds):
                table = tabular(seed, rows=EACH["table"] * clients * 4 // 3)
                for data in (some(pictures, clients, seed), table):
                    yield data.name, clients, split, trained(data, split, clients, EPOCHS, seed)


def some(data: Dataset, clients: int, seed: int) -> Dataset:
    """As many drawn training images as so many clients get."""
    chosen = np.random.default_rng(seed).permutation(len(data.y_train))[: EACH.get(data.name, 50) * clients]
    test = TestSet(data.test.images[:_TEST_IMAGES], data.test.labels[:_TEST_IMAGES])
    return replace(data, x_train=data.x_train[chosen], y_train=data.y_train[chosen], test=test)


def attempts(
    made: Trained, draw: np.random.Generator
) -> Iterator[tuple[str, tuple[Weights, ...], tuple[int, ...]]]:
    """Each attack by client 0: all updates and claims as they then are."""
    updates, start, others = made.updates, made.initial, made.updates[1:]
    victim = others[int(draw.integers(len(others)))]
    its, own = minus(victim, start), minus(updates[0], start)
    sent: dict[str, Callable[[], Weights]] = {
        "exact copy": lambda: victim,
        "scaled copy ×2": lambda: plus(start, its, 2),
        "scaled copy ×0.5": lambda: plus(start, its, 0.5),
        "sign flip of another": lambda: plus(start, its, -1),
        "own sign flipped": lambda: plus(start, own, -1),
        "copy, noise 5 %": lambda: plus(victim, noise(its, draw), 0.05),
        "copy, noise 10 %": lambda: plus(victim, noise(its, draw), 0.1),
        "copy, noise 30 %": lambda: plus(victim, noise(its, draw), 0.3),
        "untouched": lambda: start,
        "untouched, noise 1 %": lambda: plus(start, noise(own, draw), 0.01),
        "mean echo": lambda: mean(others),
        "random noise": lambda: plus(start, noise(own, draw), 1),
        "own ×10": lambda: plus(start, own, 10),
        "own ×4": lambda: plus(start, own, 4),
        "labels flipped": lambda: flipped(made, draw),
    }
    for attack, update in sent.items():
        yield attack, (update(), *others), made.examples
    yield "examples ×10", updates, (10 * made.examples[0], *made.examples[1:])


def flipped(made: Trained, draw: np.random.Generator) -> Weights:
    """What client 0 would have sent with its labels in reverse: 0 for the last one, and so on."""
    part, labels = made.parts[0], made.initial[-1].size
    return train(made.initial, part.images, (labels - 1 - part.labels).astype(np.int32), EPOCHS, draw)


def flipped_labels(rounds: int) -> list[dict[str, Any]]:
    """Ten clients, one with flipped labels: seen by its step, by its value, by either; and who else is."""
    rows = []
    pictures = load(_mnist() or "digits")
    for name in (pictures.name, "table"):
        tried, seen, alarms, honest = 0, Counter[str](), 0, 0
        for split in SPLITS:
            for seed in range(_SEEDS_FROM, _SEEDS_FROM + rounds):
                data = tabular(seed, rows=1100) if name == "table" else some(pictures, 10, seed)
                made = trained(data, split, 10, EPOCHS, seed)
                before = worth(data, made.updates)
                alarms, honest = alarms + len(before), honest + 10
                updates = (flipped(made, np.random.default_rng(seed)), *made.updates[1:])
                step = any(one.client == 0 for one in looked(made, updates, made.examples, known=True).signs)
                by_value = 0 in worth(data, updates)
                tried += 1
                seen.update(step=step, value=by_value, either=step or by_value)
        rows.append(
            {
                "data": name,
                "attacks": tried,
                "by step %": percent(seen["step"], tried),
                "by value %": percent(seen["value"], tried),
                "by either %": percent(seen["either"], tried),
                "honest below nothing %": percent(alarms, honest),
            }
        )
    return rows


def worth(data: Dataset, updates: Sequence[Weights]) -> set[int]:
    """Who is worth less than nothing, by exact values and the test set's errors."""
    spec = parse_model(mlp(data.input_shape, [HIDDEN], data.classes), where="model")
    found = value(Game(spec, data.test, tuple(updates), (1,) * len(updates)), How(exact=True))
    return {one.client for one in harmful(found.values, found.test_errors)}


def times(sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Inspecting files of updates of the seed's model for MNIST, against SHA-256 over the same files; best of three."""
    rows, draw = [], np.random.default_rng(0)
    start = drawn(784, 128, draw)
    start = (*(np.resize(part, shape) for part, shape in zip(start, _SEED_SHAPES, strict=True)),)
    with tempfile.TemporaryDirectory() as folder:
        for clients in sizes:
            paths = [Path(folder) / f"{number}.safetensors" for number in range(clients)]
            for path in paths:
                if not path.exists():
                    write_update(path, plus(start, noise(start, draw), 0.3))
            begun = Path(folder) / "initial.safetensors"
            write_update(begun, start)
            updates = tuple(
                Update(Digest(f"{n:064x}"), Address(f"{n:064x}"), 100, "") for n in range(clients)
            )
            hashing = best(partial(hashed, paths))
            known = best(partial(inspect_files, updates, paths, begun))
            unknown = best(partial(inspect_files, updates, paths))
            rows.append(
                {
                    "clients": clients,
                    "MB": round(sum(path.stat().st_size for path in paths) / 1e6, 1),
                    "hashing s": round(hashing, 3),
                    "inspect s": round(known, 3),
                    "times": round(known / hashing, 2),
                    "start unknown s": round(unknown, 3),
                    "times ": round(unknown / hashing, 2),
                }
            )
    return rows


_SEED_SHAPES: Final = ((784, 128), (128,), (128, 10), (10,))


def best(work: Callable[[], object]) -> float:
    """Processor seconds of the quickest of three: others may be at work here."""
    found = []
    for _ in range(3):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


def hashed(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of files, as a round's reader takes it."""
    found = []
    for path in paths:
        with path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return found


def looked(made: Trained, updates: Sequence[Weights], examples: Sequence[int], *, known: bool) -> Looked:
    """A look at updates."""
    return look_at(updates, made.initial if known else None, examples)


def minus(update: Weights, start: Weights) -> Weights:
    """The step from one to the other."""
    return tuple(one - other for one, other in zip(update, start, strict=True))


def plus(start: Weights, step: Weights, times: float) -> Weights:
    """A step taken so many times."""
    return tuple(one + np.float32(times) * other for one, other in zip(start, step, strict=True))


def noise(step: Weights, draw: np.random.Generator) -> Weights:
    """Gaussian noise as long as a step."""
    found = [draw.standard_normal(one.shape).astype(np.float32) for one in step]
    lengths = [np.sqrt(sum(float((one**2).sum()) for one in some)) for some in (step, found)]
    return tuple(one * np.float32(lengths[0] / lengths[1]) for one in found)


def percent(part: int, whole: int) -> float:
    """In percent, to a tenth."""
    return round(100 * part / max(1, whole), 1)


def _sizes(text: str | None) -> tuple[int, ...]:
    return tuple(map(int, text.split(","))) if text else ()


def _mnist() -> str | None:
    path = Path(os.environ.get("FEDCOIN_MNIST", "../shared/data/mnist.npz"))
    return str(path) if path.is_file() else None


if __name__ == "__main__":
    main()
