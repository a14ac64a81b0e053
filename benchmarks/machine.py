"""What every benchmark says about where it ran, and how it prints."""

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np


def machine() -> dict[str, Any]:
    """The machine, its load and the libraries that figures depend on."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def peak_mib() -> float:
    """The most memory that this process ever held.

    What `getrusage` says is at least what the process held that started this one: a new program inherits it.
    """
    found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else float("nan")


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows that share their keys as a table."""
    print(f"\n{title}")
    cells = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        padded = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *padded]))


def finish(result: dict[str, Any], as_json: bool, tables: dict[str, list[dict[str, Any]]]) -> None:
    """Print one JSON object, or the tables and what else is in the result."""
    if as_json:
        print(json.dumps(result))
        return
    for title, rows in tables.items():
        show(title, rows)
    print()
    for name, value in result.items():
        if name not in tables:
            print(f"{name}: {_text(value)}")


def _cpu() -> str:
    try:
        named = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        named = None
    return named[1] if named else platform.processor()


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(part)}" for name, part in value.items())
    return str(value)
