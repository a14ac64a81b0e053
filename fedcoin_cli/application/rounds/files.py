"""A round directory as a requester reads it: every file checked, hashed and signed for before anything is sent.

A round of real clients holds the call that they have answered, and their signatures. One of simulated clients holds
neither: whoever publishes it has the clients' keys, and signs for them what is then asked for.

Numbers and shapes are judged by `learning.model.weights` (NumPy, no TensorFlow), imported only when a round is read.
What a task asks for is `terms`' business.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ledger_store.base import disk
from ledger_store.base.errors import Malformed, RoundFilesInvalid
from ledger_store.base.fields import Fields
from ledger_store.base.names import Digest
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import SIGNATURE_LENGTH, verify
from ledger_store.transaction import AGGREGATIONS, Task, Update, read_call

if TYPE_CHECKING:
    from fedcoin_cli.learning.game.game import RoundFiles

ROUND_NAME, MODEL_NAME, TEST_NAME = "round.json", "model.json", "test.safetensors"
BASELINE_NAME, FROZEN_NAME = "baseline.safetensors", "frozen.safetensors"
INITIAL_NAME = "initial.safetensors"
SCHEMA = 3

_KEYS = (
    "aggregation",
    "call",
    "frozen",
    "genesis",
    "images",
    "model",
    "recipe",
    "schema",
    "test",
    "updates",
)
_UPDATE_KEYS = ("client", "digest", "examples", "file", "signature")
UNSIGNED = ""
"""A signature that is still to be made."""
_ROUND_BYTES_MAX = 2**24


@dataclass(frozen=True, slots=True)
class Round:
    """A round whose files are what `round.json` says; `paths` maps digests to files.

    `call` are the terms that real clients have signed; None where the clients are simulated and have signed nothing.
    `recipe` tells people how simulated clients trained, where anybody says.
    """

    folder: Path
    call: Task | None
    model: Digest
    test: Digest
    frozen: Digest | None
    images: int
    aggregation: str
    updates: tuple[Update, ...]
    paths: Mapping[Digest, Path]
    recipe: Any = None

    def files(self, updates: tuple[Path, ...]) -> "RoundFiles":
        """The files of a game of some updates."""
        from fedcoin_cli.learning.game.game import RoundFiles

        frozen = None if self.frozen is None else self.paths[self.frozen]
        return RoundFiles(self.paths[self.model], self.paths[self.test], updates, frozen=frozen)

    def called(self, named: Path | None) -> tuple[Path | None, ...]:
        """The files that its call names; `named` is the baseline's, where it is a file."""
        frozen = None if self.frozen is None else self.paths[self.frozen]
        return self.paths[self.model], self.paths[self.test], named, frozen

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(path.stat().st_size for path in self.paths.values())


def read_round(folder: Path, genesis: Genesis) -> Round:
    """Read and check a round directory for the network of `genesis`.

    Raises `RoundFilesInvalid`, naming file and client: missing, truncated, oversized, mis-shaped, not finite, another
    format, changed since it was signed, two updates of one client, zero examples, a wrong signature.
    """
    return _Reader(folder, genesis).read()


def listed_round(folder: Path, genesis: Genesis) -> Round:
    """A round as its `round.json` lists it: the same, but what is in model, test set and updates is not looked at.

    Raises `RoundFilesInvalid` for whatever else `read_round` does.
    """
    return _Reader(folder, genesis, contents=False).read()


