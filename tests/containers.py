"""Real containers for tests: an engine, both images, a workspace whose containers are gone afterwards.

Where no engine runs these tests are left out, and the end of the run says so; with CONTAINERS=required they fail.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from live import workspace_of

from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.runtime import images
from fedcoin_cli.runtime.docker_engine import PART, EngineWorkspace, connect
from ledger_store.base.errors import FedCoinError

LEFT_OUT = (
    "miners in containers: no Docker engine runs here (as root on Debian 12, docker/prepare starts one)"
)


def engine_or_skip() -> Any:
    """This machine's Docker engine."""
    try:
        return connect()
    except FedCoinError as error:
        if os.environ.get("CONTAINERS") == "required":
            pytest.fail(f"{LEFT_OUT}: {error.where}")
        pytest.skip(LEFT_OUT)


def base(engine: Any) -> str:
    """What docker/prepare makes where no image can be fetched, else the usual one."""
    local = "fedcoin-base:local"
    return local if engine.images.list(local) else "python:3.11-slim-bookworm"


def build_images(engine: Any, *more: str) -> None:
    """The images of this very code, and `more`; seconds when only the program has changed."""
    images.build(base(engine), lambda *_: None, (*images.TARGETS, *more))


def compose() -> list[str]:
    """How this machine calls compose."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(words[0])
            and not subprocess.run([*words, "version"], capture_output=True, check=False).returncode
        ):
            return words
    pytest.skip("miners in containers by compose: there is no compose here (Debian: docker-compose)")


@contextmanager
def layers_kept(engine: Any) -> Iterator[None]:
    """The images without a name that make the next build quick survive a prune in this block."""
    found = engine.images.list(filters={"dangling": True, "label": PART})
    names = [f"fedcoin-layers:{number}" for number in range(len(found))]
    for image, name in zip(found, names, strict=True):
        image.tag(name)
    try:
        yield
    finally:
        # A name that moves on leaves its image; one that is removed would take it along.
        for name in names:
            engine.images.get("fedcoin_lw").tag(name)
            engine.images.remove(name)


@contextmanager
def contained(root: Path, miners: int, *arguments: str) -> Iterator[Workspace]:
    """A new workspace; at the end nothing of it is left in the engine."""
    with workspace_of(root, miners, *arguments) as workspace:
        try:
            yield workspace
        finally:
            forget(workspace)


def forget(workspace: Workspace) -> None:
    """Remove by force what the engine has of a workspace."""
    engine, filters = connect(), EngineWorkspace(workspace.root).filters
    if engine.info()["Swarm"].get("ControlAvailable"):
        for service in engine.services.list(filters=filters):
            service.remove()
        for one in (*engine.secrets.list(filters=filters), *engine.configs.list(filters=filters)):
            one.remove()
    for container in engine.containers.list(all=True, filters=filters):
        container.remove(force=True)
    for volume in engine.volumes.list(filters=filters):
        volume.remove(force=True)
    for network in engine.networks.list(filters=filters):
        network.remove()


def container_of(workspace: Workspace, number: int) -> Any:
    """A miner's container."""
    return connect().containers.get(EngineWorkspace(workspace.root).name(number))


def runs(workspace: Workspace, number: int) -> bool:
    """Whether a miner's container runs."""
    return bool(container_of(workspace, number).status == "running")
