"""The one door to Keras: a clear error where it is missing, quiet logs, threads fixed before the first use.

Modules that need Keras import it from here; the others (`model`, `weights`, tables, the reference) never do.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from ledger_store.errors import MissingPart

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


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


try:
    with _quiet():
        import keras
        from keras import ops
except ImportError as error:
    raise MissingPart(
        "TensorFlow and Keras are not installed",
        where="training and mining need them; auditing and paying do not",
        hint="pip install 'fedcoin[mine]'",
    ) from error

__all__ = ["deterministic", "keras", "ops", "use_threads"]


def use_threads(threads: int) -> None:
    """Let TensorFlow use this many cores in this process; call it before the first model or tensor.

    Miners that share a machine take a share each. Other backends have no such setting and are left alone.

    Raises:
        RuntimeError: TensorFlow is already running with other threads.
    """
    if keras.backend.backend() != "tensorflow":
        return
    threading = import_module("tensorflow").config.threading
    if threading.get_intra_op_parallelism_threads() != threads:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)


def deterministic(seed: int) -> None:
    """Make everything Keras draws and sums from here on a function of `seed` (0 ≤ seed < 2³²)."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import_module("tensorflow").config.experimental.enable_op_determinism()
