"""Real clients' updates: called for, signed on their own hosts, gathered into a round."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chains import ChainMaker, key
from places import place
from rounds import SHAPES, default_terms, make_round

from fedcoin_cli.application.rounds.calling import CALL_NAME, make_call, read_call_file, sign_weights
from fedcoin_cli.application.rounds.files import ROUND_NAME, read_round
from fedcoin_cli.application.rounds.gathering import alone, gather, updates_in
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.learning.model.model import parse_model
from fedcoin_cli.learning.model.weights import read_test, read_update, write_update
from ledger_store.base.errors import FedCoinError, NotFound, RoundFilesInvalid, SettingsError
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import KeyPair, verify
from ledger_store.transaction import Task, update_terms

IMAGES = 60
CLIENTS = ("bob", "alice", "carol")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A publisher's workspace with one round, whose model and test set the tests call for again."""
    workspace = place(tmp_path / "net", ChainMaker(1))
    make_round(workspace, 3, IMAGES)
    return workspace


@pytest.fixture
def folder(workspace: Workspace) -> Path:
    """A round that has been called for."""
    first, folder = workspace.round(1), workspace.new_round()
    call_for(workspace, first, folder)
    return folder


def call_for(workspace: Workspace, first: Path, folder: Path, clients: tuple[int, int] = (2, 20)) -> Task:
    """The requester's call by default settings for the model and test set of the round in `first`."""
    maker, files = ChainMaker(1), (first / "model.json", first / "test.safetensors")
    return make_call(
        folder, workspace.genesis(), files, default_terms(maker), maker.requester.address, clients
    )


def host(tmp_path: Path, folder: Path, name: str, *, model: bool = True) -> Path:
    """A client's own folder with the call, the model, and weights that it has trained."""
    place = tmp_path / name
    place.mkdir()
    for file in (CALL_NAME, "model.json")[: 2 if model else 1]:
        (place / file).write_bytes((folder / file).read_bytes())
    draw = np.random.default_rng(sum(name.encode()))
    write_update(
        place / f"{name}.safetensors", [draw.normal(size=shape).astype(np.float32) for shape in SHAPES]
    )
    return place / f"{name}.safetensors"


def signed(tmp_path: Path, folder: Path, genesis: Genesis, name: str, by: KeyPair | None = None) -> Path:
    """A client's signed update."""
    weights = host(tmp_path, folder, name)
    return sign_weights(weights, weights.with_name(CALL_NAME), genesis, by or key(name), 10 * len(name))[0]


def test_signed_updates_become_a_round(tmp_path: Path, workspace: Workspace, folder: Path) -> None:
    """What clients sign in their own folders makes a round that a requester's reading accepts, in name order."""
    genesis = workspace.genesis()
    updates = [signed(tmp_path, folder, genesis, name) for name in CLIENTS]
    gather(folder, updates_in(updates), genesis)
    made = read_round(folder, genesis)
    assert [update.client for update in made.updates] == [key(name).address for name in sorted(CLIENTS)]
    assert [update.examples for update in made.updates] == [50, 30, 50]
    assert (made.images, made.aggregation) == (IMAGES, "mean")
    assert (folder / "client-002.safetensors").read_bytes() == (
        tmp_path / "bob" / "bob.safetensors"
    ).read_bytes()


def test_what_is_signed_is_what_the_ledger_verifies(
    tmp_path: Path, workspace: Workspace, folder: Path
) -> None:
    """The whole call, weights and count under the client's key, as in a task."""
    genesis = workspace.genesis()
    document = json.loads(signed(tmp_path, folder, genesis, "alice").read_text())
    call = read_call_file(folder / CALL_NAME, genesis)
    terms = update_terms(call.call, document["digest"], document["examples"])
    assert verify(key("alice").address, "update", genesis.id, terms, document["signature"])


def test_two_calls_differ(workspace: Workspace, folder: Path) -> None:
    """No signature of one round fits another: the nonce is fresh."""
    again = workspace.new_round()
    first = workspace.round(1)
    call_for(workspace, first, again)
    calls = [read_call_file(one / CALL_NAME, workspace.genesis()) for one in (folder, again)]
    assert calls[0].nonce != calls[1].nonce
    assert calls[0].model == calls[1].model


