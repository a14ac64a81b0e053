from typing import Any

import pytest

from ledger_store.base.errors import Malformed
from ledger_store.base.fields import Fields


def reader(value: Any) -> Fields:
    return Fields({"it": value}, ("it",), "thing")


@pytest.mark.parametrize("value", [None, [], "it", {}, {"it": 1, "more": 2}, {"other": 1}])
def test_an_object_has_exactly_its_fields(value: Any) -> None:
    """A missing field, one too many, or no object at all is refused and the fields are named [P-1.5]."""
    with pytest.raises(Malformed, match=r"it|more|other"):
        Fields(value, ("it",), "thing")


@pytest.mark.parametrize("value", [True, False, -1, 11, "1", None, [1]])
def test_an_integer_is_no_boolean_and_in_bounds(value: Any) -> None:
    """A boolean is an int in Python, not on the chain."""
    with pytest.raises(Malformed, match="it must be an integer from 0 to 10"):
        reader(value).integer("it", 0, 10)


@pytest.mark.parametrize("value", ["AB", "abc", "ab\n", "g0", 12, None, "٠٠"])
def test_hex_is_lower_case_and_of_its_length(value: Any) -> None:
    """There is one spelling of an id [P-1.7]."""
    with pytest.raises(Malformed, match="2 lower-case hexadecimal"):
        reader(value).hexadecimal("it", 2)


def test_optional_hex_is_hex_or_null() -> None:
    """Null is None; anything else must be hex."""
    assert reader(None).optional_hex("it", 2) is None
    assert reader("0f").optional_hex("it", 2) == "0f"
    with pytest.raises(Malformed):
        reader(0).optional_hex("it", 2)


@pytest.mark.parametrize("value", ["", "-0", "00", "+1", "1.0", " 1", "1\n", "٣", 1, None, "9" * 1025])
def test_a_big_integer_has_one_spelling(value: Any) -> None:
    """Decimal strings: no signs but minus, no leading zeros, no foreign digits, bounded [P-1.6]."""
    with pytest.raises(Malformed, match="decimal string"):
        reader(value).big("it")


def test_big_integers_of_any_size_are_read() -> None:
    """Beyond 2**53, of both signs."""
    assert reader(str(-(10**600))).big("it") == -(10**600)
    assert reader(["0", "-1"]).bigs("it", 2) == (0, -1)


@pytest.mark.parametrize("value", ["x" * 9, "a\x1b[2J", "a\nb", "é", 5])
def test_text_cannot_reach_for_the_terminal(value: Any) -> None:
    """Text is short, printable ASCII: names are shown to people [P-1.13]."""
    with pytest.raises(Malformed, match="printable"):
        reader(value).text("it", 8)


@pytest.mark.parametrize("value", [1, "true", None])
def test_a_boolean_is_a_boolean(value: Any) -> None:
    """1 is not true."""
    with pytest.raises(Malformed, match="true or false"):
        reader(value).boolean("it")


def test_a_choice_is_one_of_its_words() -> None:
    """Any other word, or no word, is refused."""
    assert reader("mean").choice("it", ("mean", "fedavg")) == "mean"
    for value in ("median", 0, None):
        with pytest.raises(Malformed, match="one of mean, fedavg"):
            reader(value).choice("it", ("mean", "fedavg"))


@pytest.mark.parametrize("value", [[], [1, 2, 3, 4], {}, "ab"])
def test_an_array_has_its_length(value: Any) -> None:
    """Bounds on both sides."""
    with pytest.raises(Malformed, match="1 to 3 items"):
        reader(value).array("it", 3, 1)


@pytest.mark.parametrize("value", [[[1]], [[1, 2, 3]], [1], [{}]])
def test_pairs_are_pairs(value: Any) -> None:
    """Each item of a list of pairs has two parts."""
    with pytest.raises(Malformed, match=r"\[left, right\] pairs"):
        reader(value).pairs("it", ("left", "right"), 3)


@pytest.mark.parametrize("value", [[1], [1, True], [1, -1], [1, 2**53], [1, "2"]])
def test_counted_integers_are_exact(value: Any) -> None:
    """As many as asked for, each a non-negative integer."""
    with pytest.raises(Malformed):
        reader(value).integers("it", 2)


def test_hexes_check_each() -> None:
    """One bad item spoils the list."""
    assert reader(["aa", "bb"]).hexes("it", 2, 2) == ("aa", "bb")
    with pytest.raises(Malformed):
        reader(["aa", "B"]).hexes("it", 2, 2)
