"""A call for updates: the model and the test set of a round, fixed and named before any client has trained.

    call.json   {"schema":1,"genesis","nonce","model","test","images","aggregation"}

It goes to the clients with `model.json`. A client trains on its own host, signs for its weights with the key that is
to be paid (`sign_update`), and gives back two files: the weights, and beside them the signed update

    NAME.update.json   {"schema":1,"genesis","nonce","model","test","file","digest","client","examples","signature"}

Its training images never leave its host. How updates become a round is `gathering`'s business.
"""

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from fedcoin_cli.application.rounds.files import MODEL_NAME, SCHEMA, TEST_NAME
from ledger_store import disk
from ledger_store.canonical import DIGEST_LENGTH, digest
from ledger_store.errors import Malformed, RoundFilesInvalid
from ledger_store.fields import Fields
from ledger_store.genesis import Genesis
from ledger_store.keys import ADDRESS_LENGTH, SIGNATURE_LENGTH, KeyPair, verify
from ledger_store.transaction import AGGREGATIONS, NONCE_LENGTH, Update, update_terms

CALL_NAME, UPDATE_SUFFIX = "call.json", ".update.json"
_CALL_KEYS = ("aggregation", "genesis", "images", "model", "nonce", "schema", "test")
_UPDATE_KEYS = (
    "client",
    "digest",
    "examples",
    "file",
    "genesis",
    "model",
    "nonce",
    "schema",
    "signature",
    "test",
)


@dataclass(frozen=True, slots=True)
class UpdateCall:
    """What updates are asked for: digests of model and test set, and a nonce that no other round has."""

    genesis: str
    nonce: str
    model: str
    test: str
    images: int
    aggregation: str

    def terms(self, weights: str, examples: int) -> dict[str, Any]:
        """What a client signs."""
        return update_terms(self.model, self.test, weights, examples, self.nonce)


def make_call(folder: Path, genesis: Genesis, model: Path, test: Path, aggregation: str) -> UpdateCall:
    """Copy model and test set into the empty `folder` and write its call; raises `RoundFilesInvalid`."""
    from fedcoin_cli.learning.model import parse_model
    from fedcoin_cli.learning.weights import read_test

    spec = parse_model(_read(model), where=str(model))
    if not test.is_file():
        _refuse("no such test set", test, "a .safetensors file with x (float32 or uint8) and y (int32)")
    images = len(read_test(test, spec))
    for source, name in ((model, MODEL_NAME), (test, TEST_NAME)):
        shutil.copyfile(source, folder / name)
    call = UpdateCall(
        genesis=genesis.id,
        nonce=secrets.token_hex(NONCE_LENGTH // 2),
        model=digest((folder / MODEL_NAME).read_bytes()),
        test=digest((folder / TEST_NAME).read_bytes()),
        images=images,
        aggregation=aggregation,
    )
    write_json(folder / CALL_NAME, {"schema": SCHEMA, **asdict(call)})
    return call


def read_call(path: Path, genesis: Genesis) -> UpdateCall:
    """Read a call of this network; raises `RoundFilesInvalid`."""
    try:
        fields = Fields(_document(path, "fedcoin round call makes one"), _CALL_KEYS, path.name)
        fields.integer("schema", SCHEMA, SCHEMA)
        call = UpdateCall(
            genesis=fields.hexadecimal("genesis", DIGEST_LENGTH),
            nonce=fields.hexadecimal("nonce", NONCE_LENGTH),
            model=fields.hexadecimal("model", DIGEST_LENGTH),
            test=fields.hexadecimal("test", DIGEST_LENGTH),
            images=fields.integer("images", 1, genesis.bounds.images),
            aggregation=fields.choice("aggregation", AGGREGATIONS),
        )
    except Malformed as error:
        _refuse(error.message, path, "ask its publisher for the file that fedcoin round call wrote")
    if call.genesis != genesis.id:
        _refuse("this call is for another network", path, "sign in the workspace of the network that pays")
    return call


def sign_update(weights: Path, call_file: Path, genesis: Genesis, key: KeyPair, examples: int) -> Path:
    """Sign for a weights file; returns the signed update beside it. Raises `RoundFilesInvalid`.

    Where the call's model lies beside it, the weights are checked against that first.
    """
    call = read_call(call_file, genesis)
    if not weights.is_file():
        _refuse("no such weights file", weights, "one tensor a weight: 000, 001, … in get_weights() order")
    if examples > genesis.bounds.examples:
        _refuse(
            f"{examples} examples; this network counts to {genesis.bounds.examples}", weights, "count again"
        )
    _check_weights(weights, call_file.with_name(MODEL_NAME), call)
    content = digest(weights.read_bytes())
    path = weights.with_name(weights.name.removesuffix(".safetensors") + UPDATE_SUFFIX)
    document = {
        "schema": SCHEMA,
        "genesis": call.genesis,
        "nonce": call.nonce,
        "model": call.model,
        "test": call.test,
        "file": weights.name,
        "digest": content,
        "client": key.address,
        "examples": examples,
        "signature": key.sign("update", call.genesis, call.terms(content, examples)),
    }
    write_json(path, document)
    return path


def read_signed(path: Path, call: UpdateCall, genesis: Genesis) -> tuple[Path, Update]:
    """The weights file and the update that a client signed for this call; raises `RoundFilesInvalid`."""
    hint = "ask the client to sign again: fedcoin update sign"
    try:
        fields = Fields(_document(path, hint), _UPDATE_KEYS, path.name)
        fields.integer("schema", SCHEMA, SCHEMA)
        for name in ("genesis", "nonce", "model", "test"):
            if fields.raw(name) != getattr(call, name):
                _refuse(f"this update answers another call: its {name} differs", path, hint)
        name = fields.text("file", 255)
        update = Update(
            digest=fields.hexadecimal("digest", DIGEST_LENGTH),
            client=fields.hexadecimal("client", ADDRESS_LENGTH),
            examples=fields.integer("examples", 1, genesis.bounds.examples),
            signature=fields.hexadecimal("signature", SIGNATURE_LENGTH),
        )
    except Malformed as error:
        _refuse(error.message, path, hint)
    weights = path.parent / name
    if name != Path(name).name or not weights.is_file():
        _refuse(f"the weights {name!r} do not lie beside it", path, "the two files travel together")
    terms = call.terms(update.digest, update.examples)
    if not verify(update.client, "update", call.genesis, terms, update.signature):
        _refuse("the signature does not cover this update", path, hint)
    if digest(weights.read_bytes()) != update.digest:
        _refuse("the weights changed after they were signed", weights, hint)
    return weights, update


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Write a small document for people and programs, whole or not at all."""
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    disk.put_in_place(disk.stage(path, text.encode("ascii")), path)


def _check_weights(weights: Path, model: Path, call: UpdateCall) -> None:
    from fedcoin_cli.learning.model import parse_model
    from fedcoin_cli.learning.weights import read_update

    if model.is_file():
        text = model.read_bytes()
        if digest(text) != call.model:
            _refuse("this is not the model of the call", model, "keep model.json and call.json as they came")
        read_update(weights, parse_model(text, where=str(model)))


def _document(path: Path, hint: str) -> Any:
    text = _read(path, hint)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        _refuse("not JSON", path, hint)


def _read(path: Path, hint: str = "name a file that Keras' model.to_json() wrote") -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(2**20)
    except OSError as error:
        _refuse(f"cannot read it: {error.strerror}", path, hint)


def _refuse(message: str, path: Path, hint: str) -> NoReturn:
    raise RoundFilesInvalid(message, where=str(path), hint=hint)
