import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fedcoin_cli.learning.engines.compiled import INSTALLED, SOURCES


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine")
@pytest.mark.parametrize(
    ("name", "said"), [(INSTALLED, "C kernel, 2 threads"), (f"other-{INSTALLED}", "Keras")]
)
def test_a_library_of_this_source_needs_no_compiler(tmp_path: Path, name: str, said: str) -> None:
    """A library among the system's counts where no compiler is, if it is of these very sources; a container has one."""
    build = ["cc", "-O1", "-std=gnu11", "-shared", "-fPIC", "-o", str(tmp_path / name), *map(str, SOURCES)]
    subprocess.run(build, check=True)
    places = {"PATH": "", "LD_LIBRARY_PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    code = "from fedcoin_cli.learning.engines.choice import describe; print(describe(2))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | places, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(said)
