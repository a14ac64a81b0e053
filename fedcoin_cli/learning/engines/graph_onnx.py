"""The rest of a graph by onnxruntime, on the CPU: float32, one coalition after the other, on models written here.

What an image number changes is known before: of each number of images there is one model, with fixed shapes.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from typing import Any, Final

import numpy as np

from fedcoin_cli.learning.engines.averages import Single
from fedcoin_cli.learning.engines.graph_outputs import NumpyRest
from fedcoin_cli.learning.engines.onnx_forms import written
from fedcoin_cli.learning.engines.recurrent import Layer
from fedcoin_cli.learning.graph.graph import Node
from fedcoin_cli.learning.graph.namespace import Array
from fedcoin_cli.learning.graph.passes import widened
from fedcoin_cli.learning.reference.staged import Staged

_PART_VALUES: Final = 1 << 18
"""Of the widest value of the images that are computed together: what a core's cache holds."""
_LEAST_IMAGES: Final = 16
_MOST_IMAGES: Final = 512


@dataclass(frozen=True, slots=True)
class _Run:
    """Nodes one after the other as one model of ONNX: what it reads and gives, by the graph's names and its own."""

    session: Any
    given: Mapping[str, str]
    made: Sequence[str]

    def compute(self, values: MutableMapping[str, Array]) -> bool:
        """Its outputs join the values; whether none of them may lack what is no number."""
        found = self.session.run(None, {word: values[name] for name, word in self.given.items()})
        values.update(zip(self.made, found, strict=False))
        return bool(np.isfinite(found[len(self.made) :]).all())


class OnnxRest(NumpyRest):
    """A graph's rest as models of ONNX, one where there are no recurrent layers in it.

    Args:
        ready: the game, and what is computed once of it.
        threads: cores to use; 0: all.
    """

    def __init__(self, ready: Staged, threads: int = 0) -> None:
        super().__init__(ready, threads)
        self._ready, self._threads = ready, threads
        widest = max(
            (self.averages.types[name].each for node in self.averages.nodes for name in node.outputs if name),
            default=1,
        )
        if not self._whole:
            self.images = max(_LEAST_IMAGES, min(_MOST_IMAGES, _PART_VALUES // widest // 16 * 16))
        self._steps: dict[int, Sequence[Layer | _Run]] = {}

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
        steps = self._of(self._images(constants, averaged))
        mixed = {name: self._mixed(shares, values) for name, values in averaged.items()}
        found = []
        for number, row in enumerate(rows):
            values = {**self._shared, **constants, **self.averages.named(row)}
            values.update((name, averages[number]) for name, averages in mixed.items())
            if all(step.compute(values) for step in steps):
                found.append(widened(values[self._graph.output], self._xp))
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

    def _of(self, images: int) -> Sequence[Layer | _Run]:
        if images not in self._steps:
            self._steps[images] = self._made(images)
        return self._steps[images]

    def _made(self, images: int) -> Sequence[Layer | _Run]:
        """All steps on so many images, in order."""
        found: list[Layer | _Run] = []
        nodes = self.averages.nodes
        for layered, group in groupby(
            range(len(nodes)), key=lambda place: nodes[place].outputs in self.layers
        ):
            some = list(group)
            if layered:
                found += [self.layers[nodes[place].outputs] for place in some]
            else:
                found.append(self._run(nodes[some[0] : some[-1] + 1], nodes[some[-1] + 1 :], images))
        return found

    def _run(self, nodes: Sequence[Node], later: Sequence[Node], images: int) -> _Run:
        own = {name for node in nodes for name in node.outputs if name}
        read = dict.fromkeys(name for node in nodes for name in node.inputs if name and name not in own)
        wanted = {self._graph.output, *(name for node in later for name in node.inputs)}
        held = {name: self._ready.shared[name] for name in read if name in self._ready.shared}
        inputs = [name for name in read if name not in held]
        outputs = [name for name in own if name in wanted]
        text, words = written(nodes, self.averages.types, images, held, inputs, outputs)
        return _Run(session_of(text, self._threads), words, outputs)


def session_of(text: bytes, threads: int) -> Any:
    """What runs a model: one that gives the same results each time, and whose threads sleep when they are idle."""
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(text, options, providers=["CPUExecutionProvider"])
