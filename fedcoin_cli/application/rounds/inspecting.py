"""A round inspected before anybody is paid: its updates looked at side by side, and what of that needs a word.

What is conspicuous is `learning.scrutiny`'s to say; here files become its input. Only exact copies by two addresses
keep a requester from publishing, until it says that they are meant.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fedcoin_cli.application.rounds.files import BASELINE_NAME, INITIAL_NAME, Round
from fedcoin_cli.application.workspace.settings import TaskSettings
from ledger_store.base.errors import RoundFilesInvalid
from ledger_store.base.names import Address
from ledger_store.transaction import Update

if TYPE_CHECKING:
    from fedcoin_cli.learning.scrutiny.look import Looked
    from fedcoin_cli.learning.scrutiny.sketch import Source

_PLACES = 6


@dataclass(frozen=True, slots=True)
class Inspected:
    """What an inspection came to; clients are numbered from 0 in `looked`, in the order of `updates`.

    Attributes:
        updates: whose updates were looked at.
        start: the file of the weights that all began with; None where nobody knows them.
        looked: measures and signs.
        values: what each client is worth in percentage points, once that is known; empty before.
    """

    updates: tuple[Update, ...]
    start: Path | None
    looked: "Looked"
    values: tuple[float, ...] = ()

    @property
    def copies(self) -> tuple[tuple[int, int], ...]:
        """Pairs of clients (from 0), the later one first, whose updates are equal number by number."""
        from fedcoin_cli.learning.scrutiny.signs import Kind

        return tuple(
            (one.client, one.other)
            for one in self.looked.signs
            if one.kind is Kind.copy and one.other is not None
        )

    def with_values(self, values: tuple[float, ...], errors: tuple[float, ...]) -> "Inspected":
        """The same once values are known, in percentage points with their standard errors."""
        from fedcoin_cli.learning.scrutiny.look import ordered
        from fedcoin_cli.learning.scrutiny.signs import harmful

        signs = ordered([*self.looked.signs, *harmful(values, errors)])
        return replace(self, values=values, looked=replace(self.looked, signs=signs))

    def to_json(self) -> dict[str, Any]:
        """For programs: clients are numbered from 1, what is not known is null."""
        found = self.looked.measures
        columns = {
            "step": found.length,
            "cosine_with_others": found.alignment,
            "distance": found.distance,
            "cosine_with_nearest": found.cosine,
        }
        clients = []
        for number, update in enumerate(self.updates):
            nearest = int(found.nearest[number])
            line: dict[str, Any] = {
                "number": number + 1,
                "address": update.client,
                "examples": update.examples,
            }
            line |= {name: _finite(column[number]) for name, column in columns.items()}
            line["nearest"] = nearest + 1 if nearest >= 0 else None
            line["value"] = _finite(self.values[number]) if self.values else None
            clients.append(line)
        signs = [
            {
                "number": one.client + 1,
                "address": self.updates[one.client].client,
                "kind": one.kind.value,
                "measure": _finite(one.measure),
                "limit": _finite(one.limit),
                "other": None if one.other is None else one.other + 1,
                "tensor": one.tensor,
            }
            for one in self.looked.signs
        ]
        start = None if self.start is None else str(self.start)
        return {"start": start, "clients": clients, "signs": signs, "exact_copies": len(self.copies)}


def inspect_round(made: Round, start: Path | None = None) -> Inspected:
    """Look at a round's updates; `start` names the weights that all began with, where the round does not keep them.

    Raises:
        RoundFilesInvalid: a file cannot be read, or an update has other tensors than the others.
    """
    return inspect_files(made.updates, [made.paths[one.digest] for one in made.updates], start or _kept(made))


def inspect_files(updates: tuple[Update, ...], paths: list[Path], start: Path | None = None) -> Inspected:
    """The same of updates whose files lie anywhere, in their order."""
    from fedcoin_cli.learning.scrutiny.look import look

    files = [_tensors(path, f"client {number}") for number, path in enumerate(paths, 1)]
    origin = None if start is None else dict(_tensors(start, "the initial weights")())
    examples = [update.examples for update in updates]
    try:
        return Inspected(updates, start, look(files, origin, examples=examples, seed=seed_of(updates)))
    except ValueError as error:
        _refuse(
            str(error), paths[0].parent, "all updates of a round, and the weights they began with, are alike"
        )


def look_first(
    made: Round, settings: TaskSettings, groups: Sequence[Sequence[Address]] = ()
) -> Inspected | None:
    """The same before a round is published; None where the settings say not to look.

    `groups` are addresses of one owner each. Raises `RoundFilesInvalid` for exact copies by two owners, unless the
    settings allow them.
    """
    if settings.inspect == "no":
        return None
    found = inspect_round(made)
    if settings.copies == "refuse":
        _check_copies(found, groups, made.folder)
    return found


def _check_copies(found: Inspected, groups: Sequence[Sequence[Address]], where: Path) -> None:
    """What one owner sends twice is paid once: copies of two owners are refused."""
    owner = {address: group[0] for group in groups for address in group}
    owners = [owner.get(update.client, update.client) for update in found.updates]
    twice = [(client, other) for client, other in found.copies if owners[client] != owners[other]]
    if not twice:
        return
    client, other = twice[0]
    more = f", and {len(twice) - 1} more copies" if len(twice) > 1 else ""
    message = (
        f"clients {other + 1} and {client + 1} send the very same update{more}: both would be paid for it"
    )
    hint = 'leave one out, or say that it is meant: --allow-copies (settings: task.copies = "allow")'
    raise RoundFilesInvalid(message, where=str(where), hint=hint)


def seed_of(updates: tuple[Update, ...]) -> int:
    """What sketches are drawn by: it follows from all updates, so that nobody can fit one to it; equal rounds agree."""
    return int.from_bytes(hashlib.sha256("".join(one.digest for one in updates).encode()).digest()[:8])


def _kept(made: Round) -> Path | None:
    """The weights that all began with, as far as the round tells: those of its recipe, else its call's baseline."""
    for name in (INITIAL_NAME, BASELINE_NAME):
        if (made.folder / name).is_file():
            return made.folder / name
    return None


def _tensors(path: Path, owner: str) -> "Source":
    from fedcoin_cli.learning.model.tensorfile import TensorFile

    def read() -> Iterator[tuple[str, Any]]:
        file = TensorFile(path, owner)
        for name in file.entries:
            yield name, file.read(name)

    return read


def _finite(number: Any) -> float | None:
    return round(float(number), _PLACES) if isfinite(number) else None


def _refuse(message: str, path: Path, hint: str) -> NoReturn:
    raise RoundFilesInvalid(message, where=str(path), hint=hint)
