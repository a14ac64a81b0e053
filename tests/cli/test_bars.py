from decimal import Decimal

from fedcoin_cli.cli.views.bars import bars


def drawn(*values: str, error: str = "0", width: int = 10) -> list[str]:
    numbers = [Decimal(value) for value in values]
    return bars(numbers, [Decimal(error)] * len(numbers), width)


def test_lengths() -> None:
    """Bars are as long as their values on a common scale, and what is not zero is never invisible."""
    assert drawn("10", "5", "0.01", "0") == ["█" * 10, "█" * 5, "█", ""]
    assert drawn("0", "0") == ["", ""]
    assert bars([]) == []


def test_losses_point_the_other_way() -> None:
    """What is below zero ends at the common zero, in a mark of its own."""
    assert drawn("6", "-4", "-1") == ["    ██████", "▒▒▒▒", "   ▒"]


def test_what_is_unsure_is_shaded() -> None:
    """As much as the error of a bar's end is shaded, and as much beyond it is hinted at, to either side."""
    assert drawn("8", "4", error="2") == ["██████▓▓░░", "██▓▓░░"]
    assert drawn("6", "-2", error="1") == ["   █████▓░", "░░▒"]
    assert drawn("6", "-2", error="2") == ["   ███▓▓░░", "░░░"]
