"""This project's images: of which code they must be, how they are built, which of them nobody needs any more.

What is in them is written in `docker/Dockerfile`.
"""

import hashlib
import io
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from docker.errors import DockerException, ImageNotFound

import fedcoin_cli
import ledger_store
from fedcoin_cli.runtime.docker_engine import CODE, PART, connect, refusals
from ledger_store.base.errors import MissingPart, NotFound

TARGETS: Final = ("fedcoin_lw", "fedcoin")
"""The lightweight image first: it is done soon, and the other is built on its layers."""
PACKAGES: Final = tuple(Path(str(package.__file__)).parent for package in (fedcoin_cli, ledger_store))
_CHECKOUT: Final = PACKAGES[0].parent
_CONTEXT: Final = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "man",
    "docker",
    "ledger_store",
    "fedcoin_cli",
    "fedcoin",
)
_STEP: Final = re.compile(r"Step (\d+)/(\d+) : (.*)")

Told = Callable[[str, int, int], None]
"""Hears of an image being built: its name, the step, of how many."""


@cache
def code() -> str:
    """What this program's code is, in twelve characters: miners of one network should not differ in it."""
    sum_ = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted(package.rglob("*")):
            if path.suffix in {".py", ".c", ".h"}:
                sum_.update(f"{package.name}/{path.relative_to(package)}\0".encode())
                sum_.update(hashlib.sha256(path.read_bytes()).digest())
    return sum_.hexdigest()[:12]


def checked(engine: Any, image: str) -> None:
    """Refuse an image that is not there, or is of other code than this program; raises `MissingPart`."""
    hint = "fedcoin mine --via docker --build makes both images"
    with refusals(f"image {image}"):
        try:
            labels = engine.images.get(image).labels
        except ImageNotFound as error:
            raise MissingPart(f"there is no image {image}", where="docker images", hint=hint) from error
    other = labels.get(CODE) or "unknown code"
    if other != code():
        message = f"the image {image} is of another version than this program"
        where = f"image: {other}, program: {code()}"
        raise MissingPart(message, where=where, hint=hint)


def build(base: str, told: Told, targets: Iterable[str] = TARGETS) -> list[str]:
    """Build images unless they are there and of this code; returns the names of those that were built.

    Raises `NotFound` where there is no checkout to build from, `MissingPart` when a step fails.
    """
    engine = connect()
    wanted = [target for target in targets if not _is_current(engine, target)]
    if wanted and not (_CHECKOUT / "docker" / "Dockerfile").is_file():
        hint = "run fedcoin from a checkout: images are built from its docker folder"
        raise NotFound("no docker folder beside this program", where=str(_CHECKOUT), hint=hint)
    for target in wanted:
        _build(engine, target, base, told)
    return wanted


def prune() -> list[str]:
    """Remove this project's images that have no name and that no container uses; returns what they were."""
    engine, removed = connect(), []
    with refusals("prune"):
        for _ in range(len(TARGETS) + 1):  # some stand on others
            for image in engine.images.list(filters={"dangling": True, "label": PART}):
                try:
                    engine.images.remove(image.id)
                except DockerException:
                    continue  # in use: it stays
                removed.append(f"image {image.short_id.removeprefix('sha256:')}")
    return removed


def _is_current(engine: Any, target: str) -> bool:
    with refusals(f"image {target}"):
        try:
            return bool(engine.images.get(target).labels.get(CODE) == code())
        except ImageNotFound:
            return False


def _build(engine: Any, target: str, base: str, told: Told) -> None:
    with refusals(f"image {target}"):
        # The host's network: whoever can install here can build here, whatever the engine's bridges lead to.
        lines = engine.api.build(
            fileobj=io.BytesIO(_context()),
            custom_context=True,
            encoding="gzip",
            dockerfile="docker/Dockerfile",
            target=target,
            tag=target,
            buildargs={"BASE_IMAGE": base, "CODE": code()},
            network_mode="host",
            rm=True,
            forcerm=True,
            decode=True,
            timeout=3600,
        )
        _follow(lines, target, base, told)


def _follow(lines: Iterator[Mapping[str, Any]], target: str, base: str, told: Told) -> None:
    step, last = "", ""
    for line in lines:
        text = str(line.get("stream") or line.get("error") or "").strip()
        if found := _STEP.match(text):
            step = found[3]
            told(target, int(found[1]), int(found[2]))
        if "error" in line:
            hint = "the lines above this step: docker build -f docker/Dockerfile ."
            if step.startswith("FROM"):
                hint = f"where {base} cannot be fetched: docker/prepare makes a base image, see README.md"
            reason = f"{last}; {text}" if last else text
            raise MissingPart(f"the image {target} cannot be built: {reason}", where=step, hint=hint)
        last = text if text and not text.startswith("--->") else last


def _context() -> bytes:
    """What the engine needs of the checkout, as a gzipped tar archive in which nothing depends on the day."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        for name in _CONTEXT:
            tar.add(_CHECKOUT / name, name, filter=_plain)
    return archive.getvalue()


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in entry.name:
        return None
    entry.mtime = entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry
