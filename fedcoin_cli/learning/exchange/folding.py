"""Parts of an ONNX graph that no weight and no example takes part in: shapes, masks, ranges. They become constants.

How many examples there are is not known, and exporters compute with it. So each such part is computed twice, for two
numbers of examples: what comes out the same is a constant, and what grows with them stands for the examples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

EXAMPLES: Final = (5, 7)
"""Two numbers of examples; any two that differ."""

Array = npt.NDArray[Any]


class Growing(ValueError):
    """A value depends on the number of examples where it must not; its text says how."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A value that is known, for each of the two numbers of examples."""

    values: tuple[Array, Array]

    @classmethod
    def same(cls, values: npt.ArrayLike) -> "Folded":
        """Of a value that does not depend on the examples."""
        array = np.asarray(values)
        return cls((array, array))

    @classmethod
    def each(cls, computed: Callable[[int], npt.ArrayLike]) -> "Folded":
        """Of what is computed for the first and the second number of examples; it is told which."""
        first, second = (np.asarray(computed(which)) for which in range(2))
        return cls((first, second))

    def fixed(self) -> Array:
        """The value; raises `Growing` where it depends on the number of examples."""
        first, second = self.values
        if first.shape != second.shape or not np.array_equal(
            first, second, equal_nan=first.dtype.kind == "f"
        ):
            raise Growing("it depends on how many examples there are")
        return first

    def numbers(self) -> tuple[int, ...]:
        """The same as integers."""
        return tuple(int(one) for one in self.fixed().ravel())

    def for_all(self) -> Array:
        """The value for any number of examples: 1 long where it only repeats itself for each of them.

        Raises `Growing` where examples have values of their own, as counting them would make.
        """
        first, second = self.values
        if first.ndim != second.ndim:
            return self.fixed()
        grows = [place for place in range(first.ndim) if first.shape[place] != second.shape[place]]
        for place in grows:
            first = _of_one(first, place)
            second = _of_one(second, place)
        return Folded((first, second)).fixed()

    def sizes(self) -> tuple[tuple[int, ...], int | None]:
        """A shape: sizes of one example, and the place of the one that grows with the examples."""
        first, second = (tuple(int(size) for size in one.ravel()) for one in self.values)
        if len(first) != len(second):
            raise Growing("the number of axes depends on how many examples there are")
        grows = [place for place in range(len(first)) if first[place] != second[place]]
        if not grows:
            return first, None
        each, rest = divmod(first[grows[0]], EXAMPLES[0])
        if len(grows) > 1 or rest or second[grows[0]] != each * EXAMPLES[1]:
            raise Growing(f"no shape for any number of examples: {list(first)} for {EXAMPLES[0]} of them")
        return tuple(each if place == grows[0] else size for place, size in enumerate(first)), grows[0]


def _of_one(array: Array, place: int) -> Array:
    one = np.take(array, [0], place)
    if not np.array_equal(np.broadcast_to(one, array.shape), array, equal_nan=array.dtype.kind == "f"):
        raise Growing("it holds something else for each example")
    return one


def fold(node: Any, opset: int, inputs: Sequence[Folded | None]) -> tuple[Folded, ...]:
    """An ONNX node of known inputs, computed by onnx's own reference.

    Raises whatever that raises for what it cannot compute.
    """
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    names = [name for name in node.input if name]
    outputs = [name for name in node.output if name]
    graph = helper.make_graph(
        [node],
        "folded",
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in dict.fromkeys(names)],
        [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs],
    )
    session = ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))
    found = []
    for which in range(2):
        feeds = {
            name: one.values[which] for name, one in zip(node.input, inputs, strict=True) if one is not None
        }
        found.append(dict(zip(outputs, session.run(None, feeds), strict=True)))
    return tuple(
        Folded((np.asarray(found[0][name]), np.asarray(found[1][name]))) if name else Folded.same(np.zeros(0))
        for name in node.output
    )
