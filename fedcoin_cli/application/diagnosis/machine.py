"""The machine: versions, what counts coalitions, Docker. Each check is a function that returns one `CheckFinding`."""

import contextlib
import json
import os
import platform
import shutil
import socket
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from fedcoin_cli.application.diagnosis.finding import BAD, GOOD, NOTE, CheckFinding
from ledger_store.base.errors import ExitCode, MissingPart

_BASE = ("numpy", "pyzmq", "pynacl", "safetensors", "rich", "typer")
_TENSORFLOW = ("tensorflow", "tensorflow-cpu")
_LEAST_PYTHON = (3, 11)
_ENGINE, _PATIENCE_S, _MOST_BYTES = "/var/run/docker.sock", 5.0, 1 << 20


def python() -> CheckFinding:
    """The interpreter, and FedCoin's own version."""
    said = (
        f"fedcoin {version('fedcoin')}, Python {platform.python_version()} on {platform.platform(terse=True)}"
    )
    if sys.version_info < _LEAST_PYTHON:
        hint = "FedCoin needs Python 3.11 or newer"
        return CheckFinding("python", BAD, said, hint, ExitCode.MISSING)
    return CheckFinding("python", GOOD, said)


def packages() -> CheckFinding:
    """The libraries of the base installation."""
    found = {name: _version(name) for name in _BASE}
    missing = [name for name, number in found.items() if number is None]
    if missing:
        hint = f"pip install {' '.join(missing)}"
        return CheckFinding("packages", BAD, f"missing: {', '.join(missing)}", hint, ExitCode.MISSING)
    return CheckFinding("packages", GOOD, ", ".join(f"{name} {number}" for name, number in found.items()))


def backend() -> CheckFinding:
    """Keras and its TensorFlow: `train` needs them, mining only for convolutions; onnxruntime counts graphs.

    None is imported: that takes seconds.
    """
    asked = os.environ.get("KERAS_BACKEND")
    if asked and (asked not in {"tensorflow", "jax", "torch"} or find_spec(asked) is None):
        message = f"KERAS_BACKEND asks for {asked[:40]!r}, which is not installed: nothing can be trained"
        return CheckFinding(
            "backend", BAD, message, "unset KERAS_BACKEND, or install what it names", ExitCode.MISSING
        )
    number = next((known for name in _TENSORFLOW if (known := _version(name)) is not None), None)
    if number is None or find_spec("keras") is None:
        hint = "pip install 'fedcoin[mine]' where somebody trains, or for models with convolutions"
        return CheckFinding(
            "backend", NOTE, "no TensorFlow: values can be mined, models not be trained", hint
        )
    said, counting = f"TensorFlow {number}, Keras {_version('keras')}", _version("onnxruntime")
    if counting is None:
        hint = "pip install onnx onnxruntime, where models of PyTorch or ONNX are mined on a CPU"
        return CheckFinding("backend", GOOD, f"{said}; no onnxruntime: graphs are counted by Keras", hint)
    return CheckFinding("backend", GOOD, f"{said}, onnxruntime {counting}")


def graphics() -> CheckFinding:
    """Whether the system shows a GPU; what Keras makes of it is told by a miner when it is ready."""
    from fedcoin_cli.learning.model.graphics import gpu_devices

    devices = gpu_devices()
    return CheckFinding(
        "gpu", GOOD, ", ".join(devices) if devices else "none; the C kernel counts on the CPU"
    )


def kernel() -> CheckFinding:
    """The C kernel, compiled now if it never was."""
    from fedcoin_cli.learning.engines.compiled import exposed, library

    if library() is not None and (place := exposed()) is not None:
        said = f"others can write {place}: every process compiles the C kernel for itself"
        return CheckFinding("kernel", NOTE, said, f"chmod go-w {place}")
    if library() is not None:
        return CheckFinding("kernel", GOOD, "the C kernel is compiled for this CPU")
    hint = "apt-get install gcc" if shutil.which("cc") is None else "cc does not compile it: try cc --version"
    said = "no C kernel: Keras counts coalitions, several times slower"
    return CheckFinding("kernel", NOTE, said, hint)


def containers() -> CheckFinding:
    """The Docker engine, which only `mine --via docker` and `--via swarm` need."""
    try:
        said = _local_engine() or _engine()
    except MissingPart as missing:
        return CheckFinding("docker", NOTE, f"{missing.message} ({missing.where})", missing.hint)
    return CheckFinding("docker", GOOD, f"engine {said} answers")


def _local_engine() -> str | None:
    """The version of the engine at this machine's socket, asked without Docker's library, which takes long to load."""
    if "DOCKER_HOST" in os.environ:
        return None
    with contextlib.suppress(OSError, ValueError, KeyError), socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_PATIENCE_S)
        line.connect(_ENGINE)
        line.sendall(b"GET /version HTTP/1.0\r\n\r\n")
        answer = line.makefile("rb").read(_MOST_BYTES)
        return str(json.loads(answer.partition(b"\r\n\r\n")[2])["Version"])
    return None


def _engine() -> str:
    """The version of the engine that DOCKER_HOST names, or why there is none; raises `MissingPart`."""
    if "DOCKER_HOST" not in os.environ and not os.path.exists(_ENGINE):  # noqa: PTH110 -- a socket's place
        hint = "install Docker and start it, or run the miners as processes: fedcoin mine --via process"
        raise MissingPart("no Docker engine answers here", where=f"unix://{_ENGINE}", hint=hint)
    from fedcoin_cli.runtime.docker_engine import connect

    engine = connect()
    try:
        return str(engine.version()["Version"])
    finally:
        engine.close()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


CHECKS = (python, packages, backend, graphics, kernel, containers)
