"""Every operation of the table against onnx.reference and, where it is installed, PyTorch."""

from math import erf as scalar_erf

import numpy as np
import pytest
from onnx_forms import by_onnx
from operation_cases import CASES, Case, named, ours

from fedcoin_cli.learning.graph.erf import erf
from fedcoin_cli.learning.graph.operations.table import OPERATIONS

SINGLE = {"HardSigmoid", "HardSwish", "Selu"}
"""ONNX keeps attributes in single precision: one sixth and Selu's two are not the same there."""
COARSE = {"Erf", "Gelu", "GroupNormalization"}
"""onnx.reference computes these in single precision."""


@pytest.mark.parametrize("case", CASES, ids=named)
def test_an_operation_is_onnx_s(case: Case) -> None:
    """The same numbers as onnx.reference, in double precision [P-12.15]."""
    theirs = by_onnx(case.operation, case.inputs, case.attributes, case.outputs)
    near = 1e-5 if case.operation in SINGLE | COARSE else 1e-12
    for mine, other in zip(ours(case), theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=near, atol=near)


@pytest.mark.parametrize("case", [case for case in CASES if case.torch is not None], ids=named)
def test_an_operation_is_pytorch_s(case: Case) -> None:
    """The same numbers as PyTorch, in double precision [P-12.15]."""
    torch = pytest.importorskip("torch")
    assert case.torch is not None
    with torch.no_grad():
        tensors = [None if array is None else torch.from_numpy(np.array(array)) for array in case.inputs]
        theirs = case.torch(*tensors)
    found = theirs if isinstance(theirs, tuple | list) else (theirs,)
    near = 1e-6 if case.operation == "Selu" else 1e-12
    for mine, other in zip(ours(case), found, strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=near, atol=near)


def test_every_operation_has_a_case() -> None:
    """Nothing is in the table that is compared with nothing."""
    assert {case.operation for case in CASES} == set(OPERATIONS)


def test_erf_is_exact_to_the_last_digits() -> None:
    """Within 1e-15 of the standard library's, at all sizes; ends and what is no number are kept."""
    x = np.concatenate([np.linspace(-7, 7, 20_001), np.logspace(-300, 1, 500)])
    expected = np.array([scalar_erf(value) for value in x])
    assert np.abs(erf(x) - expected).max() <= 1e-15
    ends = erf(np.array([0.0, np.inf, -np.inf, np.nan]))
    np.testing.assert_array_equal(ends, [0.0, 1.0, -1.0, np.nan])
