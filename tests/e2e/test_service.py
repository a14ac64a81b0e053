"""Units for systemd: verified by systemd itself, and run by a systemd that boots, is killed, and boots again."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live import wait_until, workspace_of
from shell import fedcoin

from fedcoin_cli.application.crew import units
from fedcoin_cli.application.crew.units import Service
from fedcoin_cli.application.workspace.workspace import Workspace

BOOT = Path(__file__).parents[1] / "boot.sh"
PROBE = (
    "mount --make-rprivate / && mount -t tmpfs t {0} && mkdir {0}/a {0}/b {0}/c {0}/d && "
    "mount -t overlay o -o lowerdir=/,upperdir={0}/a,workdir={0}/b {0}/c && "
    "mount -t cgroup -o none,name=systemd c {0}/d"
)


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, or leave the test out where there is none."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("units for systemd: no systemd-analyze here (apt-get install systemd)")
    with tempfile.TemporaryDirectory() as runtime:  # a user's systemd wants one, even to be asked
        environment = os.environ | {"XDG_RUNTIME_DIR": runtime}
        return subprocess.run(
            ["systemd-analyze", *words], capture_output=True, text=True, check=False, env=environment
        )


def written(workspace: Workspace, *options: str) -> list[Path]:
    """The units of a workspace, the template as its first instance, since only instances can be verified."""
    # Where systemd-analyze looks for units, a colon would part two folders.
    there = str(workspace.root.parent / "units")
    said = fedcoin("service", "--json", "-o", there, *options, folder=workspace.root)
    assert said.code == 0, said.err
    folder = Path(said.json["folder"])
    template, target = (folder / file for file in said.json["files"])
    first = folder / template.name.replace("@", "@1")
    first.write_text(template.read_text())
    return [first, target]


@pytest.mark.parametrize("options", [(), ("--user",), ("--gpus", "--set", "metrics.port=9464")])
def test_systemd_takes_the_units(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Whatever the folder is called: systemd has nothing to say of the units, and finds them hardened."""
    with workspace_of(tmp_path / "a 100% gr\u00fcn : shop", 2, "--clients", "2") as net:
        files = written(net, *options)
        assert files[1].name == "fedcoin-a-100-gr-n-shop.target"
        verified = analyze(
            "verify", "--man=no", *(["--user"] if "--user" in options else []), *map(str, files)
        )
        assert (verified.returncode, verified.stderr) == (0, "")
        rated = analyze("security", "--offline=yes", "--threshold=35", str(files[0]))
        assert rated.returncode == 0, rated.stdout


def test_a_passphrase_goes_through_systemd(tmp_path: Path) -> None:
    """Sealed keys: the unit loads the file as a credential and names that; nothing of it stands in the unit."""
    with workspace_of(tmp_path / "net", 1, "--clients", "2") as net:
        words = tmp_path / "words"
        words.write_text("correct horse battery staple\n")
        unit = written(net, "--passphrase-file", str(words))[0].read_text()
        assert f"LoadCredential=passphrase:{words}\n" in unit
        assert "--passphrase-file %d/passphrase\n" in unit
        assert "horse" not in unit


def test_nothing_that_a_miner_needs_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the workspace or the program lies in a temporary folder, its miners see the machine's, else their own."""
    with workspace_of(tmp_path / "net", 1, "--clients", "2") as net:

        def private(hidden: Path) -> bool:
            monkeypatch.setattr(units, "_TEMPORARY", (str(hidden),))
            template = Service(net, "fedcoin-net", (str(tmp_path / "venv" / "bin" / "python"),)).files()
            return "PrivateTmp=yes\n" in template["fedcoin-net@.service"]

        assert private(tmp_path / "elsewhere")
        for needed in (net.root, tmp_path / "venv", Path(units.__file__).parents[2]):
            assert not private(needed)


def test_units_that_cannot_be(tmp_path: Path) -> None:
    """Without miners, with a bad name or setting there are none, and nothing is written."""
    with workspace_of(tmp_path / "net", 1, "--clients", "2") as net:
        assert fedcoin("service", "--name", "a b", folder=net.root).code == 2
        assert fedcoin("service", "--set", "metrics.port=x", folder=net.root).code == 2
        shutil.rmtree(net.miner(1).path.parent)
        assert fedcoin("service", folder=net.root).code == 11
        assert not (net.root / "systemd").exists()


@contextmanager
def booted(workspace: Workspace, room: Path) -> Iterator[None]:
    """A machine that is up while the block runs; it ends as by a power cut."""
    command = ["unshare", "-m", "-p", "-f", "-C", "--kill-child", str(BOOT), str(workspace.root)]
    command += ["fedcoin-net.target", str(room), os.environ.get("PYTHONPATH", "")]
    machine = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        machine.send_signal(signal.SIGKILL)
        machine.wait()
        wait_until(lambda: not _listens(workspace))


def _listens(workspace: Workspace) -> bool:
    return bool(fedcoin("status", "--json", folder=workspace.root).json["reachable"])


def node_of(workspace: Workspace, number: int) -> int:
    """The process of a miner in that machine, as this one counts."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if (
                words[3:6] == [b"fedcoin_cli", b"node", str(number).encode()]
                and os.fsencode(workspace.root) in words
            ):
                return int(entry.name)
    raise AssertionError("no such miner")


def test_a_machine_that_boots(tmp_path: Path) -> None:
    """The network is up without a hand; a killed miner comes back, sees its own key alone; after a power cut, too."""
    room = tmp_path / "room"
    room.mkdir()
    probe = ["unshare", "-m", "-p", "-f", "-C", "sh", "-c", PROBE.format(room)]
    systemd = Path("/lib/systemd/systemd").exists() and shutil.which("unshare") is not None
    if os.getuid() or not systemd or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip(
            "units under a booting systemd: root, systemd, overlayfs and a name=systemd hierarchy are needed"
        )
    with workspace_of(tmp_path / "net", 2, "--clients", "2") as net:
        assert fedcoin("service", folder=net.root).code == 0
        with booted(net, room):
            assert fedcoin("status", "--wait", "120", folder=net.root).code == 0
            first = fedcoin("pay", "server", "1", folder=net.root)
            assert first.code == 0, first.err
            before = node_of(net, 2)
            assert [path.name for path in Path(f"/proc/{before}/root{net.keys}").iterdir()] == ["miner-2.key"]
            os.kill(before, signal.SIGKILL)
            wait_until(lambda: _comes_back(net, before))
            assert fedcoin("status", "--wait", "120", folder=net.root).code == 0
            wait_until(lambda: all('"ready"' in miner.log.read_text() for miner in net.miners))
        with booted(net, room):
            assert fedcoin("status", "--wait", "120", folder=net.root).code == 0
            again = fedcoin("pay", "server", "1", folder=net.root)
            assert again.code == 0, again.err


def _comes_back(workspace: Workspace, before: int) -> bool:
    with contextlib.suppress(AssertionError):
        return node_of(workspace, 2) != before
    return False
