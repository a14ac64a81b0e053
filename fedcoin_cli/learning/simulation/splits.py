"""How training images are divided among clients: one function a data case, in the table `SPLITS`.

Each takes the data set, the number of clients and a generator, and gives every client at least one image. The cases
are those of Song, Tong and Wei (2019), made general: they state them for 5 clients and 10 labels; `types` is that of
Liu et al. (FedCoin, 2020), who state it for 100 clients, and `dirichlet` that of Hsu, Qi and Brown (2019). Where a case
grows from client to client, it does so in equal steps from the first to the last.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.model.truth import Said
from fedcoin_cli.learning.simulation.datasets import Dataset, Images, Labels, as_float
from ledger_store.base.errors import SettingsError

OWN_SHARE: Final = 0.8
"""`mix`: the part of a label's images that goes to the clients whose label it is."""

SIZES: Final = (2, 6)
"""`weight`: how the first and the last client's numbers of images relate."""
MOST_NOISE: Final = 0.2
"""`noisex`: the last client's standard deviation, where pixels run from 0 to 1."""
MOST_MOVED: Final = 0.2
"""`noisey`: the part of the last client's labels that is wrong."""

MOST_OF_RARE: Final = 0.6
"""`rare`: what part of the rarest label's images the first client has."""

ALPHA: Final = 0.5
"""`dirichlet`: how alike the clients are where nobody says."""
LEAST_ALPHA: Final = 1e-3
MOST_ALPHA: Final = 1e6

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Part:
    """One client's own training images, labels or targets, and in which strata they are."""

    images: Images
    labels: Said
    strata: Labels


Split = Callable[[Dataset, int, np.random.Generator], list[Part]]


def same(dataset: Dataset, clients: int, rng: np.random.Generator) -> list[Part]:
    """Same size, same distribution: each label's images in K equal parts."""
    return _dealt(dataset, np.full((dataset.classes, clients), 1 / clients), rng)


