"""`fedcoin key` and passphrases by file, pipe and prompt."""

import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest
from live import processes_in
from shell import PROGRAM, Said, fedcoin

from benchmarks.network import free_ports
from fedcoin_cli.application.workspace.keyring import make_key
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.identity.keyfile import read_key


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A passphrase in a file of its own."""
    path = tmp_path / "words"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    return path


def piped(*arguments: str, folder: Path, text: str) -> Said:
    """Run a command with `text` on its standard input."""
    done = subprocess.run(
        [PROGRAM, *arguments], cwd=folder, input=text, capture_output=True, text=True, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)


def typed(*arguments: str, folder: Path, answers: list[str]) -> tuple[int, str]:
    """Run a command at a terminal and answer its questions; returns exit code and what the terminal showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execv(PROGRAM, ["fedcoin", *arguments])  # noqa: S606 -- the child of a fork
    shown = b""
    waiting = [answer.encode() for answer in answers]
    while True:
        try:
            data = os.read(terminal, 1024)
        except OSError:
            break
        if not data:
            break
        shown += data
        if waiting and shown.endswith((b"passphrase: ", b"again: ")):
            os.write(terminal, waiting.pop(0) + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_a_key_that_nobody_can_name_is_told(tmp_path: Path) -> None:
    """It may hold money: list says that it passes it over, and why."""
    assert fedcoin("key", "new", "mine", folder=tmp_path).code == 0
    (tmp_path / "keys" / "mine.key").rename(tmp_path / "keys" / "my key.key")
    said = fedcoin("key", "list", "--json", folder=tmp_path)
    assert (said.code, said.json["keys"]) == (0, [])
    assert "my key.key is passed over" in said.err


def test_a_key_needs_no_network(tmp_path: Path) -> None:
    """new makes a key in an empty folder, show prints its address and what a founder needs, list shows it."""
    said = fedcoin("key", "new", "miner-1", "--json", folder=tmp_path)
    assert said.code == 0, said.err
    address = said.json["keys"]["miner-1"]
    assert read_key(tmp_path / "keys" / "miner-1.key").address == address
    assert fedcoin("key", "show", "miner-1", folder=tmp_path).out == f"{address}\n"
    entry = fedcoin("key", "show", "miner-1", "--at", "10.0.0.7:7460", folder=tmp_path).out
    assert entry == f'[miner-1]\naddress = "{address}"\nhost = "10.0.0.7"\nport = 7460\n'
    listed = fedcoin("key", "list", "--json", folder=tmp_path).json["keys"]
    assert listed == [{"name": "miner-1", "address": address, "sealed": False}]


def test_a_key_travels_as_text(tmp_path: Path, words: Path) -> None:
    """An export restores the same key elsewhere, from a file and from a pipe; a sealed one stays sealed."""
    fedcoin("key", "new", "alice", "--passphrase-file", str(words), folder=tmp_path)
    address = fedcoin("key", "show", "alice", folder=tmp_path).out.strip()
    exported = fedcoin("key", "export", "alice", folder=tmp_path)
    assert (exported.code, exported.err) == (0, "")
    for number, source in enumerate(("block.txt", "-")):
        elsewhere = tmp_path / str(number)
        elsewhere.mkdir()
        (elsewhere / "block.txt").write_text(exported.out)
        said = piped("key", "import", source, folder=elsewhere, text=exported.out)
        assert said.out == f"alice  {address}\n", said.err
        assert read_key(elsewhere / "keys" / "alice.key").sealed
    again = fedcoin("key", "import", "0/block.txt", folder=tmp_path)
    assert (again.code, "exists already" in again.err) == (9, True)


def test_an_export_of_a_clear_key_is_private_and_says_so(tmp_path: Path) -> None:
    """The file is its owner's alone, a warning tells what it is worth, and a second export overwrites nothing."""
    fedcoin("key", "new", "alice", folder=tmp_path)
    said = fedcoin("key", "export", "alice", "-o", "block.txt", folder=tmp_path)
    assert (said.code, said.err.startswith("warning: ")) == (0, True)
    assert (tmp_path / "block.txt").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "block.txt").read_bytes()
    assert fedcoin("key", "export", "alice", "-o", "block.txt", folder=tmp_path).code == 9
    assert (tmp_path / "block.txt").read_bytes() == before


