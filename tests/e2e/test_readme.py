"""The README's commands: typed as they stand there, one after the other, by somebody who has just installed it."""

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

from generated import ROOT
from live import processes_in, wait_until
from shell import PROGRAM

from benchmarks.network import free_ports

_README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```[a-z]*\n(.*?)^```$", _README, re.MULTILINE | re.DOTALL)
# These are about one network; the others are for strangers, containers and Python, and have tests elsewhere.
FIRST, REASONS, PAYMENTS, PROOF = (
    "fedcoin init shop --clients",
    "fedcoin explain",
    "fedcoin pay",
    "fedcoin show --proof",
)


def typed(start: str) -> list[str]:
    """The lines that a person types of the one block that begins so, without comments and what is printed."""
    (block,) = (block for block in BLOCKS if block.removeprefix("$ ").startswith(start))
    lines = [line.split("  #")[0].strip() for line in block.splitlines()]
    asked = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return asked or [line for line in lines if line]


def test_every_command_of_the_first_hour(tmp_path: Path) -> None:
    """Init to audit, reasons and books, payments, and a proof that needs no ledger."""
    *began, stop = typed(FIRST)
    assert stop == "fedcoin stop"
    reasons = [line for line in typed(REASONS) if "--live" not in line]  # a screen: tests/e2e/test_live.py
    show, verify = typed(PROOF)
    task, genesis = _read("log", "['blocks'][0]['transactions'][0]['id']"), _read("audit", "['genesis']")
    proof = [show.replace("2b1c9e", task), verify.replace("ID", genesis)]
    said = run([*began, *reasons, *typed(PAYMENTS), *proof, stop], tmp_path)
    assert said.returncode == 0, said.stdout + said.stderr
    told = said.stdout.splitlines()
    assert [line for line in told if line.startswith("paid") and "final" in line] == [
        "paid 2.5 FedCoin to client-001, final at height 4",
        "paid 1.0 FedCoin to server, final at height 5",
    ]
    assert any(line.startswith("audit ok") for line in told)
    made = ("shop.html", "shop.beancount", "proof.json")
    assert all((tmp_path / "shop" / name).stat().st_size for name in made)


def _read(command: str, place: str) -> str:
    """What a command's JSON says there, as the shell puts it into another command."""
    return f'$(fedcoin {command} --json | python3 -c "import json, sys; print(json.load(sys.stdin){place})")'


def run(lines: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """All lines in one shell, which ends at the first that fails."""
    environment = {
        "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}",
        "FEDCOIN_NETWORK_PORT": str(free_ports(8)),
    }
    try:
        return subprocess.run(
            ["bash", "-ec", "\n".join(lines)],
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    finally:
        for pid in processes_in(folder / "shop"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not processes_in(folder / "shop"))
