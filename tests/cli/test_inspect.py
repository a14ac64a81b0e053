"""`fedcoin inspect`, and the look that `publish` takes first: words, JSON, copies that need a word, a picture."""

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from mined import MinedRound
from rounds import SHAPES, make_round, write_round
from shell import Said, fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace, client_name
from fedcoin_cli.learning.model.weights import write_update

IMAGES, CLIENTS = 60, 3
ALIKE = ("publish", "--dry-run", "--price", "10")


@pytest.fixture
def folder(workspace: Workspace) -> Path:
    return make_round(workspace, CLIENTS, IMAGES)


def signed(workspace: Workspace, folder: Path) -> None:
    """round.json says what the files now are."""
    write_round(folder, workspace, [workspace.key(client_name(n + 1)) for n in range(CLIENTS)], IMAGES)


def copied(workspace: Workspace, folder: Path) -> None:
    """Client 3 sends client 1's update."""
    shutil.copyfile(folder / "client-001.safetensors", folder / "client-003.safetensors")
    signed(workspace, folder)


def begun(folder: Path) -> Path:
    """Weights from which client 1 has not moved."""
    shutil.copyfile(folder / "client-001.safetensors", folder / "initial.safetensors")
    return folder / "initial.safetensors"


def inspect(workspace: Workspace, *arguments: str) -> Said:
    return fedcoin("inspect", *arguments, folder=workspace.root)


def test_an_honest_round(workspace: Workspace, folder: Path) -> None:
    """A table of clients, no sign, and what cannot be told without the weights that all began with, and of few."""
    said = inspect(workspace)
    assert (said.code, said.err) == (0, "")
    assert "nothing is conspicuous" in said.out
    assert "--start FILE" in said.out
    assert "fewer than 5 clients" in said.out
    found = inspect(workspace, str(folder), "--json").json
    assert [one["name"] for one in found["clients"]] == ["client-001", "client-002", "client-003"]
    assert [one["examples"] for one in found["clients"]] == [100, 200, 300]
    assert (found["start"], found["task"], found["signs"], found["exact_copies"]) == (None, None, [], 0)


def test_a_copy_and_an_idler(workspace: Workspace, folder: Path) -> None:
    """A copy is named with its original, an update that never moved as such; the program gets numbers."""
    copied(workspace, folder)
    start = begun(folder)
    said = inspect(workspace)
    assert said.code == 0
    assert "client-003: its update is that of client-001, number by number" in said.out
    assert "client-001: it sends the weights back with which all began" in said.out
    elsewhere = workspace.root / "elsewhere.safetensors"
    start.rename(elsewhere)
    found = inspect(workspace, "--json", "--start", str(elsewhere)).json
    assert [(one["number"], one["kind"], one["other"]) for one in found["signs"]] == [
        (1, "untouched", None),
        (3, "copy", 1),
        (3, "untouched", None),
    ]
    assert found["start"] == str(elsewhere)


def test_what_publish_would_refuse_is_looked_at(workspace: Workspace, folder: Path) -> None:
    """NaN and huge weights are signs here, whatever publish then says."""
    for name, value in (("client-001", np.nan), ("client-002", 1e12)):
        write_update(folder / f"{name}.safetensors", [np.full(shape, value, np.float32) for shape in SHAPES])
    signed(workspace, folder)
    said = inspect(workspace)
    assert said.code == 0
    assert "client-001: some of its weights are no finite numbers" in said.out
    assert "client-002: its largest weight is 1e+12" in said.out
    assert "NaN" not in inspect(workspace, "--json").out


def test_copies_need_a_word(workspace: Workspace, folder: Path) -> None:
    """Publishing exact copies is refused, with both clients named, until a flag or a setting says that it is meant."""
    copied(workspace, folder)
    said = fedcoin(*ALIKE, folder=workspace.root)
    assert (said.code, said.out) == (13, "")
    assert "clients 1 and 3 send the very same update" in said.err
    assert "--allow-copies" in said.err
    for more in (("--allow-copies",), ("--set", "task.copies=allow")):
        said = fedcoin(*ALIKE, *more, folder=workspace.root)
        assert said.code == 0
        assert "client-003: its update is that of client-001, number by number" in said.err
    said = fedcoin(*ALIKE, "--no-inspect", folder=workspace.root)
    assert (said.code, said.err) == (0, "")


