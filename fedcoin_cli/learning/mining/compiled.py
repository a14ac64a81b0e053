"""`kernel.c` as a loaded library: compiled by the system's `cc` on first use, for the very CPU it runs on.

The result lies in the user's cache folder under a name made of everything it depends on. Where somebody has put a
library of this very source among the system's (a container image without a compiler has one), that is taken; the
loader picks its flavour for this CPU. Whatever is missing means that there is no library, never an error: others can
count as well. What is done with the library lives in `kernel`.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

from cffi import FFI
from platformdirs import user_cache_path

SOURCES: Final = tuple(Path(__file__).with_name(name) for name in ("kernel.c", "walks.c"))
FLAGS: Final = ("-O3", "-march=native", "-ffp-contract=fast", "-std=gnu11", "-shared", "-fPIC")
_DIGEST: Final = hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()
INSTALLED: Final = f"libfedcoin-kernel-{_DIGEST[:16]}.so"
"""What a library of this source is called among the system's."""

_PATIENCE_S: Final = 120.0

ffi: Final = FFI()


@cache
def library() -> Any:
    """The loaded library, or None where it can neither be found nor made. Any number of processes may ask at once."""
    try:
        source = "".join(path.read_text() for path in SOURCES)
        # The declarations are those of the definitions: every exported function starts in column 0.
        for declaration in re.findall(r"^(?:void|int32_t) fedcoin_\w+\([^)]*\)", source, re.MULTILINE):
            ffi.cdef(declaration + ";", override=True)
        compiler = shutil.which("cc")
        return ffi.dlopen(INSTALLED if compiler is None else str(_compiled(source, compiler)))
    except (OSError, subprocess.SubprocessError):
        return None


def _compiled(source: str, compiler: str) -> Path:
    """Where the library of this source for this CPU lies, made if it does not."""
    path = user_cache_path("fedcoin") / f"kernel-{_key(source, compiler)}.so"
    if not path.is_file():
        _compile(compiler, path)
    return path


def _key(source: str, compiler: str) -> str:
    """Compiled code is good for one source, one compiler and one CPU; home folders are shared by unlike machines."""
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, check=True, timeout=_PATIENCE_S
    ).stdout
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


def _compile(compiler: str, path: Path) -> None:
    """Compile beside the target and move it there at once: another process sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(suffix=".so", dir=path.parent)
    os.close(handle)
    try:
        command = [compiler, *FLAGS, "-o", draft, *map(str, SOURCES)]
        subprocess.run(command, capture_output=True, check=True, timeout=_PATIENCE_S)
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)
