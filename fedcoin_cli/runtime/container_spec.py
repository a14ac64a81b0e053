"""What one miner gets of its workspace where it does not share the workspace's file system.

It is plain data: files to read, folders to write, where to be reached, how much of the machine to use.
Containers and services are made of it; no engine is asked for here. (docs/adr/0011)
"""

import io
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

HOME = "/workspace"
"""Where a container finds its part of the workspace."""
PORT = 7460
"""Where a miner listens in a container; files go over the port after it. Every container has its own address."""
IMAGE_USER = 10001
"""Who runs in our images when nobody else is asked for."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One miner's part of a workspace.

    `command` are the words for `fedcoin`. `files` are read and `folders` written, both by their path in the
    workspace; `secrets` says which files only the miner may read. Others reach the miner at `host`:`port` and the
    port after it, whoever monitors it at `metrics`: a host and a port, the same inside.
    """

    command: Sequence[str]
    files: Mapping[str, bytes]
    secrets: frozenset[str]
    folders: Mapping[str, Path]
    host: str
    port: int
    metrics: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class MachineLimits:
    """How much of the machine one miner may use; no GPU unless `gpus` says how many, or "all"."""

    cpus: float
    memory_bytes: int
    processes: int = 512
    gpus: str = ""


def user_of(root: Path) -> tuple[int, int]:
    """Who shall run in a container that writes into the folder `root`: its owner, but never root itself."""
    owner = root.stat()
    return (owner.st_uid, owner.st_gid) if owner.st_uid else (IMAGE_USER, IMAGE_USER)


def hand_over(folder: Path, user: tuple[int, int]) -> None:
    """Let `user` write a folder that belongs to root, and all that is in it; no link is followed."""
    for path in (folder, *folder.rglob("*")):
        if path.lstat().st_uid == 0:
            os.chown(path, *user, follow_symlinks=False)


def packed(spec: ContainerSpec, user: tuple[int, int]) -> bytes:
    """The files as a tar archive that belongs to `user`, with empty folders where others will be mounted."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        parents = {parent for name in spec.files for parent in PurePosixPath(name).parents}
        folders = {str(parent) for parent in parents if parent.name} | set(spec.folders)
        folders |= {
            str(parent) for name in spec.folders for parent in PurePosixPath(name).parents if parent.name
        }
        for name in sorted(folders):
            _add(tar, tarfile.TarInfo(name), user, 0o755, None)
        for name, data in sorted(spec.files.items()):
            _add(tar, tarfile.TarInfo(name), user, 0o400 if name in spec.secrets else 0o444, data)
    return archive.getvalue()


def _add(
    tar: tarfile.TarFile, entry: tarfile.TarInfo, user: tuple[int, int], mode: int, data: bytes | None
) -> None:
    entry.uid, entry.gid, entry.mode = *user, mode
    if data is None:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    else:
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
