import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chains import ChainMaker
from places import place
from rounds import SHAPES, make_round, write_round

from fedcoin_cli.application.rounds.files import read_round
from fedcoin_cli.application.workspace.workspace import Workspace, client_name
from fedcoin_cli.learning.model.weights import write_update
from ledger_store.base.errors import RoundFilesInvalid
from ledger_store.genesis import Bounds

CLIENTS, IMAGES = 3, 60
UPDATE = "client-002.safetensors"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return place(tmp_path, ChainMaker(1), clients=CLIENTS)


@pytest.fixture
def folder(workspace: Workspace) -> Path:
    return make_round(workspace, CLIENTS, IMAGES)


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit round.json without signing again."""
    path = folder / "round.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def sign_again(workspace: Workspace, folder: Path, **changes: Any) -> None:
    keys = [workspace.key(client_name(number)) for number in range(1, CLIENTS + 1)]
    write_round(folder, workspace, keys, IMAGES, **changes)


def refused(workspace: Workspace, folder: Path) -> RoundFilesInvalid:
    with pytest.raises(RoundFilesInvalid) as caught:
        read_round(folder, workspace.genesis())
    return caught.value


def test_a_round_is_read_as_it_was_signed(workspace: Workspace, folder: Path) -> None:
    """A good round gives its terms, updates in client order, and every file by digest."""
    files = read_round(folder, workspace.genesis())
    assert (files.images, files.call, files.aggregation) == (IMAGES, None, "mean")
    assert [one.client for one in files.updates] == [
        workspace.key(client_name(n)).address for n in range(1, CLIENTS + 1)
    ]
    assert set(files.paths) == {files.model, files.test, *(one.digest for one in files.updates)}
    assert files.size_bytes == sum(
        path.stat().st_size for path in folder.iterdir() if path.name != "round.json"
    )


@pytest.mark.parametrize("name", ["round.json", "model.json", "test.safetensors", UPDATE])
def test_a_missing_file(workspace: Workspace, folder: Path, name: str) -> None:
    """Each file of a round is needed, and the missing one is named."""
    (folder / name).unlink()
    assert name in refused(workspace, folder).where


@pytest.mark.parametrize("name", ["model.json", "test.safetensors", UPDATE])
def test_a_truncated_file(workspace: Workspace, folder: Path, name: str) -> None:
    """A file that ends early is refused and named."""
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-5])
    assert name in refused(workspace, folder).where


def test_a_mis_shaped_update(workspace: Workspace, folder: Path) -> None:
    """Weights of another model are refused even when they are signed; the client is named."""
    write_update(folder / UPDATE, [np.zeros(shape, np.float32) for shape in (*SHAPES[:3], (99,))])
    sign_again(workspace, folder)
    error = refused(workspace, folder)
    assert "client 2" in error.message
    assert UPDATE in error.where


@pytest.mark.parametrize("value", [np.nan, np.inf, 2e6])
def test_a_weight_that_is_no_number(workspace: Workspace, folder: Path, value: float) -> None:
    """NaN, infinite and huge weights are refused even when they are signed."""
    write_update(folder / UPDATE, [np.full(shape, value, np.float32) for shape in SHAPES])
    sign_again(workspace, folder)
    assert "client 2" in refused(workspace, folder).message


def test_a_pickled_update(workspace: Workspace, folder: Path) -> None:
    """A pickle in the place of weights is refused and never loaded."""
    (folder / UPDATE).write_bytes(pickle.dumps([np.zeros(shape) for shape in SHAPES]))
    sign_again(workspace, folder)
    assert "client 2" in refused(workspace, folder).message


def test_an_oversized_promise(workspace: Workspace, folder: Path) -> None:
    """A header that promises more bytes than the file holds is refused before anything is allocated."""
    header = {"000": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, 2**32]}}
    text = json.dumps(header).encode()
    (folder / UPDATE).write_bytes(len(text).to_bytes(8, "little") + text)
    sign_again(workspace, folder)
    assert "client 2" in refused(workspace, folder).message


def test_a_round_larger_than_the_network_takes(tmp_path: Path) -> None:
    """Files that exceed genesis' bound together are refused."""
    workspace = place(tmp_path, ChainMaker(1, Bounds(files_bytes=1_000)), clients=CLIENTS)
    assert "takes 1000 a task" in refused(workspace, make_round(workspace, CLIENTS, IMAGES)).message


def test_two_clients_with_one_address(workspace: Workspace, folder: Path) -> None:
    """Two updates of one address are refused, whether or not they are signed for."""
    change(folder, lambda doc: doc["updates"][1].update(client=doc["updates"][0]["client"]))
    assert "clients 1 and 2 have one address" in refused(workspace, folder).message
    one = workspace.key(client_name(1))
    write_round(folder, workspace, [one, one, workspace.key(client_name(3))], IMAGES)
    assert "clients 1 and 2 have one address" in refused(workspace, folder).message


def test_zero_examples(workspace: Workspace, folder: Path) -> None:
    """An update trained on nothing is refused, and its client named."""
    change(folder, lambda doc: doc["updates"][2].update(examples=0))
    assert "client 3: zero examples" in refused(workspace, folder).message


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda doc: doc["updates"][0].update(signature="00" * 64), "without a call"),
        (lambda doc: doc.update(call={}), "call: lacks aggregation"),
        (lambda doc: doc.update(images=IMAGES + 1), "does not hold"),
        (lambda doc: doc.update(genesis="0" * 64), "another network"),
        (lambda doc: doc.update(schema=1), "schema"),
        (lambda doc: doc.update(extra=1), "knows no extra"),
        (lambda doc: doc.update(proxy=None), "round.json: knows no proxy"),
        (lambda doc: doc.update(aggregation="median"), "aggregation"),
        (lambda doc: doc.update(updates=doc["updates"][:1]), "updates"),
        (lambda doc: doc["updates"][0].update(file="../client-001.safetensors"), "not a file of this folder"),
        (lambda doc: doc["updates"][1].update(file="client-001.safetensors"), "two updates are one file"),
    ],
)
def test_what_round_json_says(
    workspace: Workspace, folder: Path, edit: Callable[[dict[str, Any]], object], words: str
) -> None:
    """Every claim of round.json is checked: against signatures, files, network and form."""
    change(folder, edit)
    assert words in refused(workspace, folder).message


def test_a_client_may_be_left_out(workspace: Workspace, folder: Path) -> None:
    """A simulated round may be published without one of its clients: nothing is signed yet."""
    change(folder, lambda doc: doc["updates"].pop())
    assert len(read_round(folder, workspace.genesis()).updates) == CLIENTS - 1


def test_a_file_changed_after_it_was_signed(workspace: Workspace, folder: Path) -> None:
    """Good weights that are not the signed ones are refused."""
    write_update(folder / UPDATE, [np.zeros(shape, np.float32) for shape in SHAPES])
    error = refused(workspace, folder)
    assert "changed after it was signed" in error.message
    assert UPDATE in error.where


def test_what_is_no_round(workspace: Workspace, folder: Path) -> None:
    """A folder that is not there, and a round.json that is no JSON, are bad rounds with a hint."""
    assert "no such round" in refused(workspace, folder / "nothing").message
    (folder / "round.json").write_text("{")
    error = refused(workspace, folder)
    assert (error.message, bool(error.hint)) == ("not JSON", True)
