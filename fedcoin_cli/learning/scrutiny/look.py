"""A look at all updates of a round: sketched one by one, compared, and what seems to be a copy read once more."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.scrutiny.signs import (
    MIRRORED,
    NEAR,
    SCALED,
    Comparison,
    Kind,
    Measures,
    Sign,
    signs_of,
)
from fedcoin_cli.learning.scrutiny.sketch import Floats, Profiles, Source, sketched

_ORDER = {kind: place for place, kind in enumerate(Kind)}
# From here on a copy is called scaled.
_SCALED_BY = 0.01
_LIMITS = {Kind.mirrored: MIRRORED, Kind.scaled: SCALED, Kind.near: NEAR}


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look came to.

    Attributes:
        known: whether steps are from the weights that all began with, else from the updates' median.
        measures: a number a client and measure.
        signs: what is conspicuous, by client and kind.
    """

    known: bool
    measures: Measures
    signs: tuple[Sign, ...]


def look(
    updates: Sequence[Source],
    origin: Mapping[str, npt.NDArray[Any]] | None = None,
    *,
    examples: Sequence[int] | None = None,
    seed: int = 0,
) -> Looked:
    """Look at updates, each read once, and once more where it may be a copy.

    Args:
        updates: K ≥ 1 updates as named float32 tensors, each of which can be read again.
        origin: the weights that all began with; None where nobody knows them.
        examples: how many examples each client claims.
        seed: of the sketches; whoever fits an update to one must know it before.

    Raises:
        ValueError: an update has other tensors than the origin, or than the first; the message names the client.
    """
    profiles = sketched(updates, origin, seed)
    compared = Comparison(profiles, known=origin is not None)
    measures = compared.measures()
    signs = [*_copies(updates, profiles, compared, measures.length), *signs_of(compared, measures, examples)]
    return Looked(origin is not None, measures, ordered(signs))


def ordered(signs: Sequence[Sign]) -> tuple[Sign, ...]:
    """Signs by client, then by kind."""
    return tuple(sorted(signs, key=lambda one: (one.client, _ORDER[one.kind], one.tensor or "")))


def _copies(
    updates: Sequence[Source], profiles: Profiles, compared: Comparison, lengths: Floats
) -> Iterator[Sign]:
    same = dict(_same(updates, profiles))
    for client, other in same.items():
        yield Sign(client, Kind.copy, 1.0, 1.0, other)
    for client, other, cosine in compared.pairs():
        if client in same:
            continue
        kind = Kind.near
        if cosine < 0:
            kind = Kind.mirrored
        elif cosine >= SCALED and abs(lengths[client] / lengths[other] - 1) > _SCALED_BY:
            kind = Kind.scaled
        yield Sign(client, kind, cosine, _LIMITS[kind], other)


def _same(updates: Sequence[Source], profiles: Profiles) -> Iterator[tuple[int, int]]:
    """Clients whose every number is that of an earlier one: equal sketches first, then the updates themselves."""
    firsts: dict[bytes, int] = {}
    for client in np.flatnonzero(profiles.sound).tolist():
        first = firsts.setdefault(profiles.sketches[client].tobytes(), client)
        if first != client and _equal(updates[client], updates[first]):
            yield client, first


def _equal(one: Source, other: Source) -> bool:
    tensors = dict(other())
    return all(np.array_equal(tensor, tensors[name]) for name, tensor in one())