def test_weights_that_do_not_fit_are_not_signed(tmp_path: Path, workspace: Workspace, folder: Path) -> None:
    """Beside the model a NaN or another shape is refused before the key is used; a call of another network always."""
    genesis, weights = workspace.genesis(), host(tmp_path, folder, "alice")
    for shapes, value in ((SHAPES, np.nan), (((2, 2), *SHAPES[1:]), 0.5)):
        write_update(weights, [np.full(shape, value, np.float32) for shape in shapes])
        with pytest.raises(RoundFilesInvalid):
            sign_weights(weights, weights.with_name(CALL_NAME), genesis, key("alice"), 5)
    with pytest.raises(RoundFilesInvalid, match="another network"):
        sign_weights(weights, weights.with_name(CALL_NAME), ChainMaker(2).genesis, key("alice"), 5)
    assert not list(weights.parent.glob("*.update.json"))


def edited(path: Path, **changes: Any) -> None:
    """Change fields of a signed update."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_no_model_is_no_reason_to_sign_unchecked(
    tmp_path: Path, workspace: Workspace, folder: Path
) -> None:
    """A folder in the model's place, or a link to nowhere, is told; without anything nothing can be checked."""
    weights = host(tmp_path, folder, "alice", model=False)
    model, call = weights.with_name("model.json"), weights.with_name(CALL_NAME)
    for linked in (False, True):
        model.symlink_to("nowhere") if linked else model.mkdir()
        with pytest.raises(RoundFilesInvalid, match="cannot read it") as refused:
            sign_weights(weights, call, workspace.genesis(), key("alice"), 5)
        assert refused.value.where == str(model)
        model.unlink() if linked else model.rmdir()
    sign_weights(weights, call, workspace.genesis(), key("alice"), 5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"examples": 999}, "does not cover"),
        ({"client": key("mallory").address}, "does not cover"),
        ({"digest": "00" * 32}, "does not cover"),
        ({"signature": "00" * 64}, "does not cover"),
        ({"call": "00" * 32}, "another call"),
        ({"genesis": "00" * 32}, "another call"),
        ({"examples": 0}, "examples"),
        ({"file": "../bob/bob.safetensors"}, "are not beside"),
        ({"file": "nowhere"}, "are not beside"),
        ({"file": ""}, "are not beside"),
        ({"more": 1}, "knows no more"),
    ],
)
def test_an_altered_update_is_refused(
    tmp_path: Path, workspace: Workspace, folder: Path, changes: dict[str, Any], words: str
) -> None:
    """Every field of a signed update is covered; nothing of the round is written."""
    genesis = workspace.genesis()
    updates = [signed(tmp_path, folder, genesis, name) for name in CLIENTS]
    edited(updates[1], **changes)
    with pytest.raises(RoundFilesInvalid, match=words) as refused:
        gather(folder, updates, genesis)
    assert refused.value.where == str(updates[1])
    assert not (folder / ROUND_NAME).exists()
    assert not list(folder.glob("client-*"))


def test_updates_that_make_no_round(tmp_path: Path, workspace: Workspace, folder: Path) -> None:
    """One client twice, one client alone, weights changed or without a number: refused before anything is copied."""
    genesis = workspace.genesis()
    updates = [signed(tmp_path, folder, genesis, name) for name in CLIENTS]
    twice = signed(tmp_path, folder, genesis, "twin", by=key("alice"))
    blind = host(tmp_path, folder, "blind", model=False)
    write_update(blind, [np.full(shape, np.inf, np.float32) for shape in SHAPES])
    hostile, _ = sign_weights(blind, blind.with_name(CALL_NAME), genesis, key("blind"), 5)
    cases: list[tuple[list[Path], str]] = [
        ([*updates, twice], "are one client's"),
        (updates[:1], "1 updates"),
        ([*updates, hostile], "not finite"),
    ]
    for given, words in cases:
        with pytest.raises(FedCoinError, match=words):
            gather(folder, given, genesis)
    (tmp_path / "bob" / "bob.safetensors").write_bytes(b"else")
    with pytest.raises(RoundFilesInvalid, match="changed after"):
        gather(folder, updates, genesis)
    assert not list(folder.glob("client-*"))


def test_a_gathered_round_stays_as_it_is(tmp_path: Path, workspace: Workspace, folder: Path) -> None:
    """A second gathering is refused: the first may be published already."""
    genesis = workspace.genesis()
    updates = [signed(tmp_path, folder, genesis, name) for name in CLIENTS]
    gather(folder, updates, genesis)
    before = (folder / ROUND_NAME).read_bytes()
    with pytest.raises(RoundFilesInvalid, match="gathered already"):
        gather(folder, updates[:2], genesis)
    assert (folder / ROUND_NAME).read_bytes() == before


