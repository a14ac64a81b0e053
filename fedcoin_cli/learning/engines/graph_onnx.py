"""The rest of a graph by onnxruntime, on the CPU: float32, one coalition after the other, on models written here.

What an image number changes is known before: of each number of images there is one model, with fixed shapes.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final

import numpy as np

from fedcoin_cli.learning.engines.averages import Single
from fedcoin_cli.learning.engines.graph_outputs import NumpyRest
from fedcoin_cli.learning.engines.onnx_forms import written
from fedcoin_cli.learning.graph.namespace import Array
from fedcoin_cli.learning.graph.passes import widened
from fedcoin_cli.learning.reference.staged import Staged

_PART_VALUES: Final = 1 << 18
"""Of the widest value of the images that are computed together: what a core's cache holds."""
_LEAST_IMAGES: Final = 16
_MOST_IMAGES: Final = 512


class OnnxRest(NumpyRest):
    """A graph's rest as a model of ONNX.

    Args:
        ready: the game, and what is computed once of it.
        threads: cores to use; 0: all.
    """

    def __init__(self, ready: Staged, threads: int = 0) -> None:
        super().__init__(ready)
        self._ready, self._threads = ready, threads
        widest = max(
            (self.averages.types[name].each for node in self.averages.nodes for name in node.outputs if name),
            default=1,
        )
        if not self._whole:
            self.images = max(_LEAST_IMAGES, min(_MOST_IMAGES, _PART_VALUES // widest // 16 * 16))
        self._sessions: dict[int, tuple[Any, dict[str, str]]] = {}

    def outputs(
        self,
        shares: Single,
        rows: Sequence[Single],
        constants: Mapping[str, Array],
        averaged: Mapping[str, Array],
    ) -> Array:
        """As of `Rest`; where poolings may have dropped what is no number, NumPy computes the coalition."""
        if not self.averages.nodes:
            return super().outputs(shares, rows, constants, averaged)
        images = self._images(constants, averaged)
        session, names = self._session(images)
        mixed = {name: self._mixed(shares, values) for name, values in averaged.items()}
        given = {names[name]: values for name, values in constants.items() if name in names}
        found = []
        for number, row in enumerate(rows):
            own = {name: values[number] for name, values in mixed.items()} | self.averages.named(row)
            fed = given | {names[name]: values for name, values in own.items()}
            outputs, *sums = session.run(None, fed)
            if np.isfinite(sums).all():
                found.append(widened(outputs, self._xp))
            else:
                found.append(super().outputs(shares[number : number + 1], [row], constants, averaged)[0])
        return np.stack(found)

    def _images(self, constants: Mapping[str, Array], averaged: Mapping[str, Array]) -> int:
        """How many there are: values of images say it along their axis."""
        types = self.averages.types
        for name, values, more in (
            *((name, values, 0) for name, values in constants.items()),
            *((name, values, 1) for name, values in averaged.items()),
        ):
            one = types[name]
            if one.axis is not None:
                return int(values.shape[one.axis + more]) // one.sizes[one.axis]
        raise AssertionError("an output depends on no image")

    def _session(self, images: int) -> tuple[Any, dict[str, str]]:
        if images not in self._sessions:
            self._sessions[images] = self._made(images)
        return self._sessions[images]

    def _made(self, images: int) -> tuple[Any, dict[str, str]]:
        averages, ready = self.averages, self._ready
        read = {name for node in averages.nodes for name in node.inputs}
        held = {name: values for name, values in ready.shared.items() if name in read}
        inputs = [name for name in (*averages.layout, *ready.constants, *ready.averaged) if name in read]
        text, names = written(self._graph, averages.nodes, averages.types, images, held, inputs)
        return session_of(text, self._threads), names


def session_of(text: bytes, threads: int) -> Any:
    """What runs a model: one that gives the same results each time, and whose threads sleep when they are idle."""
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
