"""A slow machine: with this folder on PYTHONPATH miners' workers, and `publish`, sleep for what they count of a graph.

One coalition on 16 images takes SLOW_BLOCK_S seconds more, judging it six times as long, as it does on any machine.
SLOW_WITHOUT_KERAS hides Keras from every process.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

_BLOCK_IMAGES, _JUDGED = 16, 6


def _burn(seconds: float) -> None:
    until_s = time.process_time() + seconds
    while time.process_time() < until_s:
        pass


def _slow(block_s: float, spend: Callable[[float], None]) -> None:
    from fedcoin_cli.learning.engines.graph_outputs import GraphOutputs
    from fedcoin_cli.learning.reference.graph_reference import GraphReference

    outputs, marks = GraphOutputs._outputs, GraphReference._marks

    def slow_outputs(one: GraphOutputs, loaded: Any, images: int, shares: Any) -> Any:
        spend(block_s * len(shares) * images / _BLOCK_IMAGES)
        return outputs(one, loaded, images, shares)

    def slow_marks(one: GraphReference, images: Any, outputs: Any, bounds: Any, factor: int) -> Any:
        spend(_JUDGED * block_s * len(images) / _BLOCK_IMAGES)
        return marks(one, images, outputs, bounds, factor)

    setattr(GraphOutputs, "_outputs", slow_outputs)  # noqa: B010 (the checker would have it typed)
    setattr(GraphReference, "_marks", slow_marks)  # noqa: B010


if os.environ.get("SLOW_WITHOUT_KERAS"):
    sys.modules["keras"] = None  # type: ignore[assignment]
if os.environ.get("SLOW_BLOCK_S") and {"fedcoin_cli.learning.worker", "publish"} & {*sys.orig_argv}:
    # What publish tries is measured in processor time.
    _slow(float(os.environ["SLOW_BLOCK_S"]), _burn if "publish" in sys.orig_argv else time.sleep)