def test_updates_are_found_in_folders(tmp_path: Path, workspace: Workspace, folder: Path) -> None:
    """Files and folders may be mixed; an empty folder or a name without a file is not found."""
    updates = [signed(tmp_path, folder, workspace.genesis(), name) for name in CLIENTS]
    assert updates_in([updates[0], updates[1].parent]) == [updates[1].resolve(), updates[0].resolve()]
    for nothing in (folder, tmp_path / "nobody.update.json"):
        with pytest.raises(NotFound):
            updates_in([nothing])


@pytest.mark.parametrize("name", ["model.json", "test.safetensors"])
def test_a_call_for_nothing(workspace: Workspace, name: str) -> None:
    """A missing or damaged model or test set calls for nothing: no file is written."""
    first, folder = workspace.round(1), workspace.new_round()
    for content in (b"", None):
        (first / name).unlink() if content is None else (first / name).write_bytes(content)
        with pytest.raises(RoundFilesInvalid):
            call_for(workspace, first, folder)
    assert not list(folder.iterdir())


def test_a_call_says_how_many(tmp_path: Path, workspace: Workspace) -> None:
    """Fewer or more updates than the call asks for make no round, and a round with fewer is not read."""
    folder, genesis = workspace.new_round(), workspace.genesis()
    call_for(workspace, workspace.round(1), folder, (3, 3))
    updates = [signed(tmp_path, folder, genesis, name) for name in (*CLIENTS, "dave")]
    for given in (updates[:2], updates):
        with pytest.raises(RoundFilesInvalid, match="asks for 3 to 3"):
            gather(folder, given, genesis)
    gather(folder, updates[:3], genesis)
    document = json.loads((folder / ROUND_NAME).read_text())
    document["updates"].pop()
    (folder / ROUND_NAME).write_text(json.dumps(document))
    with pytest.raises(RoundFilesInvalid, match="asks for 3 to 3"):
        read_round(folder, genesis)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("baseline", "ab" * 32),
        ("empty", 30),
        ("server", "cd" * 32),
        ("sender", "ef" * 32),
        ("price_micro", 1),
        ("train_micro", 1),
        ("difficulty_micro", 0),
        ("block_images", 255),
        ("most_clients", 1_000),
        ("nonce", "00" * 16),
    ],
)
def test_what_the_requester_may_not_change(
    tmp_path: Path, workspace: Workspace, folder: Path, name: str, value: object
) -> None:
    """A term that is changed in the round after the clients have signed breaks their signatures."""
    genesis = workspace.genesis()
    gather(folder, [signed(tmp_path, folder, genesis, one) for one in CLIENTS], genesis)
    document = json.loads((folder / ROUND_NAME).read_text())
    document["call"][name] = value
    (folder / ROUND_NAME).write_text(json.dumps(document))
    with pytest.raises(RoundFilesInvalid, match="client 1: the signature does not cover"):
        read_round(folder, genesis)


def test_terms_that_no_ledger_admits_are_not_called_for(workspace: Workspace) -> None:
    """What genesis forbids is said before a client signs: it could not be mended afterwards."""
    folder, maker = workspace.new_round(), ChainMaker(1)
    first = workspace.round(1)
    files, terms = (first / "model.json", first / "test.safetensors"), default_terms(maker)
    for clients in ((1, 20), (20, 2), (2, 5_000)):
        with pytest.raises(SettingsError, match="does not admit"):
            make_call(folder, workspace.genesis(), files, terms, maker.requester.address, clients)
    assert not list(folder.iterdir())


def test_how_good_an_update_is_alone(tmp_path: Path, workspace: Workspace, folder: Path) -> None:
    """Alone a client's weights are as right as the model with them is; what hardly changed says one label for all."""
    genesis, spec = workspace.genesis(), parse_model((folder / "model.json").read_bytes())
    trained = read_update(workspace.round(1) / "client-001.safetensors", spec)
    updates = []
    for name, factor in (("alice", 1), ("bob", 0)):
        weights = host(tmp_path, folder, name)
        write_update(weights, [np.float32(factor) * one for one in trained])
        updates.append(sign_weights(weights, weights.with_name(CALL_NAME), genesis, key(name), 5)[0])
    made, test = gather(folder, updates, genesis), read_test(folder / "test.safetensors", spec)
    hidden = np.maximum(test.images.reshape(IMAGES, -1) @ trained[0] + trained[1], 0)
    said = (hidden @ trained[2] + trained[3]).argmax(axis=1)
    found, right = alone(made), [(said == test.labels).mean(), (test.labels == 0).mean()]
    assert list(found.measures) == right
    assert found.words == tuple(f"{100 * share:.1f}% right" for share in right)
    assert found.chance == max(Counter(test.labels.tolist()).values()) / IMAGES
