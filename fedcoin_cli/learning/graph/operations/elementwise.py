"""Operations of single entries: arithmetic, activations, comparisons, choices."""

from collections.abc import Callable, Mapping, Sequence
from math import pi, sqrt
from typing import Final

from fedcoin_cli.learning.graph.graph import Kind
from fedcoin_cli.learning.graph.namespace import Array, Namespace
from fedcoin_cli.learning.graph.operations.operation import (
    FLAG,
    Arrays,
    Depends,
    Operation,
    Setting,
    Settings,
    Types,
    always,
    first_only,
    floats,
    given,
    never,
    number,
    numbers,
    of_kind,
    one_at_most,
)
from fedcoin_cli.learning.graph.tensor_type import Misfit, TensorType, broadcast

_SELU_ALPHA: Final = 1.67326319217681884765625
_SELU_GAMMA: Final = 1.05070102214813232421875
_MOST_OPERANDS: Final = 64
# The codes that ONNX has for the kinds of numbers that there are here.
_KINDS: Final[Mapping[int, Kind]] = {1: Kind.float32, 6: Kind.int32, 9: Kind.bool}
# Whatever is beyond it has no place among int32; a power of two, so that float32 knows it.
_LARGEST: Final = 2.0**30
# Exponentials and the like, in operations.
_DEAR: Final = 16

Single = Callable[[Namespace, Settings, Array], Array]


def _dear(_: Settings, __: Types, outputs: Sequence[TensorType], examples: int) -> int:
    return _DEAR * sum(one.count(examples) for one in outputs)


def _single(
    run: Single, settings: Mapping[str, Setting] | None = None, *, dear: bool = False, whole: bool = False
) -> Operation:
    """Of one float32 value, or (`whole`) of int32 as well."""

    def typed(_: Settings, types: Types) -> tuple[TensorType, ...]:
        return numbers(types) if whole else floats(types)

    made = Operation((1, 1), typed, lambda xp, its, x: (run(xp, its, x[0]),), settings or {})
    return _with_work(made) if dear else made


def _with_work(one: Operation) -> Operation:
    return Operation(one.inputs, one.typed, one.run, one.settings, work=_dear)


def _stretched(_: Settings, types: Types) -> tuple[TensorType, ...]:
    found = numbers(types)
    return (found[0].of(*broadcast(*found)),)


def _stretched_floats(settings: Settings, types: Types) -> tuple[TensorType, ...]:
    floats(types)
    return _stretched(settings, types)


def _pair(name: str, affine: Callable[[Settings, Depends], bool], *, whole: bool = True) -> Operation:
    """Of two values that are stretched to each other, by the namespace's function of that name."""
    typed = _stretched if whole else _stretched_floats
    return Operation((2, 2), typed, lambda xp, _, x: (getattr(xp, name)(*x),), affine=affine)


def _extreme(name: str) -> Operation:
    def run(xp: Namespace, _: Settings, values: Arrays) -> tuple[Array, ...]:
        whole = values[0]
        for value in values[1:]:
            whole = getattr(xp, name)(whole, value)
        return (whole,)

    return Operation((1, _MOST_OPERANDS), _stretched, run)


def _compared(run: Callable[[Namespace, Array, Array], Array]) -> Operation:
    def typed(settings: Settings, types: Types) -> tuple[TensorType, ...]:
        return (_stretched(settings, types)[0].to(Kind.bool),)

    return Operation((2, 2), typed, lambda xp, _, x: (run(xp, x[0], x[1]),))


def _logical(name: str, inputs: int) -> Operation:
    def typed(_: Settings, types: Types) -> tuple[TensorType, ...]:
        found = given(types)
        of_kind(found, Kind.bool)
        return (found[0].of(*broadcast(*found)),)

    return Operation((inputs, inputs), typed, lambda xp, _, x: (getattr(xp, name)(*x),))


def _where_typed(_: Settings, types: Types) -> tuple[TensorType, ...]:
    condition, *chosen = given(types)
    of_kind([condition], Kind.bool)
    of_kind(chosen, Kind.float32, Kind.int32)
    return (chosen[0].of(*broadcast(condition, *chosen)),)


def _clip(xp: Namespace, its: Settings, x: Array) -> Array:
    x = x if its["min"] is None else xp.maximum(x, its["min"])
    return x if its["max"] is None else xp.minimum(x, its["max"])


def _cast_typed(settings: Settings, types: Types) -> tuple[TensorType, ...]:
    (one,) = given(types)
    return (one.to(_KINDS[settings["to"]]),)


def _cast(xp: Namespace, its: Settings, values: Arrays) -> tuple[Array, ...]:
    # What the array is tells nothing of its kind in all libraries: a float is one that can be cut off.
    return (_cut(xp, values[0], _KINDS[its["to"]]),)


def _cut(xp: Namespace, x: Array, to: Kind) -> Array:
    source = xp.kind(x)
    if source == to:
        return x
    if to == Kind.bool:
        return xp.logical_not(xp.equal(x, 0))
    if source == Kind.float32:  # NaN is 0, and what no int32 holds is the largest
        x = xp.where(xp.equal(x, x), xp.minimum(xp.maximum(x, -_LARGEST), _LARGEST), 0.0)
    return xp.cast(x, to)


def _kind_code(value: object) -> int:
    if type(value) is not int or value not in _KINDS:
        raise Misfit("1 (float32), 6 (int32) or 9 (bool)")
    return value


