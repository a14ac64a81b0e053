"""The door to a Docker engine: how it is reached, what it refuses, what a workspace's things in it are called.

What is made in the engine is decided in `images`, `docker` and `swarm`.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import RequestException

from ledger_store.base.errors import FedCoinError, MissingPart, NetworkFailure, StorageFailure

__all__ = ["EngineWorkspace", "NotFound", "connect", "refusals"]

# Removing a large image takes minutes on a busy disk.
_PATIENCE_S = 300
PART, CODE = "io.fedcoin.part", "io.fedcoin.code"
"""Labels of an image: which of this project's it is, and of what code."""
WORKSPACE, MINER = "io.fedcoin.workspace", "io.fedcoin.miner"
"""Labels of all that runs: whose it is."""

_PORT_TAKEN = re.compile(r"port is already allocated|address already in use|host-mode port already in use")
_NO_GPU = re.compile(r"device driver|nvidia", re.IGNORECASE)
_DISK_FULL = re.compile(r"no space left|disk quota")


def connect() -> docker.DockerClient:
    """The engine that DOCKER_HOST names, or the one of this machine; raises `MissingPart`."""
    where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        return docker.from_env(timeout=_PATIENCE_S)
    except DockerException as error:
        hint = "install Docker and start it, or run the miners as processes: fedcoin mine --via process"
        if "Permission denied" in str(error):
            hint = "join the group docker and log in again, or run the miners as processes"
        raise MissingPart("no Docker engine answers here", where=where, hint=hint) from error


@contextmanager
def refusals(doing: str) -> Iterator[None]:
    """What the engine refuses becomes an error that says what was being done."""
    try:
        yield
    except APIError as error:
        raise _known(doing, " ".join(str(error.explanation or error).split())) from error
    except (DockerException, RequestException) as error:
        hint = "see whether the engine still runs: docker info"
        raise MissingPart(
            f"{doing}: the Docker engine does not answer", where=str(error), hint=hint
        ) from error


@contextmanager
def unless_gone() -> Iterator[None]:
    """What is no longer there, or has just ended by itself, is not a failure of who wants to end it."""
    try:
        yield
    except APIError as error:
        if error.status_code not in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}:
            raise


def _known(doing: str, reason: str) -> FedCoinError:
    if _PORT_TAKEN.search(reason):
        hint = "fedcoin stop ends what runs here; network.port and peers.toml choose other ports"
        return NetworkFailure(f"{doing}: its port is taken", where=reason, hint=hint)
    if _NO_GPU.search(reason):
        hint = "install the GPU's container toolkit on this machine, or leave out --gpus"
        return MissingPart(f"{doing}: this engine passes no GPU through", where=reason, hint=hint)
    if _DISK_FULL.search(reason):
        hint = "free some space; fedcoin stop --prune removes what this project no longer needs"
        return StorageFailure(f"{doing}: the engine's disk is full", where=reason, hint=hint)
    return MissingPart(f"{doing}: the Docker engine refuses", where=reason, hint="docker info tells about it")


@dataclass(frozen=True)
class EngineWorkspace:
    """A workspace as an engine knows it."""

    root: Path

    @cached_property
    def stem(self) -> str:
        """The beginning of all its names; two workspaces never share one."""
        name = re.sub(r"[^a-z0-9]+", "-", self.root.name.lower()).strip("-")[:24]
        return f"fedcoin-{name or 'x'}-{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]}"

    @property
    def labels(self) -> dict[str, str]:
        """What all that belongs to it is marked with."""
        return {WORKSPACE: str(self.root)}

    @property
    def filters(self) -> dict[str, list[str]]:
        """How all that belongs to it is found."""
        return {"label": [f"{WORKSPACE}={self.root}"]}

    def name(self, number: int) -> str:
        """A miner's container, volume or service."""
        return f"{self.stem}-miner-{number}"
