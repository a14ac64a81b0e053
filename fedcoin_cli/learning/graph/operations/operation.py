"""What an operation is: how often it takes what, what it is set to, and what it makes of types and of arrays.

A family is a module with a table of its own. An operation's two functions are its meaning: `typed` says what comes out
before anything is computed and refuses what does not fit, `run` computes it over any namespace. Beside them stand its
work, and whether a result is affine in what depends on updates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

from fedcoin_cli.learning.graph.graph import Attribute, Kind
from fedcoin_cli.learning.graph.namespace import Array, Namespace
from fedcoin_cli.learning.graph.tensor_type import Misfit, TensorType

Settings = Mapping[str, Any]
"""All attributes of an operation, those that are left out by their defaults."""
Types = Sequence[TensorType | None]
"""Of an operation's inputs; None where an optional one is left out."""
Arrays = Sequence[Array | None]
Depends = Sequence[bool]
"""Which inputs depend on updates."""
Work = Callable[[Settings, Types, Sequence[TensorType], int], int]
"""Floating-point operations with so many examples."""
Check = Callable[[object], Attribute]
"""Takes an attribute as JSON has it; a `Misfit` says what it should be."""

MOST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Setting:
    """How an attribute is checked, and what it is where it is left out; without a default it must be there."""

    check: Check
    default: Any = None
    required: bool = False


def _one_each(_: Settings, __: Types, outputs: Sequence[TensorType], examples: int) -> int:
    return sum(one.count(examples) for one in outputs)


def never(_: Settings, depends: Depends) -> bool:
    """Affine in nothing that depends on updates."""
    return not any(depends)


def always(_: Settings, __: Depends) -> bool:
    """Affine in all inputs together."""
    return True


def first_only(_: Settings, depends: Depends) -> bool:
    """Affine in the first input where no other one depends on updates."""
    return not any(depends[1:])


def one_at_most(_: Settings, depends: Depends) -> bool:
    """Affine in either of the first two, a product's factors, and in what is added to it."""
    return not (depends[0] and depends[1])


def nothing_laid_out(_: Settings, __: Types, ___: Sequence[TensorType], ____: int) -> int:
    """No values beside inputs and outputs."""
    return 0


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table.

    `inputs` are the least and the most that it takes, `outputs` the most that it gives; `typed` gives as many types,
    `run` as many arrays. `affine` tells of inputs that are affine in updates whether the results are. `laid_out` counts
    the values that an implementation may hold beside inputs and outputs.
    """

    inputs: tuple[int, int]
    typed: Callable[[Settings, Types], tuple[TensorType, ...]]
    run: Callable[[Namespace, Settings, Arrays], tuple[Array, ...]]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    outputs: int = 1
    work: Work = _one_each
    affine: Callable[[Settings, Depends], bool] = never
    laid_out: Work = nothing_laid_out

    def completed(self, attributes: Mapping[str, Attribute]) -> Settings:
        """Its settings with the defaults of those that are left out."""
        return {name: attributes.get(name, setting.default) for name, setting in self.settings.items()}

    def checked(self, attributes: Mapping[str, object]) -> Mapping[str, Attribute]:
        """Attributes as JSON has them, none odd and none missing."""
        for name in attributes:
            if name not in self.settings:
                known = ", ".join(self.settings) or "none"
                raise Misfit(f"attribute {name[:40]!r} is not known; it has {known}")
        found = {}
        for name, setting in self.settings.items():
            if name in attributes:
                try:
                    found[name] = setting.check(attributes[name])
                except Misfit as error:
                    raise Misfit(f"attribute {name!r} must be {error}") from error
            elif setting.required:
                raise Misfit(f"attribute {name!r} is missing")
        return found


# What attributes may be ------------------------------------------------------------------------------------------


def integer(least: int, most: int) -> Check:
    """An integer in a range."""

    def check(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise Misfit(f"an integer of {least} to {most}")
        return value

    return check


def number(value: object) -> float:
    """A finite number."""
    if type(value) not in (int, float) or not isfinite(_float(value)):
        raise Misfit("a finite number")
    return _float(value)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def integers(least: int, most: int, *, longest: int = 8, shortest: int = 1) -> Check:
    """A list of integers in a range."""

    def check(value: object) -> tuple[int, ...]:
        fits = isinstance(value, list | tuple) and shortest <= len(value) <= longest
        if not fits or any(type(one) is not int or not least <= one <= most for one in value):  # type: ignore[attr-defined]  # a list here
            raise Misfit(f"a list of {shortest} to {longest} integers of {least} to {most}")
        return tuple(value)  # type: ignore[arg-type]  # as above

    return check


FLAG: Final = integer(0, 1)
AXIS: Final = integer(-8, 7)
AXES: Final = Setting(integers(-8, 7), required=True)
# What a slice's end may say for "to the end".
PLACES: Final = integers(-MOST, MOST)


# What inputs may be ----------------------------------------------------------------------------------------------


def given(types: Types) -> tuple[TensorType, ...]:
    """Inputs none of which may be left out."""
    found = tuple(one for one in types if one is not None)
    if len(found) != len(types):
        raise Misfit("an input is left out that it needs")
    return found


def of_kind(types: Sequence[TensorType], *kinds: Kind) -> None:
    """All of one kind, and that one of these."""
    if any(one.kind not in kinds or one.kind != types[0].kind for one in types):
        told = " and ".join(str(one.kind) for one in types)
        raise Misfit(f"it takes {' or '.join(kinds)} and is given {told}")


def floats(types: Types) -> tuple[TensorType, ...]:
    """Inputs of float32, none left out."""
    found = given(types)
    of_kind(found, Kind.float32)
    return found


def numbers(types: Types) -> tuple[TensorType, ...]:
    """Inputs of float32 or of int32, none left out."""
    found = given(types)
    of_kind(found, Kind.float32, Kind.int32)
    return found


def shared(one: TensorType | None, sizes: Sequence[int], what: str) -> None:
    """An input that is the same for all examples, float32, of exactly this shape; it may be left out."""
    if one is not None and one != TensorType(Kind.float32, tuple(sizes)):
        raise Misfit(f"its {what} must be {TensorType(Kind.float32, tuple(sizes))}, not {one}")