class _Reader:
    """One reading; `refuse` names the place."""

    def __init__(self, folder: Path, genesis: Genesis, *, contents: bool = True) -> None:
        self._folder, self._genesis = folder, genesis
        # Whether files are read, too: their sizes are always looked at.
        self._contents = contents

    def read(self) -> Round:
        try:
            return self._round(Fields(self._document(), _KEYS, ROUND_NAME))
        except Malformed as error:
            self._refuse(error.message, ROUND_NAME)

    def _document(self) -> Any:
        path = self._folder / ROUND_NAME
        if not self._folder.is_dir():
            raise RoundFilesInvalid("no such round", where=str(self._folder), hint="fedcoin train makes one")
        try:
            with disk.open_file(path) as file:
                text = file.read(_ROUND_BYTES_MAX + 1)
            if len(text) > _ROUND_BYTES_MAX:
                self._refuse("larger than 16 MiB", ROUND_NAME)
            return json.loads(text)
        except FileNotFoundError:
            self._refuse("the round has no round.json", ROUND_NAME)
        except OSError as error:
            self._refuse(f"cannot read it: {error.strerror}", ROUND_NAME)
        except (ValueError, RecursionError):
            self._refuse("not JSON", ROUND_NAME)

    def _round(self, fields: Fields) -> Round:
        fields.integer("schema", SCHEMA, SCHEMA)
        if fields.block_id("genesis") != self._genesis.id:
            self._refuse("the round was signed for another network", ROUND_NAME)
        model, test, frozen = fields.digest("model"), fields.digest("test"), fields.optional_digest("frozen")
        images = fields.integer("images", 1, self._genesis.bounds.images)
        aggregation = fields.choice("aggregation", AGGREGATIONS)
        call = None if fields.raw("call") is None else read_call(fields.raw("call"))
        fixed = (model, test, frozen, images, aggregation)
        if call is not None and (call.model, call.test, call.frozen, call.images, call.aggregation) != fixed:
            self._refuse("the round is not what its call asks for", ROUND_NAME)
        signed = self._updates(fields, call)
        files = {
            MODEL_NAME: model,
            TEST_NAME: test,
            **{name: update.digest for name, update in signed.items()},
        }
        if frozen is not None:
            files[FROZEN_NAME] = frozen
        if call is not None and call.named is not None:
            files[BASELINE_NAME] = call.named
        self._check_sizes(files)
        if self._contents:
            self._check_contents(
                tuple(signed), images, None if frozen is None else self._folder / FROZEN_NAME
            )
            self._check_digests(files)
        return Round(
            folder=self._folder,
            call=call,
            model=model,
            test=test,
            frozen=frozen,
            images=images,
            aggregation=aggregation,
            updates=tuple(signed.values()),
            paths={digest: self._folder / name for name, digest in files.items()},
            recipe=fields.raw("recipe"),
        )

    def _updates(self, fields: Fields, call: Task | None) -> dict[str, Update]:
        """Updates by file name, in client order."""
        entries = fields.array("updates", self._genesis.bounds.clients, 2)
        readers = [Fields(entry, _UPDATE_KEYS, f"{ROUND_NAME} updates") for entry in entries]
        updates = [self._update(reader, signed=call is not None) for reader in readers]
        self._check_clients([update for _, update in updates])
        if call is not None:
            self._check_signatures(call, updates)
        if len(dict(updates)) != len(updates):
            self._refuse("two updates are one file", ROUND_NAME)
        return dict(updates)

    def _check_signatures(self, call: Task, updates: Sequence[tuple[str, Update]]) -> None:
        if not call.least_clients <= len(updates) <= call.most_clients:
            self._refuse(f"the call asks for {call.least_clients} to {call.most_clients} clients", ROUND_NAME)
        for number, (name, update) in enumerate(updates, 1):
            terms = call.update_terms(update)
            if not verify(update.client, "update", self._genesis.id, terms, update.signature):
                self._refuse(f"client {number}: the signature does not cover this update", name)

    def _check_clients(self, updates: Sequence[Update]) -> None:
        seen: dict[str, int] = {}
        for number, update in enumerate(updates, 1):
            if update.examples == 0:
                self._refuse(f"client {number}: zero examples", ROUND_NAME)
            if seen.setdefault(update.client, number) != number:
                self._refuse(f"clients {seen[update.client]} and {number} have one address", ROUND_NAME)

    def _update(self, entry: Fields, *, signed: bool) -> tuple[str, Update]:
        name = entry.text("file", 255)
        if name != Path(name).name or name in {"", ".", ".."}:
            self._refuse(f"{name!r} is not a file of this folder", ROUND_NAME)
        update = Update(
            digest=entry.digest("digest"),
            client=entry.address("client"),
            examples=entry.integer("examples", 0, self._genesis.bounds.examples),
            signature=entry.hexadecimal("signature", SIGNATURE_LENGTH) if signed else UNSIGNED,
        )
        if not signed and entry.raw("signature") is not None:
            self._refuse("a signature without a call that it answers", ROUND_NAME)
        return name, update

    def _check_sizes(self, files: Mapping[str, Digest]) -> None:
        total = 0
        for name in files:
            try:
                total += (self._folder / name).stat().st_size
            except FileNotFoundError:
                self._refuse("the file is missing", name)
        if total > self._genesis.bounds.files_bytes:
            self._refuse(f"{total} bytes; this network takes {self._genesis.bounds.files_bytes} a task", "")

    def _check_contents(self, updates: tuple[str, ...], images: int, frozen: Path | None) -> None:
        # Here, because NumPy takes longer to import than most commands take to run.
        from fedcoin_cli.learning.model.model import MAX_MODEL_BYTES
        from fedcoin_cli.learning.model.reading import read_model
        from fedcoin_cli.learning.model.weights import read_frozen, read_test, read_update

        model = self._folder / MODEL_NAME
        with disk.open_file(model) as file:
            described = read_model(file.read(MAX_MODEL_BYTES + 1), where=str(model))
        if len(read_test(self._folder / TEST_NAME, described)) != images:
            self._refuse(f"the test set does not hold the {images} images that {ROUND_NAME} names", TEST_NAME)
        read_frozen(frozen, described.frozen, where=str(model))
        for number, name in enumerate(updates, 1):
            read_update(self._folder / name, described, owner=f"client {number}")

    def _check_digests(self, files: Mapping[str, Digest]) -> None:
        for name, digest in files.items():
            with disk.open_file(self._folder / name) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    self._refuse("the file changed after it was signed", name)

    def _refuse(self, message: str, name: str) -> NoReturn:
        hint = "fedcoin train writes a round; signed files must stay as they are"
        raise RoundFilesInvalid(message, where=str(self._folder / name), hint=hint)
