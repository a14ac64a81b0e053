import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_store.base.amount import SUPPLY_MAX_MICRO, format_micro, parse_micro, split
from ledger_store.base.errors import ExitCode, SettingsError

WEIGHTS = st.lists(st.integers(0, 10**30), min_size=1, max_size=40).filter(any)


@pytest.mark.parametrize(
    ("text", "micro"),
    [("0", 0), ("12.5", 12_500_000), ("0.000001", 1), ("1000", 10**9), (" 7.10 ", 7_100_000)],
)
def test_decimals_become_micro_units(text: str, micro: int) -> None:
    """A decimal with up to six decimals is read exactly."""
    assert parse_micro(text) == micro


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1e3", "0.0000001", "1.", ".5", "nan", "inf", "1_000", "1,5", "١٢", "9007199254.740992"],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    """Signs, exponents, a seventh decimal, foreign digits and more than the supply are refused with a hint."""
    with pytest.raises(SettingsError) as refused:
        parse_micro(text, "price")
    assert refused.value.exit_code == ExitCode.SETTINGS
    assert "price" in refused.value.message
    assert refused.value.hint


@given(st.integers(0, SUPPLY_MAX_MICRO))
def test_formatting_and_parsing_are_inverse(micro: int) -> None:
    """Every amount survives being written and read."""
    assert parse_micro(format_micro(micro)) == micro


@pytest.mark.parametrize(
    ("micro", "text"),
    [(0, "0.0"), (12_500_000, "12.5"), (10**8, "100.0"), (-1_250_000, "-1.25"), (1, "0.000001")],
)
def test_amounts_are_written_short(micro: int, text: str) -> None:
    """Trailing zeros go, one decimal stays."""
    assert format_micro(micro) == text


@given(st.integers(0, SUPPLY_MAX_MICRO), WEIGHTS)
def test_a_split_loses_nothing_and_is_fair(total: int, weights: list[int]) -> None:
    """Parts sum to the total, and each is less than one micro away from its exact share [P-1.11]."""
    parts = split(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < sum(weights)


@given(st.integers(0, SUPPLY_MAX_MICRO), WEIGHTS, st.integers(1, 10**6))
def test_a_split_depends_on_proportions_only(total: int, weights: list[int], factor: int) -> None:
    """Scaling all weights changes nothing."""
    assert split(total, weights) == split(total, [weight * factor for weight in weights])


def test_remainders_go_to_the_largest_then_to_the_first() -> None:
    """Largest remainder first; among equals the lower index [P-1.11]."""
    assert split(10, [1, 1, 1]) == (4, 3, 3)
    assert split(100, [2, 3, 3]) == (25, 38, 37)
    assert split(3, [0, 5, 0]) == (0, 3, 0)


@pytest.mark.parametrize(("total", "weights"), [(1, [0, 0]), (1, [2, -1]), (-1, [1]), (1, [])])
def test_a_split_without_a_meaning_is_refused(total: int, weights: list[int]) -> None:
    """No positive weight, a negative one, or a negative total is a bug of the caller."""
    with pytest.raises(ValueError, match="split"):
        split(total, weights)
