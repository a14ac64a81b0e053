"""How far rounding can move a logit, whatever the weights: the constants of the running error bound in `reference`.

Let u be the unit roundoff of what an engine counts in, 2⁻²⁴ in float32 and 2⁻⁵³ in double. A sum of products that are
added up in m runs of at most r terms, in any order within a run and the runs one after the other, errs by at most
(r + m) u Σ|products| (Higham, Accuracy and Stability of Numerical Algorithms, 3.1; Jeannerod and Rump 2013 for the form
without 1 - nu). Engines keep runs short: at most `CHAIN` members and `BLOCK` inputs.

The bound runs beside the values x of the reference: e is what x may be wrong by. Of a layer with kernels W_k, shares
s_k, A = Σ s_k |W_k| and a = Σ s_k |b_k| for its biases, an engine takes an average that errs by M u A, and a sum of n
products that errs by T u of absolute values, M = `_members`, T = `_products`. With |x̂| ≤ |x| + e this makes

    e' ≤ A e + c A (|x| + e) + c a,   c = (M + T) u and what the reference itself errs by in double.

It uses the activations that there are, and not products of absolute weights alone. ReLU and poolings pass errors on as
they are (a ReLU that is surely closed has none), tanh and sigmoid add a few u of their own. The first layer is computed
in double by everybody and rounded to float32 once; its own sum errs by n 2⁻⁵³ ‖w‖ ‖x‖, by Cauchy and Schwarz.

A double has so many digits that an error made in the first of many layers does not matter in the last one; a float32
has not: Σ|w||x| is easily 20 times |Σ w x|, in each layer. So models with more than one weighted layer above the first
are counted in double by every engine (`wide`).

Results below the normal range may be flushed to zero, inputs too; shares are at least 2⁻⁴¹. So whatever is not zero
may be wrong by `TINY`, and what exceeds `LIMIT` by anything. Zeros are exact.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

from fedcoin_cli.learning.model.model import ModelSpec

CHAIN: Final = 64
"""Members that are added in a row, in all engines; as in `kernel.c`."""
BLOCK: Final = 32
"""Products that are added in a row, in all engines; as in `kernel.c`."""
ACTIVATION: Final = 32
"""Units by which libraries' tanh and sigmoid err at most; measured are less than ten."""
TINY: Final = 2.0**-70
LIMIT: Final = 2.0**80

_SINGLE: Final = 2.0**-24
_DOUBLE: Final = 2.0**-53
# Products of two errors, and the rounding of the bound itself.
_SLACK: Final = 1.02


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The constants of one model with so many clients.

    `inner` is what a first layer's own sum may err by, of ‖w‖ ‖x‖ + |b|; `first` the average of first layers, of
    Σ s|Z|; `above` holds c of each weighted layer above the first; `unit` is u.
    """

    unit: float
    inner: float
    first: float
    above: tuple[float, ...]


def wide(spec: ModelSpec) -> bool:
    """Whether the layers above the first are counted in double [P-6.6]."""
    return len(_fan_ins(spec)) > 1


def tolerance(spec: ModelSpec, clients: int) -> Tolerance:
    """The constants for a model and a number of clients (docs/adr/0027) [P-6.5]."""
    unit = _DOUBLE if wide(spec) else _SINGLE
    averaged = unit * _members(clients) + _DOUBLE * _any_order(clients)
    above = (averaged + unit * _products(n) + _DOUBLE * _any_order(n) for n in _fan_ins(spec))
    return Tolerance(
        unit=unit,
        inner=_SLACK * 2 * _DOUBLE * _any_order(spec.first.inputs),
        first=_SLACK * (_SINGLE + averaged),
        above=tuple(_SLACK * each for each in above),
    )


def _fan_ins(spec: ModelSpec) -> list[int]:
    return [*(conv.inputs for conv in spec.convolutions[1:]), *(layer.inputs for layer in spec.above)]


def _members(clients: int) -> int:
    """An average: share and product rounded, the members added, the result rounded to what a kernel is kept in."""
    return 3 + min(clients, CHAIN) + ceil(clients / CHAIN)


def _products(inputs: int) -> int:
    """Inner products: the bias and the products of a block, and the blocks."""
    return 2 + min(inputs, BLOCK) + ceil(inputs / BLOCK)


def _any_order(terms: int) -> int:
    """NumPy's BLAS, of which nothing is known but that it adds products."""
    return terms + 8
