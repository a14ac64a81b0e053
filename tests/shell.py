"""Running the installed `fedcoin` program as a person would."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).with_name("fedcoin")


@dataclass(frozen=True, slots=True)
class Said:
    """What a run left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object that --json printed."""
        return json.loads(self.out)


def fedcoin(*arguments: str, folder: Path, timeout_s: float = 120, **variables: str) -> Said:
    """Run one command in `folder` to its end, without a terminal and without input."""
    done = subprocess.run(
        [PROGRAM, *arguments],
        cwd=folder,
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)