def test_copies_of_one_owner_need_none(workspace: Workspace, folder: Path) -> None:
    """Clients that are declared one owner are paid once for what they send twice; of two owners it is refused still."""
    copied(workspace, folder)
    one = ("--group", "client-001,client-003")
    assert fedcoin(*ALIKE, *one, folder=workspace.root).code == 0
    other = ("--group", "client-001,client-002")
    assert "clients 1 and 3 send the very same" in fedcoin(*ALIKE, *other, folder=workspace.root).err


def test_a_copy_in_other_bytes(workspace: Workspace, folder: Path) -> None:
    """The same numbers in a file of another digest are a copy all the same."""
    content = (folder / "client-001.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length]) | {"__metadata__": {"by": "somebody else"}}
    text = json.dumps(header).encode()
    (folder / "client-002.safetensors").write_bytes(
        len(text).to_bytes(8, "little") + text + content[8 + length :]
    )
    signed(workspace, folder)
    assert "send the very same update" in fedcoin(*ALIKE, folder=workspace.root).err


def test_signs_refuse_nothing(workspace: Workspace, folder: Path) -> None:
    """An update that never moved is warned of; the round is published all the same."""
    begun(folder)
    said = fedcoin(*ALIKE, folder=workspace.root)
    assert said.code == 0
    assert "warning: client-001: it sends the weights back" in said.err
    said = fedcoin(*ALIKE, "--json", folder=workspace.root)
    warned, foretold = map(json.loads, said.err.splitlines())
    assert "it sends the weights back" in warned["warning"]
    assert "coalitions fit into" in foretold["note"]


def test_one_client_and_one_client_twice(workspace: Workspace, folder: Path) -> None:
    """A round of one client, and one that names a client twice, are no rounds: one line says so, nothing is changed."""
    document = json.loads((folder / "round.json").read_text())
    for updates, words in (
        (document["updates"][:1], "updates"),
        ([*document["updates"], document["updates"][0]], "have one address"),
    ):
        (folder / "round.json").write_text(json.dumps(document | {"updates": updates}))
        said = inspect(workspace)
        assert (said.code, said.out) == (13, "")
        assert words in said.err
        assert len(list(folder.iterdir())) == CLIENTS + 3


def test_other_tensors(workspace: Workspace, folder: Path) -> None:
    """Updates, and weights to begin with, of another model are refused with a name."""
    write_update(folder / "client-002.safetensors", [np.zeros((2, 2), np.float32)])
    signed(workspace, folder)
    said = inspect(workspace)
    assert (said.code, said.out) == (13, "")
    assert "client 2: tensor '000' has shape (2, 2), the others' (16, 6)" in said.err


def test_once_values_are_known(tmp_path: Path) -> None:
    """Of a settled round values stand beside the rest, and who is worth less than nothing is told; so in a report."""
    made = MinedRound(tmp_path, clients=6)
    found = inspect(made.workspace, "--json").json
    assert found["task"] == made.task.id
    values = made.result.outcome.shapley
    assert values is not None
    assert [one["value"] < 0 for one in found["clients"]] == [value < 0 for value in values]
    harmful = {one["number"] for one in found["signs"] if one["kind"] == "worth less than nothing"}
    assert harmful <= {number for number, value in enumerate(values, 1) if value < 0}
    assert "value (pp)" in inspect(made.workspace).out
    page = tmp_path / "page.html"
    assert fedcoin("report", "-o", str(page), folder=tmp_path).code == 0
    tree = ET.fromstring(page.read_text().removeprefix("<!DOCTYPE html>"))  # noqa: S314 -- our own page
    dots = tree.findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(dots) == 6
    assert "What the updates look like" in page.read_text()
