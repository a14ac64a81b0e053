"""Flower in the project's containers: SuperLink, SuperNodes, agents and miners, as docker/flower.yaml says."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

# Nothing here imports it: who has no use for it need not build its image.
pytest.importorskip("flwr", reason="Flower is not installed: pip install 'fedcoin[flower]'")

from containers import build_images, compose, engine_or_skip
from generated import ROOT
from live import workspace_of
from superlinks import PATIENCE_S

import fedcoin as door
from fedcoin_cli.application.workspace.workspace import Workspace

MEMBERS = ("1", "2", "3")
"""The last one is the free rider."""


def commands() -> str:
    """What the head of docker/flower.yaml has one type, but for the build."""
    lines = (ROOT / "docker" / "flower.yaml").read_text("utf-8").splitlines()
    typed = [line[4:] for line in lines if line.startswith("#   ")]
    return "\n".join(line for line in typed if not line.startswith("docker build"))


def test_a_federation_in_containers(tmp_path: Path) -> None:
    """Members who train are paid by their own keys, which no SuperNode has; the free rider gets nothing."""
    engine, words, project = engine_or_skip(), compose(), "fedcoin-test-flower"
    build_images(engine, "fedcoin_flower")
    for name in ("docker", "examples"):
        (tmp_path / name).symlink_to(ROOT / name)
    members = {name: tmp_path / "members" / name for name in MEMBERS}
    with workspace_of(tmp_path / "shop", 4, "--set", "network.port=7460") as workspace:
        environment = os.environ | {
            "WORKSPACE": str(workspace.root),
            "OWNER": f"{os.getuid()}:{os.getgid()}",
            "COMPOSE_PROJECT_NAME": project,
        }

        def do(*command: str) -> subprocess.CompletedProcess[str]:
            named = environment | {"MEMBERS": str(tmp_path / "members"), "APP": str(tmp_path / "examples")}
            return subprocess.run(
                command,
                cwd=tmp_path,
                env=named,
                capture_output=True,
                text=True,
                timeout=2 * PATIENCE_S,
                check=False,
            )

        federation = (*words, "-f", "docker/compose.yaml", "-f", "docker/flower.yaml")
        script = commands().replace("docker-compose", " ".join(words))
        try:
            done = do("bash", "-ec", script.replace("$federation run", "$federation run -T"))
            told = done.stdout + done.stderr + do(*federation, "logs").stdout
            assert done.returncode == 0, told
            task = re.search(r"fedcoin: task ([0-9a-f]{64})", done.stdout)
            assert task, told
            for name in MEMBERS:
                inside = engine.containers.get(f"{project}_supernode-{name}_1")
                found = inside.exec_run(["sh", "-c", "find / -name '*.key' 2>/dev/null"])
                assert not found.output, found.output
        finally:
            do(*federation, "down")
        shop = door.Workspace.open(workspace.root)
        settled = shop.task(task[1])
        paid, by_member = dict(zip(settled.clients, settled.payments, strict=True)), {}
        for name, folder in members.items():
            signed = [json.loads(line) for line in (folder / "signer.jsonl").read_text().splitlines()]
            assert len(signed) == 3
            by_member[name] = paid[Workspace.find(folder).address("me")]
        assert by_member.pop(MEMBERS[-1]) == 0
        assert min(by_member.values()) > 0
        assert shop.audit(level=4, sample=None).check().level == 4
