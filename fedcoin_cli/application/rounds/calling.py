"""A call for updates: every term of a task but the updates, fixed before any client has trained.

    call.json   {"schema":2,"genesis","call":{every term that clients sign}}

It goes to the clients with `model.json`; beside it lie `frozen.safetensors`, where the model has weights that nobody
trains, and `baseline.safetensors`, where the call names one. A client trains on
its own host, signs for its weights with the key that is to be paid (`sign_weights`), and gives back two files: the
weights, and beside them the signed update

    NAME.update.json   {"schema":2,"genesis","call":digest,"file","digest","client","examples","signature"}

Its training images never leave its host. How updates become a round is `gathering`'s business.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from fedcoin_cli.application.rounds.files import BASELINE_NAME, FROZEN_NAME, MODEL_NAME, SCHEMA, TEST_NAME
from fedcoin_cli.application.rounds.judging import judged
from fedcoin_cli.application.rounds.terms import Asked, AskedTerms, fresh_nonce
from fedcoin_cli.contract.possession import held_by
from ledger_store.base import disk
from ledger_store.base.canonical import digest
from ledger_store.base.errors import Malformed, PeerFault, RoundFilesInvalid, SettingsError
from ledger_store.base.fields import Fields
from ledger_store.base.names import Address, Digest
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import SIGNATURE_LENGTH, KeyPair, verify
from ledger_store.state import check_terms
from ledger_store.transaction import Task, Update, read_call, sign_update

if TYPE_CHECKING:
    from fedcoin_cli.learning.model.interface import Model

CALL_NAME, UPDATE_SUFFIX = "call.json", ".update.json"
_CALL_KEYS = ("call", "genesis", "schema")
_UPDATE_KEYS = ("call", "client", "digest", "examples", "file", "genesis", "schema", "signature")


def make_call(
    folder: Path,
    genesis: Genesis,
    files: tuple[Path, Path],
    terms: AskedTerms,
    sender: Address,
    clients: tuple[int, int],
) -> Task:
    """Copy model and test set (`files`) into the empty `folder` and write the call of `sender` for them.

    Frozen weights of the model lie beside it as `frozen.safetensors`.

    `clients` are the fewest and the most that it asks for. Raises `RoundFilesInvalid`, and `SettingsError` for terms
    that this network does not admit: they could not be mended once clients have signed.
    """
    from fedcoin_cli.learning.game.game import products
    from fedcoin_cli.learning.model.reading import read_model
    from fedcoin_cli.learning.model.weights import read_test
    from fedcoin_cli.learning.reference.agreement import check_reading

    model, test = files
    text = _read(model)
    described = read_model(text, where=str(model))
    if terms.groups and products(described):
        hint = "leave --group out, or import the model with --lora factors"
        _refuse("updates of a model with products have no average, so owners cannot be grouped", model, hint)
    if not test.is_file():
        _refuse("no such test set", test, "a .safetensors file with x (float32 or uint8) and y (int32)")
    images = read_test(test, described)
    check_reading(text.decode(), described, images, where=str(model))
    frozen = _frozen_beside(model, described)
    how = judged(terms.settings.task, (model, test, frozen), len(images))
    asked = Asked(
        digest(model.read_bytes()),
        digest(test.read_bytes()),
        None if frozen is None else digest(frozen.read_bytes()),
        held_by(sender, (model, test, how.named, frozen)),
        len(images),
        how,
        terms.settings.task.aggregation,
        *clients,
    )
    call = terms.call(sender, asked, fresh_nonce())
    _check_terms(call, genesis)
    for source, name in ((model, MODEL_NAME), (test, TEST_NAME)):
        shutil.copyfile(source, folder / name)
    if frozen is not None:
        shutil.copyfile(frozen, folder / FROZEN_NAME)
    if how.named is not None:
        shutil.copyfile(how.named, folder / BASELINE_NAME)
    write_json(folder / CALL_NAME, {"schema": SCHEMA, "genesis": genesis.id, "call": call.called})
    return call


def _frozen_beside(model: Path, described: "Model") -> Path | None:
    """The file of the weights that no client trains, beside the model that has such; None where it has none."""
    if not described.frozen:
        return None
    path = model.with_name(FROZEN_NAME)
    if not path.is_file():
        _refuse("the model's frozen weights are missing", path, "they lie beside the model under this name")
    return path


def read_call_file(path: Path, genesis: Genesis) -> Task:
    """Read a call of this network, as a task without updates; raises `RoundFilesInvalid`."""
    try:
        fields = Fields(_document(path, "fedcoin round call makes one"), _CALL_KEYS, path.name)
        fields.integer("schema", SCHEMA, SCHEMA)
        if fields.block_id("genesis") != genesis.id:
            _refuse(
                "this call is for another network", path, "sign in the workspace of the network that pays"
            )
        return read_call(fields.raw("call"))
    except Malformed as error:
        _refuse(error.message, path, "ask its publisher for the file that fedcoin round call wrote")


def sign_weights(
    weights: Path, call_file: Path, genesis: Genesis, key: KeyPair, examples: int
) -> tuple[Path, Task]:
    """Sign for a weights file; returns the signed update beside it, and the call. Raises `RoundFilesInvalid`.

    Where the call's model is beside it, the weights are checked against that first.
    """
    call = read_call_file(call_file, genesis)
    if not weights.is_file():
        _refuse("no such weights file", weights, "one tensor a weight: 000, 001, … in get_weights() order")
    if examples > genesis.bounds.examples:
        _refuse(
            f"{examples} examples; this network counts to {genesis.bounds.examples}", weights, "count again"
        )
    _check_weights(weights, call_file.with_name(MODEL_NAME), call)
    update = sign_update(call, digest(weights.read_bytes()), examples, key, genesis.id)
    path = weights.with_name(weights.name.removesuffix(".safetensors") + UPDATE_SUFFIX)
    document = {
        "schema": SCHEMA,
        "genesis": genesis.id,
        "call": call.call,
        "file": weights.name,
        **update.to_json(),
    }
    write_json(path, document)
    return path, call


def read_signed(path: Path, call: Task, genesis: Genesis) -> tuple[Path, Update]:
    """The weights file and the update that a client signed for this call; raises `RoundFilesInvalid`."""
    hint = "ask the client to sign again: fedcoin update sign"
    try:
        fields = Fields(_document(path, hint), _UPDATE_KEYS, path.name)
        fields.integer("schema", SCHEMA, SCHEMA)
        for name, wanted in (("genesis", genesis.id), ("call", call.call)):
            if fields.raw(name) != wanted:
                _refuse(f"this update answers another call: its {name} differs", path, hint)
        name = fields.text("file", 255)
        update = Update(
            digest=fields.digest("digest"),
            client=fields.address("client"),
            examples=fields.integer("examples", 1, genesis.bounds.examples),
            signature=fields.hexadecimal("signature", SIGNATURE_LENGTH),
        )
    except Malformed as error:
        _refuse(error.message, path, hint)
    weights = path.parent / name
    if name != Path(name).name or not weights.is_file():
        _refuse(f"the weights {name!r} are not beside it", path, "the two files travel together")
    if not verify(update.client, "update", genesis.id, call.update_terms(update), update.signature):
        _refuse("the signature does not cover this update", path, hint)
    if weights.stat().st_size > genesis.bounds.files_bytes or digest(weights.read_bytes()) != update.digest:
        _refuse("the weights changed after they were signed", weights, hint)
    return weights, update


def write_json(path: Path, document: Mapping[str, object]) -> None:
    """Write a small document for people and programs, whole or not at all."""
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    disk.put_in_place(disk.stage(path, text.encode("ascii")), path)


def _check_terms(call: Task, genesis: Genesis) -> None:
    """By the ledger's own rules, with as many made-up updates as the call asks for at most."""
    ids = (f"{number:064x}" for number in range(call.most_clients))
    made_up = (Update(Digest(one), Address(one), 1, "") for one in ids)
    try:
        check_terms(replace(call, updates=tuple(made_up)), genesis)
    except PeerFault as error:
        hint = "genesis.json holds this network's bounds"
        raise SettingsError(f"this network does not admit it: {error.message}", hint=hint) from error


def _check_weights(weights: Path, model: Path, call: Task) -> None:
    from fedcoin_cli.learning.model.reading import read_model
    from fedcoin_cli.learning.model.weights import read_update

    if model.exists() or model.is_symlink():
        text = _read(model, "it lies beside call.json as it came, or not at all")
        if digest(text) != call.model:
            _refuse("this is not the model of the call", model, "keep model.json and call.json as they came")
        read_update(weights, read_model(text, where=str(model)))


def _document(path: Path, hint: str) -> Any:
    text = _read(path, hint)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        _refuse("not JSON", path, hint)


def _read(path: Path, hint: str = "name a file that Keras' model.to_json() wrote") -> bytes:
    try:
        with disk.open_file(path) as file:
            return file.read(2**20)
    except OSError as error:
        _refuse(f"cannot read it: {error.strerror}", path, hint)


def _refuse(message: str, path: Path, hint: str) -> NoReturn:
    raise RoundFilesInvalid(message, where=str(path), hint=hint)