def test_passwd_seals_reseals_and_opens(tmp_path: Path, words: Path) -> None:
    """All keys at once; the old passphrase no longer opens them; not one changes where one does not open."""
    other = tmp_path / "other"
    other.write_text("battery staple")
    other.chmod(0o600)
    fedcoin("key", "new", "a", "b", folder=tmp_path)
    assert fedcoin("key", "passwd", "--new-passphrase-file", str(words), folder=tmp_path).code == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    wrong = fedcoin("key", "passwd", "--remove", "--passphrase-file", str(other), folder=tmp_path)
    assert (wrong.code, "does not open" in wrong.err) == (9, True)
    change = ("key", "passwd", "a", "--passphrase-file", str(words), "--new-passphrase-file", str(other))
    assert fedcoin(*change, folder=tmp_path).code == 0
    mixed = fedcoin("key", "passwd", "--remove", "--passphrase-file", str(words), folder=tmp_path)
    assert mixed.code == 9
    assert (tmp_path / "keys" / "b.key").read_bytes() == files["b.key"]
    assert (
        fedcoin("key", "passwd", "a", "--remove", "--passphrase-file", str(other), folder=tmp_path).code == 0
    )
    assert not read_key(tmp_path / "keys" / "a.key").sealed


def test_prompts_at_a_terminal(tmp_path: Path) -> None:
    """new asks twice, passwd for the old one first; nothing typed is shown; a typing error changes nothing."""
    code, shown = typed("key", "new", "a", "--protect", folder=tmp_path, answers=["one two", "one two"])
    assert (code, "one two" in shown, "again" in shown) == (0, False, True)
    sealed = (tmp_path / "keys" / "a.key").read_bytes()
    code, shown = typed("key", "passwd", "a", folder=tmp_path, answers=["one two", "three", "thre"])
    assert (code, "two different passphrases" in shown) == (9, True)
    assert (tmp_path / "keys" / "a.key").read_bytes() == sealed
    code, shown = typed("key", "passwd", "a", "--remove", folder=tmp_path, answers=["one two"])
    assert code == 0, shown


def test_mine_asks_once_and_hands_it_on(tmp_path: Path) -> None:
    """At a terminal one question starts sealed miners that stay; a wrong answer starts none and names the key."""
    root = tmp_path / "net"
    root.mkdir()
    port = f"network.port={free_ports(4)}"
    founded = ("init", "--miners", "2", "--clients", "2", "--protect", "--set", port)
    assert typed(*founded, folder=root, answers=["one two", "one two"])[0] == 0
    mine = ("mine", "--detach", "-C", str(root))
    code, shown = typed(*mine, folder=root, answers=["one too"])
    assert (code, "miner-1.key" in shown, processes_in(root)) == (9, True, [])
    try:
        code, shown = typed(*mine, folder=root, answers=["one two"])
        assert (code, shown.count("passphrase: ")) == (0, 1), shown
        assert fedcoin("stop", "--json", folder=root).json["stopped"] == [1, 2]
    finally:
        for pid in processes_in(root):
            os.kill(pid, signal.SIGKILL)


def test_nobody_to_ask(tmp_path: Path, words: Path) -> None:
    """Without a terminal, a file or a pipe a sealed key is exit code 9 that names the option."""
    fedcoin("key", "new", "a", "--passphrase-file", str(words), folder=tmp_path)
    said = fedcoin("key", "passwd", "a", "--remove", folder=tmp_path)
    assert (said.code, "--passphrase-file" in said.err) == (9, True)
    piped_in = piped(
        "key", "passwd", "--remove", "--passphrase-file", "-", folder=tmp_path, text="correct horse\n"
    )
    assert piped_in.code == 0, piped_in.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("key", "new"), 2, "a name for the new key"),
        (("key", "new", "../a"), 9, "is not a key's name"),
        (("key", "new", "a"), 9, "exists already"),
        (("key", "new", "b", "--passphrase-file", "loose"), 9, "chmod 600"),
        (("key", "new", "b", "--passphrase-file", "nowhere"), 9, "cannot read the passphrase"),
        (("key", "new", "b", "--passphrase-file", "empty"), 9, "no passphrase here"),
        (("key", "show", "b"), 9, "no such key"),
        (("key", "show", "a", "--at", "here"), 2, "HOST:PORT"),
        (("key", "import", "loose"), 9, "no exported key"),
        (("key", "import", "nowhere"), 9, "cannot read it"),
        (("key", "export", "loose-key"), 9, "chmod 600"),
        (("key", "turn"), 2, "turn"),
    ],
)
def test_refusals(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    """Exit code, one line that names the culprit, a hint; no key is made or changed."""
    for name in ("a", "loose-key"):
        make_key(Workspace(tmp_path), name)
    (tmp_path / "keys" / "loose-key.key").chmod(0o644)
    for name, text in (("loose", "secret"), ("empty", "")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644 if name == "loose" else 0o600)
    before = {path: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    said = fedcoin(*arguments, folder=tmp_path)
    assert said.code == code, said.err
    assert words in said.err
    assert "hint: " in said.err
    assert {path: path.read_bytes() for path in (tmp_path / "keys").iterdir()} == before


def test_no_keys_here(tmp_path: Path) -> None:
    """Listing a folder that holds neither keys nor a workspace is exit code 4."""
    assert fedcoin("key", "list", folder=tmp_path).code == 4
    assert not Workspace(tmp_path).keys.exists()
