"""What is written in C as one library, compiled by the system's `cc` on first use, for this very CPU.

The result lies in the user's cache folder under a name made of everything it depends on, and is loaded from there only
if nobody else could have put it there; else it is compiled for one process into a folder of its own. Where somebody has
put a library of these very sources among the system's (as in a container image without a compiler), that is taken; the
loader picks its flavour for this CPU. Whatever is missing means that there is no library, never an error: others can
count as well. What is done with the library lives in `kernel`, `cube` and `walker`.
"""

import atexit
import hashlib
import logging
import os
import platform
import re
import shutil
import stat
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from cffi import FFI
from platformdirs import user_cache_path

from ledger_store.base.disk import alone
from ledger_store.base.errors import StorageFailure

SOURCES: Final = tuple(
    Path(__file__).with_name(name) for name in ("kernel.c", "cube.c", "walks.c", "recurrent.c")
)
FLAGS: Final = ("-O3", "-march=native", "-ffp-contract=fast", "-std=gnu11", "-shared", "-fPIC")
SHARED: Final = (Path(__file__).with_name("curves.h"),)
"""What they include."""
_DIGEST: Final = hashlib.sha256(b"".join(source.read_bytes() for source in (*SOURCES, *SHARED))).hexdigest()
INSTALLED: Final = f"libfedcoin-kernel-{_DIGEST[:16]}.so"
"""What a library of these sources is called among the system's."""

_PATIENCE_S: Final = 120.0

ffi: Final = FFI()
_log: Final = logging.getLogger(__name__)


@cache
def library() -> Any:
    """The loaded library, or None where it can neither be found nor made. Any number of processes may ask at once."""
    try:
        source = "".join(source.read_text() for source in (*SOURCES, *SHARED))
        # The declarations are those of the definitions: every exported function starts in column 0.
        for declaration in re.findall(
            r"^(?:void|int32_t|int64_t) fedcoin_\w+\([^)]*\)", source, re.MULTILINE
        ):
            ffi.cdef(declaration + ";", override=True)
        compiler = shutil.which("cc")
        return ffi.dlopen(INSTALLED if compiler is None else str(_compiled(source, compiler)))
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().partition("\n")[0]
        _log.warning("the C kernel does not compile, so counting is several times slower: %s", said or error)
        return None
    except (OSError, subprocess.SubprocessError):
        return None


def _compiled(source: str, compiler: str) -> Path:
    """Where the library of this source for this CPU lies, made if it does not."""
    folder = user_cache_path("fedcoin")
    path = folder / f"kernel-{_key(source, compiler)}.so"
    with suppress(OSError, StorageFailure):  # a cache that cannot be made is one that cannot be used
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (loose := writable_by_others(folder)) is None and not path.is_file():
            _compile_once(compiler, path)
        if loose is None and (loose := writable_by_others(path)) is None:
            return path
        _log.warning("others can write %s: the kernel is compiled for this process alone", loose)
    private = Path(tempfile.mkdtemp(prefix="fedcoin-kernel-"))  # mode 0700
    atexit.register(shutil.rmtree, private, ignore_errors=True)
    _compile(compiler, private / path.name)
    return private / path.name


def exposed() -> Path | None:
    """What keeps the cached library from being used, as others can write it."""
    folder = user_cache_path("fedcoin")
    return writable_by_others(folder) if folder.is_dir() else None


def writable_by_others(path: Path) -> Path | None:
    """What on the way to `path` somebody else could have exchanged, the file itself included; None: nothing.

    Neither the owner of a file's name nor its content may be another's but root's. In a folder with the sticky bit
    others may write, and cannot move what is not theirs.
    """
    for place in (path, *path.parents):
        seen = place.lstat()
        sticky = stat.S_ISDIR(seen.st_mode) and seen.st_mode & stat.S_ISVTX
        others = seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not stat.S_ISLNK(seen.st_mode)
        if seen.st_uid not in {0, os.getuid()} or (others and not sticky):
            return place
    return None


def _key(source: str, compiler: str) -> str:
    """Compiled code is good for one source, one compiler and one CPU; home folders are shared by unlike machines."""
    asked = [compiler, "--version"]
    version = subprocess.run(asked, capture_output=True, check=True, timeout=_PATIENCE_S).stdout
    parts = (source, " ".join(FLAGS), version.decode(errors="replace"), platform.machine(), _cpu())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _cpu() -> str:
    """What tells this CPU's abilities from another's."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    wanted = re.findall(
        r"^(?:model name|flags|Features|CPU part)\s*:.*$", text.split("\n\n")[0], re.MULTILINE
    )
    return "\n".join(wanted)


def _compile_once(compiler: str, path: Path) -> None:
    """Compile where nobody has yet: a workspace's miners start together, and one of them does it for all."""
    with alone(path.with_suffix(".lock")):
        if not path.is_file():
            _compile(compiler, path)


def _compile(compiler: str, path: Path) -> None:
    """Compile beside the target and move it there at once: another process sees all of it or nothing."""
    # A folder of its own: a linker makes its file anew, and would do so with the mode that the umask allows.
    with tempfile.TemporaryDirectory(prefix=".kernel-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        command = [compiler, *FLAGS, "-o", str(draft), *map(str, SOURCES)]
        subprocess.run(command, capture_output=True, check=True, timeout=_PATIENCE_S)
        draft.chmod(0o700)
        draft.replace(path)
