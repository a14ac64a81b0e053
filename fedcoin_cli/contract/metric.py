"""What a metric's name alone tells: how it counts, how many blocks and bytes that makes, and its unit for people.

u is an integer from 0 to a task's `whole`. What u is on which images is for `learning.metrics` to say; here are
integers that follow from the task, whatever its test set holds. (docs/adr/0037)
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import StrEnum
from fractions import Fraction
from math import isqrt
from typing import TYPE_CHECKING, Final

from ledger_store.base.errors import InvalidTransaction

if TYPE_CHECKING:  # whoever reads settings needs no ledger
    from ledger_store.transaction import Task

STEPS: Final = 4_095
"""What an image without a loss counts: so many that blocks of 16 images need two bytes."""
WEIGHTS: Final = 2**32 - 1
"""At most what all labels together are worth in a weighted count."""
RATIO: Final = 10**9
"""At most what a metric that is a ratio of counts, or a mean of such, is worth."""
LEAST_EXACT_BYTES: Final = 4

_CAP: Final = re.compile(r"(0|[1-9][0-9]{0,5})(\.[0-9]{0,5}[1-9])?")
# Of targets up to 10⁶ no squared error is larger.
_SQUARE: Final = re.compile(r"(0|[1-9][0-9]{0,12})(\.[0-9]{0,5}[1-9])?")
_RANK: Final = re.compile(r"[1-9][0-9]{0,3}")


class Family(StrEnum):
    """How u comes from images: each is right or not, has a weight, loses steps, counts against others, or in ratios.

    Of texts it is tokens that are right or lose steps, of which each example has as many as it has.
    """

    counts = "counts"
    weights = "weights"
    steps = "steps"
    pairs = "pairs"
    ratios = "ratios"
    tokens = "tokens"
    losses = "losses"


class Truth(StrEnum):
    """What a test set must say of its examples."""

    labels = "one label an image"
    targets = "real-valued targets"
    tokens = "a label for each token"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A metric by its name: what its parameter is called, the unit that people know it by, and what it judges by."""

    family: Family
    parameter: str = ""
    unit: str = ""
    truth: Truth = Truth.labels


