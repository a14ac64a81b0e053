from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal, getcontext
from fractions import Fraction
from random import Random

from chains import ChainMaker
from places import refunded_round, settled_round

from fedcoin_cli.application.books.task_report import points, report_of, root_as_points
from ledger_store.transaction import Result


def rounded(value: Fraction) -> str:
    getcontext().prec = 80
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    return f"{exact.quantize(Decimal('0.000001'), ROUND_HALF_UP):f}".replace("-0.000000", "0.000000")


def test_values_are_rounded_exactly() -> None:
    """Images become percentage points with six decimals, as exact fractions do."""
    draw = Random(1)
    for _ in range(500):
        numerator, denominator, images = (
            draw.randint(-(10**12), 10**12),
            draw.randint(1, 10**9),
            draw.randint(1, 10**6),
        )
        assert points(numerator, denominator, images) == rounded(
            100 * Fraction(numerator, denominator * images)
        )
    assert points(-1, 3, 1) == "-33.333333"
    assert points(0, 1, 5) == "0.000000"


def test_distances_are_rounded_exactly() -> None:
    """A squared distance in images² becomes the nearest distance in percentage points with six decimals."""
    draw = Random(2)
    for _ in range(500):
        numerator, denominator, images = (
            draw.randint(0, 10**12),
            draw.randint(1, 10**9),
            draw.randint(1, 10**6),
        )
        shown = Fraction(root_as_points(Fraction(100**2 * numerator, denominator * images**2)))
        half = Fraction(1, 2 * 10**6)
        squared = Fraction(10**4 * numerator, denominator * images**2)
        assert max(Fraction(0), shown - half) ** 2 <= squared <= (shown + half) ** 2
    assert root_as_points(Fraction(2)) == "1.414214"


def test_a_settled_task() -> None:
    """A settled task's report holds values, payments that sum to the price, winner and distances."""
    maker = ChainMaker()
    task = settled_round(maker)
    end = maker.blocks[-1].transactions[-1]
    assert isinstance(end, Result)
    report = report_of(maker.records[task.id], maker.genesis, end)
    assert (report.state, report.height, report.attempts, report.ended) == ("SETTLED", 3, 1, True)
    assert [line.shapley for line in report.clients] == ["1.000000", "1.010000", "1.020000"]
    assert report.total == "3.030000"
    paid = [Decimal(line.paid) for line in report.clients] + [Decimal(line.paid) for line in report.miners]
    assert sum(paid) + Decimal(report.server_paid) + Decimal(report.returned) == Decimal(report.price) == 10
    assert report.winner in maker.genesis.roster
    assert (report.distance, report.difficulty) == ("0.000000", "1.5")
    assert {(line.rankings, line.exact, line.distance, line.fraud) for line in report.miners} == {
        (10, False, "0.000000", False)
    }
    data = report.to_json()
    assert [one["shapley"] for one in data["clients"]] == ["1.000000", "1.010000", "1.020000"]
    assert [one["client"] for one in data["clients"]] == [update.client for update in task.updates]
    assert [one["paid"] for one in data["clients"]] == [line.paid for line in report.clients]


def test_tasks_without_values() -> None:
    """A refunded task returns its price and an unfinished one is in escrow; neither shows values or a winner."""
    maker = ChainMaker()
    refunded = refunded_round(maker)
    end = maker.blocks[-1].transactions[-1]
    assert not isinstance(end, Result)
    report = report_of(maker.records[refunded.id], maker.genesis, end)  # type: ignore[arg-type]
    assert (report.state, report.returned, report.winner, report.distance) == ("REFUNDED", "10.0", None, None)
    assert [one["shapley"] for one in report.to_json()["clients"]] == [None] * 3
    waiting = maker.task()
    maker.add(waiting)
    report = report_of(maker.records[waiting.id], maker.genesis, None)
    assert (report.state, report.ended, report.height) == ("OPEN", False, 3)


def test_numbers_stay_exact_until_they_are_printed() -> None:
    """Coins are whole micro, values fractions: they sum without rounding, and a gain too small to print is a gain."""
    maker = ChainMaker()
    task = maker.task(images=1_000_000)
    maker.add(task)
    reveals = maker.reveals(task)
    maker.add(maker.close(task, reveals))
    outcome = replace(maker.settled(task), shapley=(1, 1, 1), denominator=3 * 10**6)
    end = maker.result(task, reveals, outcome)
    maker.add(end)
    report = report_of(maker.records[task.id], maker.genesis, end)
    paid = sum(line.paid_micro for line in report.clients) + sum(line.paid_micro for line in report.miners)
    assert paid + report.server_paid_micro + report.returned_micro == report.price_micro == task.price_micro
    values = [line.value for line in report.clients if line.value is not None]
    assert sum(values) == report.sum == Fraction(100, 10**12)
    assert (report.total, report.in_vain) == ("0.000000", False)
