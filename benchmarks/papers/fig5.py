"""FedCoin's Fig. 5: the accuracy of a type's own model, and that of the model of all clients together."""

from typing import Any

from benchmarks.papers.chart import Axis, Figure, Panel, Series
from benchmarks.papers.hundred import TYPES, Hundred, of_types
from benchmarks.papers.reported import FEDCOIN_JOINT, FEDCOIN_OWN


def own_figure(hundred: Hundred) -> Figure:
    """Own models are those of single clients: means over the clients of a type."""
    own, joint = of_types(hundred.own()).tolist(), hundred.joint()
    known = [1 - number / TYPES for number in range(TYPES)]
    rows: list[tuple[Any, ...]] = list(zip(range(TYPES), own, FEDCOIN_OWN, known, strict=True))
    rows.append(("all", joint, FEDCOIN_JOINT, 1.0))
    ends = (0, TYPES - 1)
    series = (
        Series("paper", tuple(enumerate(FEDCOIN_OWN)), 0, "dashed", marks=True),
        Series("paper, all 100 clients", [(x, FEDCOIN_JOINT) for x in ends], 0, "dotted"),
        Series("ours", tuple(enumerate(own)), 1, marks=True),
        Series("ours, all 100 clients", [(x, joint) for x in ends], 1, "dotted"),
        Series("share of labels known", tuple(enumerate(known)), 6, "dashed"),
    )
    types = Axis("type j: the labels 0 to 9 − j are known", whole=True, high=TYPES - 1)
    panel = Panel("Fig. 5: accuracy of a type's own model", types, Axis("accuracy", high=1.0), series)
    text = "The accuracy of the own model of each of ten types, in the paper and here"
    return Figure("fig5-own", text, (panel,), ("type", "ours", "paper", "labels_known"), rows)
