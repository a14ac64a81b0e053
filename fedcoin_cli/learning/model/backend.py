"""The one door to Keras: a clear error where it is missing, quiet logs, threads fixed before the first use.

Modules that need Keras import it from here; the others (`model`, `weights`, tables, the reference) never do.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec

from ledger_store.base.errors import MissingPart

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# JAX takes three quarters of a GPU unless told otherwise, whatever it needs.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


_BACKENDS = ("tensorflow", "jax", "torch")
_INSTALL = "pip install 'fedcoin[mine]'"


def choose_backend() -> str:
    """What computes: what KERAS_BACKEND names, else the first that is installed. A user's keras.json has no say.

    Raises:
        MissingPart: it is not installed, or nothing is.
    """
    wanted = os.environ.get("KERAS_BACKEND") or next((one for one in _BACKENDS if find_spec(one)), "")
    if wanted in _BACKENDS and find_spec(wanted) and find_spec("keras"):
        return wanted
    if os.environ.get("KERAS_BACKEND"):
        message = f"KERAS_BACKEND asks for {wanted[:40]!r}, which is not installed"
        hint = f"unset it, install {wanted[:40]}, or name one of {', '.join(_BACKENDS)}"
        raise MissingPart(message, where="the environment", hint=hint)
    raise MissingPart(
        "TensorFlow and Keras are not installed",
        where="training and mining need them; auditing and paying do not",
        hint=_INSTALL,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what C++ libraries say while they load off the terminal: no setting of theirs silences all of it."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


_ASKED = os.environ.get("KERAS_BACKEND")
os.environ["KERAS_BACKEND"] = choose_backend()
try:
    with _quiet():
        import keras
        from keras import ops
except ImportError as error:
    raise MissingPart(
        f"Keras cannot be loaded with {os.environ['KERAS_BACKEND']}: {str(error)[:200]}",
        where="training and mining need it; auditing and paying do not",
        hint=_INSTALL,
    ) from error

# Keras has read it. What was chosen here was not asked for by anybody: a program that this one starts chooses anew.
if _ASKED is None:
    del os.environ["KERAS_BACKEND"]

# What a user's keras.json says of other programs must change nothing here.
keras.config.set_image_data_format("channels_last")
keras.config.set_floatx("float32")
keras.config.set_dtype_policy("float32")

__all__ = ["choose_backend", "deterministic", "devices", "keras", "ops", "use_threads"]


def devices() -> str:
    """What the backend computes on: "gpu" or "cpu"."""
    if keras.backend.backend() == "torch":  # Keras cannot list PyTorch's devices
        found: bool = import_module("torch").accelerator.is_available()
    else:
        found = any(name.startswith("gpu") for name in keras.distribution.list_devices())
    return "gpu" if found else "cpu"


def _full_precision() -> None:
    """Products of float32 in float32: TF32 and bfloat16 move counts. Miners that share a GPU take what they need."""
    match keras.backend.backend():
        case "tensorflow":
            config = import_module("tensorflow").config
            config.experimental.enable_tensor_float_32_execution(False)
            for gpu in config.list_physical_devices("GPU"):
                config.experimental.set_memory_growth(gpu, True)
        case "jax":
            config = import_module("jax").config
            config.update("jax_default_matmul_precision", "highest")
            config.update("jax_enable_x64", True)  # models of many layers are counted in double
        case "torch":
            import_module("torch").set_float32_matmul_precision("highest")


_full_precision()


def use_threads(threads: int) -> None:
    """Let TensorFlow use this many cores in this process, if it computes nothing yet: later it keeps those it has.

    Miners that share a machine take a share each. Other backends have no such setting and are left alone.
    """
    if keras.backend.backend() != "tensorflow":
        return
    threading = import_module("tensorflow").config.threading
    with suppress(RuntimeError):  # once it runs
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)


def deterministic(seed: int) -> None:
    """Make everything Keras draws and sums from here on a function of `seed` (0 ≤ seed < 2³²)."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import_module("tensorflow").config.experimental.enable_op_determinism()
