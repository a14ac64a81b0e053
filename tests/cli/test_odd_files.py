"""What others hand over may be no file at all, or one without end: every command that reads it says so at once."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import errors_page
import pytest
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace

HOLE_BYTES = 200 * 2**30


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _hole(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(HOLE_BYTES)


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


ODD = [_pipe, _device, _hole, _folder, _loop]
READERS = {
    "verify": ("odd", "verify odd --genesis {genesis}"),
    "key import": ("odd", "key import odd"),
    "roster": ("odd", "init new --roster odd"),
    "peers": ("odd", "init new --join genesis.json --peers odd"),
    "round": ("rounds/1/round.json", "inspect rounds/1"),
    "update": ("rounds/1/client-001.safetensors", "inspect rounds/1"),
    "call": (
        "call.json",
        "update sign rounds/1/client-001.safetensors --examples 5 --key client-001 --call call.json",
    ),
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Four miners, of whom none runs, three blocks and a round."""
    return errors_page.network(tmp_path_factory.mktemp("network"))


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_told_at_once(
    network: Workspace, tmp_path: Path, reader: str, make: Callable[[Path], None]
) -> None:
    """An error of those that people may meet, and no wait for the other end of a pipe or the end of a hole."""
    name, words = READERS[reader]
    place = shutil.copytree(network.root, tmp_path / "network")
    (place / name).unlink(missing_ok=True)
    make(place / name)
    said = fedcoin(*words.format(genesis=network.genesis().id).split(), folder=place, timeout_s=30)
    assert said.code in {3, 5, 9, 11, 12, 13}, said.err
    assert "bug" not in said.err


def test_files_by_any_name_may_be_odd(network: Workspace, tmp_path: Path) -> None:
    """Whoever hands a folder over puts anything into it: an audit looks at what a round may have."""
    for make in ODD:
        make(tmp_path / make.__name__)
    ledger = str(network.miner(1).path)
    said = fedcoin("audit", ledger, "--level", "4", "--files", str(tmp_path), folder=tmp_path, timeout_s=30)
    assert said.code == 0, said.err


def test_a_name_without_end_is_no_bug(tmp_path: Path) -> None:
    """What the system refuses about a name is told as such."""
    said = fedcoin("audit", "x" * 5_000, folder=tmp_path)
    assert said.code == 12
    assert "File name too long" in said.err
