import subprocess
import sys
from pathlib import Path

import pytest
from evidenced import evidenced

from fedcoin_cli.cli.program.verbs import verbs

HEAVY = {"docker", "keras", "numpy", "onnx", "safetensors", "scipy", "sklearn", "tensorflow", "torch", "zmq"}
DRAWING = {"rich", "typer"}


def loaded(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running `code`."""
    report = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.splitlines()}


def test_the_ledger_needs_only_pynacl() -> None:
    """Every module of ledger_store loads with the standard library and PyNaCl alone."""
    code = (
        "import pkgutil, importlib, ledger_store\n"
        "for module in pkgutil.walk_packages(ledger_store.__path__, 'ledger_store.'):\n"
        "    importlib.import_module(module.name)"
    )
    foreign = loaded(code) - set(sys.stdlib_module_names) - loaded("")
    assert {name for name in foreign if not name.startswith("_")} <= {"ledger_store", "nacl"}


def test_the_frame_is_light() -> None:
    """The program's start loads nothing heavy, draws nothing, and none of the commands."""
    modules = loaded("import fedcoin_cli.cli.main as frame; frame.verbs()")
    assert not modules & (HEAVY | {"rich"})
    code = "import sys, fedcoin_cli.cli.main; assert not [n for n in sys.modules if '.commands.' in n]"
    loaded(code)


@pytest.mark.parametrize("verb", verbs())
def test_help_loads_no_tensorflow(verb: str) -> None:
    """The help of every command, so each command's own imports, comes without TensorFlow, NumPy or Docker."""
    assert not loaded(f"from fedcoin_cli.cli.program.verbs import load; load({verb!r})") & HEAVY


def test_an_auditor_needs_no_keras(tmp_path: Path) -> None:
    """Level 4 recomputes counts with NumPy alone: no Keras, no safetensors, no socket."""
    made = evidenced(tmp_path)
    ledger, store = made.maker.write(tmp_path / "ledger"), made.store.folder
    command = ["audit", str(ledger), "--all", "--files", str(store), "-q"]
    modules = loaded(f"from fedcoin_cli.cli.main import main; assert main({command!r}) == 0")
    assert modules & HEAVY == {"numpy"}
