"""Gathering signed updates of real clients into the round that `publish` reads.

Every update is checked as a requester's round is: signature, digest, shape, finiteness, one a client. Clients are
numbered by the names of their update files. `round.json` is written last.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedcoin_cli.application.rounds.calling import (
    CALL_NAME,
    UPDATE_SUFFIX,
    read_call_file,
    read_signed,
    write_json,
)
from fedcoin_cli.application.rounds.files import (
    MODEL_NAME,
    ROUND_NAME,
    SCHEMA,
    Round,
    listed_round,
    read_round,
)
from fedcoin_cli.application.rounds.writing import update_name
from fedcoin_cli.learning.model.reading import read_model
from fedcoin_cli.learning.model.weights import read_update
from ledger_store.base.errors import NotFound, RoundFilesInvalid
from ledger_store.base.names import Address
from ledger_store.genesis import Genesis
from ledger_store.transaction import Task, Update


def updates_in(places: Iterable[Path]) -> list[Path]:
    """The signed updates that are named, or are in the folders that are; sorted by name. Raises `NotFound`."""
    found: set[Path] = set()
    for place in places:
        inside = set(place.glob(f"*{UPDATE_SUFFIX}")) if place.is_dir() else {place}
        if not inside or not all(path.is_file() for path in inside):
            hint = f"clients give back NAME{UPDATE_SUFFIX} and its weights: fedcoin update sign"
            raise NotFound("no signed update here", where=str(place), hint=hint)
        found |= {path.resolve() for path in inside}
    return sorted(found, key=lambda path: (path.name, path))


def gather(folder: Path, updates: Iterable[Path], genesis: Genesis) -> Round:
    """Make `folder`, which holds a call, a whole round of these updates; raises `RoundFilesInvalid`."""
    call = read_call_file(folder / CALL_NAME, genesis)
    if (folder / ROUND_NAME).exists():
        hint = "fedcoin round call begins another; a published round stays as it is"
        raise RoundFilesInvalid("this round is gathered already", where=str(folder), hint=hint)
    described = read_model((folder / MODEL_NAME).read_bytes(), where=str(folder / MODEL_NAME))
    signed = [(path, *read_signed(path, call, genesis)) for path in updates]
    _check_clients([(path, update) for path, _, update in signed], call)
    for _, weights, _ in signed:
        read_update(weights, described)
    entries = []
    for number, (_, weights, update) in enumerate(signed, 1):
        shutil.copyfile(weights, folder / update_name(number))
        entries.append(
            {
                "file": update_name(number),
                "digest": update.digest,
                "client": update.client,
                "examples": update.examples,
                "signature": update.signature,
            }
        )
    document = {
        "schema": SCHEMA,
        "genesis": genesis.id,
        "call": call.called,
        "frozen": call.frozen,
        "model": call.model,
        "test": call.test,
        "images": call.images,
        "aggregation": call.aggregation,
        "recipe": None,
        "updates": entries,
    }
    write_json(folder / ROUND_NAME, document)
    return read_round(folder, genesis)


def leave_out(made: Round, client: Address, genesis: Genesis) -> Round:
    """Take a client out of a gathered round that nobody has paid for; raises `RoundFilesInvalid` where few are left."""
    left = len(made.updates) - 1
    if left < (least := 2 if made.call is None else made.call.least_clients):
        message = f"{left} of its clients would be left, and the round asks for {least}: nobody is paid"
        raise RoundFilesInvalid(message, where=str(made.folder))
    path = made.folder / ROUND_NAME
    document = json.loads(path.read_bytes())
    document["updates"] = [entry for entry in document["updates"] if entry["client"] != client]
    write_json(path, document)
    return listed_round(made.folder, genesis)


@dataclass(frozen=True, slots=True)
class Alone:
    """How good updates are by themselves, in client order, what one output for all is, and each in words.

    The share of test images, or of tokens, that are labelled correctly; by real-valued targets R². An update that is no
    better than chance may be fine; more often it is not what its client meant to send.
    """

    measures: tuple[float, ...]
    chance: float
    words: tuple[str, ...]


def alone(made: Round) -> Alone:
    """How good each client's update is by itself; without TensorFlow."""
    from fedcoin_cli.learning.game.game import Game
    from fedcoin_cli.learning.metrics.plain import plain, plain_chance, told
    from fedcoin_cli.learning.reference.referee import own_outputs

    updates = tuple(made.paths[update.digest] for update in made.updates)
    game = Game.load(made.files(updates))
    measures = tuple(plain(game.test, own_outputs(game, client)) for client in range(game.clients))
    return Alone(measures, plain_chance(game.test), tuple(told(game.test, one) for one in measures))


def _check_clients(updates: list[tuple[Path, Update]], call: Task) -> None:
    if not call.least_clients <= len(updates) <= call.most_clients:
        message = f"{len(updates)} updates; the call asks for {call.least_clients} to {call.most_clients}"
        raise RoundFilesInvalid(message, hint="name more of them, or their folder; or fewer")
    seen: dict[str, Path] = {}
    for path, update in updates:
        if (other := seen.setdefault(update.client, path)) != path:
            message = f"{other.name} and {path.name} are one client's"
            raise RoundFilesInvalid(message, where=str(path), hint="take one update of each client")