KINDS: Final = {
    "accuracy": _Kind(Family.counts, unit="accuracy"),
    "top_k_accuracy": _Kind(Family.counts, "K", "top-k accuracy"),
    "balanced_accuracy": _Kind(Family.weights, unit="balanced accuracy"),
    "neg_log_loss": _Kind(Family.steps, "CAP", "nats of log loss"),
    "neg_brier_score": _Kind(Family.steps, "CAP", "Brier score"),
    "roc_auc": _Kind(Family.pairs, unit="AUROC"),
    "f1": _Kind(Family.ratios, unit="F1"),
    "f1_macro": _Kind(Family.ratios, unit="macro F1"),
    "neg_mean_squared_error": _Kind(Family.steps, "CAP", "mean squared error", Truth.targets),
    "token_accuracy": _Kind(Family.tokens, unit="token accuracy", truth=Truth.tokens),
    "neg_log_perplexity": _Kind(Family.losses, "CAP", "perplexity", Truth.tokens),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One of `KINDS` with its parameter: K of a top-k accuracy, the cap of a loss, else 1."""

    name: str
    parameter: Fraction = Fraction(1)

    @property
    def family(self) -> Family:
        return KINDS[self.name].family

    @property
    def truth(self) -> Truth:
        """What it judges by."""
        return KINDS[self.name].truth

    @property
    def text(self) -> str:
        """As a task has it."""
        if not KINDS[self.name].parameter:
            return self.name
        return f"{self.name}:{_decimal(self.parameter, 6).rstrip('0').rstrip('.')}"

    @property
    def sums(self) -> bool:
        """Whether it is a sum over images, so that blocks of images have values of their own."""
        return self.family not in {Family.pairs, Family.ratios}

    @property
    def uneven(self) -> bool:
        """Whether what a block is worth follows from its labels, and not from the number of its images."""
        return self.family in {Family.weights, Family.tokens, Family.losses}

    def natural(self, share: Fraction) -> str:
        """What a share of the whole, u / M, is in the metric's own unit, for people."""
        unit = KINDS[self.name].unit
        match self.family:
            case Family.counts | Family.weights | Family.tokens:
                return f"{_decimal(100 * share, 2)}% {unit}"
            case Family.steps:
                return self._lost((1 - share) * self.parameter)
            case Family.losses:
                return f"{_power((1 - share) * self.parameter)} {unit}"
            case Family.pairs | Family.ratios:
                return f"{_decimal(share, 4)} {unit}"

    def _lost(self, loss: Fraction) -> str:
        """A mean loss, of squares its root, too; of one that a small cap bounds more decimals."""
        places, unit = 4 if self.parameter >= 1 else 8, KINDS[self.name].unit
        if self.truth is not Truth.targets:
            return f"{_decimal(loss, 4)} {unit}"
        # Of two more decimals than are told, so that these are rounded.
        scale: int = 10 ** (places + 2)
        root = Fraction(isqrt(int(max(loss, Fraction(0)) * scale**2)), scale)
        return f"{_decimal(loss, places)} {unit} (root {_decimal(root, places)})"


ACCURACY: Final = Metric("accuracy")


def forms(truth: Truth | None = None) -> list[str]:
    """Metrics as they are written, for people: all, or those that judge by one kind of test set."""
    return [
        f"{name}:{kind.parameter}" if kind.parameter else name
        for name, kind in KINDS.items()
        if truth in {None, kind.truth}
    ]


def read_metric(text: str) -> Metric:
    """What a task's `metric` says; raises ValueError with the reason. Each metric has one way to write it [P-6.14]."""
    name, colon, given = text.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise ValueError(f"there is no metric {text!r}")
    if bool(colon) != bool(kind.parameter):
        wanted = f"needs a parameter, {name}:{kind.parameter}" if kind.parameter else "takes no parameter"
        raise ValueError(f"{name} {wanted}")
    if not colon:
        return Metric(name)
    form, least = (_RANK, 2) if kind.parameter == "K" else (_CAP, 0)
    if kind.truth is Truth.targets:
        form = _SQUARE
    if not form.fullmatch(given) or Fraction(given) < least or not Fraction(given):
        what = (
            "an integer of at least 2"
            if least
            else "a number above 0, of at most 6 decimals and no idle zero"
        )
        raise ValueError(f"{kind.parameter} of {name} is {what}, not {given!r}")
    return Metric(name, Fraction(given))


def natural(text: str, share: Fraction) -> str:
    """The same for whoever shows a ledger that nobody has checked: of an unknown metric the share alone."""
    try:
        return read_metric(text).natural(share)
    except ValueError:
        return f"{_decimal(100 * share, 2)}%"


def metric_of(task: "Task") -> Metric:
    """The metric that a task is judged by; raises `InvalidTransaction` where there is none of that name."""
    try:
        return read_metric(task.metric)
    except ValueError as error:
        raise InvalidTransaction(str(error)) from error


def blocks_of(task: "Task") -> int:
    """B: into how many blocks the test images are dealt, one where the metric is no sum over images [P-6.15]."""
    return -(-task.images // task.block_images) if metric_of(task).sums else 1


def entry_bytes(task: "Task") -> int:
    """How many bytes an entry of a sampled table has: what the most that a block can be worth needs [P-12.12]."""
    of_family: dict[Family, Callable[[], int]] = {
        Family.counts: lambda: task.block_images,
        Family.steps: lambda: STEPS * task.block_images,
    }  # of others the whole: how many tokens an example has no task says
    most = of_family.get(metric_of(task).family, lambda: task.whole)()
    return _bytes(min(task.whole, most))


def exact_bytes(task: "Task") -> int:
    """How many bytes an entry of an exact table has [P-12.12]."""
    return max(LEAST_EXACT_BYTES, _bytes(task.whole))


def _decimal(value: Fraction, places: int) -> str:
    """So many decimals of any number: what an unchecked ledger holds no float may."""
    whole, rest = divmod(round(abs(value) * 10**places), 10**places)
    return f"{'-' if value < 0 else ''}{whole}.{rest:0{places}d}"


def _power(exponent: Fraction) -> str:
    """e to the power of any number."""
    context = Context(prec=40, traps=[])
    found = context.exp(context.divide(Decimal(exponent.numerator), Decimal(exponent.denominator)))
    return f"{found:.4f}" if found < 10**9 else f"{found:.4e}"


def _bytes(number: int) -> int:
    return max(1, (number.bit_length() + 7) // 8)