def _cast_affine(settings: Settings, depends: Depends) -> bool:
    return settings["to"] == 1 or never(settings, depends)


def sigmoid(xp: Namespace, _: Settings, x: Array) -> Array:
    """1 / (1 + exp(−x))."""
    return xp.sigmoid(x)


def _softplus(xp: Namespace, _: Settings, x: Array) -> Array:
    return xp.add(xp.maximum(x, 0.0), xp.log1p(xp.exp(xp.negative(xp.absolute(x)))))


def _elu(xp: Namespace, alpha: float, x: Array) -> Array:
    below = xp.multiply(xp.expm1(xp.minimum(x, 0.0)), alpha)
    return xp.where(xp.less(x, 0.0), below, x)


def _leaky(xp: Namespace, its: Settings, x: Array) -> Array:
    return xp.where(xp.less(x, 0.0), xp.multiply(x, its["alpha"]), x)


def _hard_sigmoid(xp: Namespace, its: Settings, x: Array) -> Array:
    return xp.minimum(xp.maximum(xp.add(xp.multiply(x, its["alpha"]), its["beta"]), 0.0), 1.0)


def _hard_swish(xp: Namespace, _: Settings, x: Array) -> Array:
    return xp.multiply(x, _hard_sigmoid(xp, {"alpha": 1 / 6, "beta": 0.5}, x))


def _gelu(xp: Namespace, its: Settings, x: Array) -> Array:
    if its["approximate"]:
        cubed = xp.multiply(xp.multiply(xp.multiply(x, x), x), 0.044715)
        inner = xp.tanh(xp.multiply(xp.add(x, cubed), sqrt(2 / pi)))
    else:
        inner = xp.erf(xp.multiply(x, sqrt(0.5)))
    return xp.multiply(xp.multiply(x, 0.5), xp.add(inner, 1.0))


def _plain(name: str) -> Single:
    return lambda xp, _, x: getattr(xp, name)(x)


def _floating(default: float | None = None) -> Setting:
    return Setting(number, default)


ELEMENTWISE: Final[Mapping[str, Operation]] = {
    "Add": _pair("add", always),
    "Sub": _pair("subtract", always),
    "Mul": _pair("multiply", one_at_most),
    "Div": _pair("divide", first_only, whole=False),
    "Min": _extreme("minimum"),
    "Max": _extreme("maximum"),
    "Neg": Operation(
        (1, 1), lambda _, types: numbers(types), lambda xp, _, x: (xp.negative(x[0]),), affine=always
    ),
    "Abs": _single(_plain("absolute"), whole=True),
    "Sqrt": _single(_plain("sqrt")),
    "Reciprocal": _single(lambda xp, _, x: xp.divide(1.0, x)),
    "Pow": _single(
        lambda xp, its, x: xp.power(x, its["exponent"]),
        {"exponent": Setting(number, required=True)},
        dear=True,
    ),
    "Exp": _single(_plain("exp"), dear=True),
    "Log": _single(_plain("log"), dear=True),
    "Erf": _single(_plain("erf"), dear=True),
    "Tanh": _single(_plain("tanh"), dear=True),
    "Sigmoid": _single(sigmoid, dear=True),
    "Relu": _single(lambda xp, _, x: xp.maximum(x, 0.0)),
    "LeakyRelu": _single(_leaky, {"alpha": _floating(0.01)}),
    "Elu": _single(lambda xp, its, x: _elu(xp, its["alpha"], x), {"alpha": _floating(1.0)}, dear=True),
    "Selu": _single(
        lambda xp, its, x: xp.multiply(_elu(xp, its["alpha"], x), its["gamma"]),
        {"alpha": _floating(_SELU_ALPHA), "gamma": _floating(_SELU_GAMMA)},
        dear=True,
    ),
    "Softplus": _single(_softplus, dear=True),
    "HardSigmoid": _single(_hard_sigmoid, {"alpha": _floating(0.2), "beta": _floating(0.5)}),
    "HardSwish": _single(_hard_swish),
    "Gelu": _single(_gelu, {"approximate": Setting(FLAG, 0)}, dear=True),
    "Clip": _single(_clip, {"min": _floating(), "max": _floating()}),
    "Identity": Operation((1, 1), lambda _, types: given(types), lambda _, __, x: (x[0],), affine=always),
    "Cast": Operation(
        (1, 1), _cast_typed, _cast, {"to": Setting(_kind_code, required=True)}, affine=_cast_affine
    ),
    "Where": Operation(
        (3, 3),
        _where_typed,
        lambda xp, _, x: (xp.where(*x),),
        affine=lambda _, depends: not depends[0],
    ),
    "Equal": _compared(lambda xp, a, b: xp.equal(a, b)),
    "Less": _compared(lambda xp, a, b: xp.less(a, b)),
    "Greater": _compared(lambda xp, a, b: xp.less(b, a)),
    "LessOrEqual": _compared(lambda xp, a, b: xp.logical_or(xp.less(a, b), xp.equal(a, b))),
    "GreaterOrEqual": _compared(lambda xp, a, b: xp.logical_or(xp.less(b, a), xp.equal(a, b))),
    "And": _logical("logical_and", 2),
    "Or": _logical("logical_or", 2),
    "Not": _logical("logical_not", 1),
}