def mix(dataset: Dataset, clients: int, rng: np.random.Generator) -> list[Part]:
    """Same size, different distribution: 80% of a label's images go to its owners, 20% to all others.

    With at most as many clients as labels, label c is owned by client ⌊c·K/labels⌋ (so client i of 5 owns digits 2i
    and 2i+1); with more clients, client i owns label ⌊i·labels/K⌋, and owners share equally.
    """
    owners = np.zeros((dataset.classes, clients), bool)
    if clients <= dataset.classes:
        labels = np.arange(dataset.classes)
        owners[labels, labels * clients // dataset.classes] = True
    else:
        numbers = np.arange(clients)
        owners[numbers * dataset.classes // clients, numbers] = True
    owned = owners.sum(axis=1, keepdims=True)
    return _dealt(dataset, np.where(owners, OWN_SHARE / owned, (1 - OWN_SHARE) / (clients - owned)), rng)


def weight(dataset: Dataset, clients: int, rng: np.random.Generator) -> list[Part]:
    """Different size, same distribution: sizes grow from 2 to 6, so 2 : 3 : 4 : 5 : 6 for 5 clients."""
    sizes = np.linspace(*SIZES, clients)
    return _dealt(dataset, np.tile(sizes / sizes.sum(), (dataset.classes, 1)), rng)


def noisex(dataset: Dataset, clients: int, rng: np.random.Generator) -> list[Part]:
    """Noisy features: as `same`, and Gaussian noise on the pixels, none at the first client to 0.2 at the last."""
    parts = same(dataset, clients, rng)
    return [
        replace(part, images=_noisy(part.images, level, rng))
        for part, level in zip(parts, np.linspace(0, MOST_NOISE, clients), strict=True)
    ]


def noisey(dataset: Dataset, clients: int, rng: np.random.Generator) -> list[Part]:
    """Noisy labels: as `same`, and 0% of the first client's labels to 20% of the last's are moved to another one."""
    parts = same(dataset, clients, rng)
    return [
        replace(part, labels=_moved(part.labels, level, dataset, rng))
        for part, level in zip(parts, np.linspace(0, MOST_MOVED, clients), strict=True)
    ]


def types(dataset: Dataset, clients: int, rng: np.random.Generator) -> list[Part]:
    """Types of clients: type j draws images, with replacement, uniformly over all labels but the last j.

    There are as many types as labels; client i is of type ⌊i·labels/K⌋. Everybody draws ⌊images/K⌋ images; two clients
    may draw the same one.
    """
    dataset.check_clients(clients)
    labels = np.unique(dataset.strata)
    positions = [np.flatnonzero(dataset.strata == label) for label in labels]
    parts = []
    for client in range(clients):
        known = len(labels) - client * len(labels) // clients
        drawn = rng.integers(0, known, len(dataset.y_train) // clients)
        parts.append(_part(dataset, [int(rng.choice(positions[label])) for label in drawn]))
    return parts


def dirichlet(dataset: Dataset, clients: int, rng: np.random.Generator, alpha: float = ALPHA) -> list[Part]:
    """Different size and distribution: each label's images go to the clients by shares from Dirichlet(α, …, α).

    With a large α all clients are alike, with a small one each has few labels. Every image goes to one client.
    """
    return _dealt(dataset, rng.dirichlet(np.full(clients, alpha), dataset.classes), rng)


def rare(dataset: Dataset, clients: int, rng: np.random.Generator) -> list[Part]:
    """About the same size: 60% of the rarest label's images go to the first client, none to the last.

    The others share the rest of it equally, and all clients all other labels; of two clients the first gets them all.
    """
    shares = np.full((dataset.classes, clients), 1 / clients)
    rarest = int(np.bincount(dataset.strata, minlength=dataset.classes).argmin())
    between = clients - 2
    shares[rarest] = [
        MOST_OF_RARE if between else 1.0,
        *[(1 - MOST_OF_RARE) / max(between, 1)] * between,
        0.0,
    ]
    return _dealt(dataset, shares, rng)


SPLITS: Final[Mapping[str, Split]] = {
    "same": same,
    "mix": mix,
    "weight": weight,
    "noisex": noisex,
    "noisey": noisey,
    "types": types,
    "rare": rare,
    "dirichlet": dirichlet,
}


def split_of(case: str) -> Split:
    """The split that a case names: one of `SPLITS`, or "dirichlet:α"; raises `SettingsError`."""
    name, given, alpha = case.partition(":")
    if name not in SPLITS or (given and name != "dirichlet"):
        hint = f"choose one of {', '.join(SPLITS)}; dirichlet:0.1 names its alpha"
        raise SettingsError(f"no such split: {case!r}", where="--split", hint=hint)
    return partial(dirichlet, alpha=_alpha(alpha)) if given else SPLITS[name]


def _alpha(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not LEAST_ALPHA <= value <= MOST_ALPHA:
        message = f"{text!r} is not an alpha of a Dirichlet distribution"
        hint = f"choose a number from {LEAST_ALPHA:g} (each client has few labels) to {MOST_ALPHA:g} (all are alike)"
        raise SettingsError(message, where="--split", hint=hint)
    return value


def _noisy(images: Images, level: float, rng: np.random.Generator) -> Images:
    noise = rng.standard_normal(images.shape, np.float32)
    return as_float(images) + np.float32(level) * noise


def _moved(labels: Said, share: float, dataset: Dataset, rng: np.random.Generator) -> Said:
    """Some labels moved to another one; of targets, to that of any image."""
    moved, classes = labels.copy(), dataset.classes
    chosen = rng.permutation(len(labels))[: round(share * len(labels))]
    if dataset.real:
        moved[chosen] = rng.choice(dataset.y_train, len(chosen))
    else:
        moved[chosen] = (moved[chosen] + rng.integers(1, classes, len(chosen))) % classes
    return moved


def _dealt(dataset: Dataset, shares: Shares, rng: np.random.Generator) -> list[Part]:
    """Deal each label's images, shuffled, by its row of `shares` (labels, K); rows sum to 1."""
    clients = shares.shape[1]
    dataset.check_clients(clients)
    dealt: list[list[int]] = [[] for _ in range(clients)]
    strata = dataset.strata
    for label, row in enumerate(shares):
        positions = rng.permutation(np.flatnonzero(strata == label))
        # Which clients get the odd images turns with the label, so that sizes stay equal over all labels.
        turned = np.roll(np.arange(clients), -label * clients // len(shares))
        ends = np.rint(np.cumsum(row[turned]) * len(positions)).astype(int)[:-1]
        for client, part in zip(turned, np.split(positions, ends), strict=True):
            dealt[client] += part.tolist()
    _fill_empty(dealt)
    return [_part(dataset, positions) for positions in dealt]


def _fill_empty(dealt: list[list[int]]) -> None:
    """Nobody trains on nothing: who got no image takes one from who has most."""
    for positions in dealt:
        if not positions:
            positions.append(max(dealt, key=len).pop())


def _part(dataset: Dataset, positions: list[int]) -> Part:
    return Part(dataset.x_train[positions], dataset.y_train[positions], dataset.strata[positions])
