"""Bad input through the real program: exit code, one line, a hint, and not a byte of any ledger changed.

A taken port is in `test_node` and `test_mine`, what the miners themselves refuse in `e2e/test_publish`.
"""

import re
import subprocess
import sys
import venv
from pathlib import Path

import errors_page
import pytest
from bad_inputs import CASES, Bad
from live import program, wait_until, workspace_of
from shell import Said, fedcoin
from small_disks import fill, small_disk

from benchmarks.network import free_ports
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.file.chain_file import ChainFile

ERROR = re.compile(r"error: [^\n]+\n(  [^\n]+\n)?\nhint: [^\n]+\n")
# Room for a payment or two.
FREE_PAGES = 8
# What `publish` says before it asks anybody.
FORETOLD = re.compile(r"\Aabout [^\n]+ coalitions fit into [^\n]+\n")
NO_MINERS = ("tensorflow", "keras", "scikit_learn", "sklearn")


@pytest.fixture
def network(tmp_path: Path) -> Workspace:
    """Four miners, of whom none runs, with three blocks and one good round of three clients."""
    return errors_page.network(tmp_path, free_ports(8))


def ledger_bytes(workspace: Workspace) -> list[bytes]:
    """Every miner's chain and tip file."""
    return [path.read_bytes() for path in sorted(workspace.root.glob("miners/*/*.json*"))]


def refused(said: Said, code: int, words: str) -> None:
    """The command ended with this code and explained itself in one line with a hint."""
    assert said.code == code, said.err
    assert ERROR.fullmatch(FORETOLD.sub("", said.err)), said.err
    assert words in said.err


@pytest.mark.parametrize("bad", CASES, ids=lambda bad: bad.case.replace(" ", "-"))
def test_bad_input(network: Workspace, bad: Bad) -> None:
    """Exit code, one line that names the culprit, a hint, as docs/errors.md has it; the ledgers are as before."""
    bad.spoil(network)
    before = ledger_bytes(network)
    said = fedcoin(*bad.command, folder=network.root)
    refused(said, bad.code, bad.words)
    assert ledger_bytes(network) == before
    assert errors_page.entry(bad, said.err, network.root) in errors_page.page(), "run `make man`"


def test_fewer_miners_than_a_quorum(tmp_path: Path) -> None:
    """One of two miners makes nothing final: nothing is sent, exit code 7, how many are needed and what to run."""
    with workspace_of(tmp_path / "net", 2, "--clients", "2") as net, program("node", "1", folder=net.root):
        wait_until(lambda: fedcoin("status", "--json", folder=net.root).json["reachable"] == 1)
        before = ledger_bytes(net)
        words = "1 of 2 miners reachable, 2 are needed"
        refused(fedcoin("pay", "server", "1", folder=net.root), 7, words)
        assert ledger_bytes(net) == before


def test_a_second_writer(network: Workspace) -> None:
    """A miner whose ledger another process writes ends with exit code 10 and leaves it as it is."""
    before = ledger_bytes(network)
    with ChainFile.open_for_writing(network.miner(1).path):
        refused(fedcoin("node", "1", folder=network.root), 10, "fedcoin stop")
    assert ledger_bytes(network) == before


def test_a_torn_ledger(network: Workspace) -> None:
    """Half a line at the end: balances are those of the whole blocks, the audit tells, and only repair moves it."""
    torn = b'{"body":{"half'
    with network.miner(1).chain.open("ab") as file:
        file.write(torn)
    before = ledger_bytes(network)
    assert fedcoin("balance", "--json", folder=network.root).json["height"] == 3
    audited = fedcoin("audit", folder=network.root)
    refused(audited, 5, "1 finding, the first at height 4: E101")
    assert "a torn write" in audited.out
    assert ledger_bytes(network) == before
    assert fedcoin("repair", folder=network.root).code == 0
    assert network.miner(1).chain.read_bytes() == network.miner(2).chain.read_bytes()
    assert next(network.miner(1).path.glob("*.torn-*")).read_bytes() == torn


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has everything but TensorFlow, Keras and scikit-learn."""
    root = tmp_path_factory.mktemp("auditor")
    venv.EnvBuilder(with_pip=False, symlinks=True).create(root)
    ours = next(Path(entry) for entry in sys.path if entry.endswith("site-packages"))
    theirs = next(root.glob("lib/python*/site-packages"))
    for entry in ours.iterdir():
        if not entry.name.startswith(NO_MINERS):
            (theirs / entry.name).symlink_to(entry)
    return root / "bin" / "python"


def test_tensorflow_is_not_installed(network: Workspace, auditor: Path) -> None:
    """What trains is exit code 8 with the line that installs it; what audits and reads works.

    A miner counts with the C kernel then, and refuses what that does not take: `tests/learning/test_lacking.py`.
    """
    before = ledger_bytes(network)

    def say(*words: str) -> Said:
        done = subprocess.run(
            [auditor, "-m", "fedcoin_cli", *words],
            cwd=network.root,
            capture_output=True,
            text=True,
            check=False,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    refused(say("train", "--clients", "3"), 8, "hint: pip install 'fedcoin[mine]'")
    assert "TensorFlow" not in say("audit").err
    assert "audit ok: 3 blocks" in say("audit").out
    assert ledger_bytes(network) == before


def test_a_full_disk(tmp_path: Path) -> None:
    """A miner whose disk fills up ends with exit code 12, its ledger whole; with room again it goes on from there."""
    with small_disk(tmp_path / "small", 4096) as disk, workspace_of(disk / "net", 1, "--clients", "2") as net:
        with program("node", "1", "-q", folder=net.root) as node:
            wait_until(lambda: pay(net).code == 0)
            before = ledger(net)
            filler = fill(disk, FREE_PAGES)
            while node.poll() is None:
                with program("pay", "server", "1", folder=net.root) as paying:
                    wait_until(lambda: node.poll() is not None or paying.poll() is not None)
            out, err = node.communicate()
        refused(Said(node.returncode, out, err), 12, "then start the miner again")
        left = ledger(net)
        assert left.startswith(before)
        assert fedcoin("audit", folder=net.root).code == 0
        filler.unlink()
        with program("node", "1", folder=net.root):
            wait_until(lambda: pay(net).code == 0)
        assert ledger(net).startswith(left)


def test_a_full_disk_makes_no_workspace(tmp_path: Path) -> None:
    """Where nothing fits, init is exit code 12 and says where."""
    with small_disk(tmp_path / "small", 64) as disk:
        fill(disk, 2)
        refused(fedcoin("init", "net", folder=disk), 12, str(disk / "net"))


def pay(workspace: Workspace) -> Said:
    return fedcoin("pay", "server", "1", folder=workspace.root)


def ledger(workspace: Workspace) -> bytes:
    return workspace.miner(1).chain.read_bytes()
