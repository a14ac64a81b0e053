"""How sure values and payments are, in words: mining's error and the test set's, and whom both cannot tell apart."""

from collections.abc import Sequence
from decimal import Decimal

from fedcoin_cli.application.books.task_report import TaskReport
from fedcoin_cli.application.reasons.certainty import Certainty
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.cli.views.bars import as_decimal

_PAIRS = 5


def certainty_lines(report: TaskReport, certainty: Certainty | None, names: Names) -> list[str]:
    """Of all clients together: the largest standard errors, and pairs that are not told apart."""
    lines = _mining(report, certainty)
    if certainty is None:
        more = "what the test set leaves open: fedcoin explain CLIENT, where its files are kept"
        return [*lines, more] if report.total is not None else lines
    if not certainty.test_set:
        open_ = "what the test set leaves open is not known: its metric has no value on some images alone"
        return [*lines, open_, *_alike(report, certainty, names)]
    largest = _largest(certainty.test_set, certainty.test_set_paid)
    cure = f"only more than its {certainty.images} images make it smaller"
    return [*lines, f"standard error of the test set: {largest}; {cure}", *_alike(report, certainty, names)]


def both_errors(report: TaskReport, certainty: Certainty | None) -> list[Decimal]:
    """One standard error of each value, of mining and the test set together, as far as they are known."""
    count = len(report.clients)
    mining = [as_decimal(report.variance or 0).sqrt()] * count
    if certainty is None:
        return mining
    if certainty.mining:
        mining = [Decimal(one) for one in certainty.mining]
    pairs = zip(mining, certainty.test_set or ("0",) * count, strict=True)
    return [(one**2 + Decimal(other) ** 2).sqrt() for one, other in pairs]


def _mining(report: TaskReport, certainty: Certainty | None) -> list[str]:
    if report.exact:
        return ["mining left no error: every coalition was evaluated, every SV is exact"]
    if certainty is not None and certainty.mining:
        largest = _largest(certainty.mining, certainty.mining_paid)
        return [f"standard error of mining: {largest}; more work makes it smaller"]
    if report.error is None:
        return []
    return [f"standard error of mining: SVs ± {report.error} pp, by how far apart the miners are"]


def _largest(values: Sequence[str], paid: Sequence[str | None]) -> str:
    most = max(Decimal(one) for one in values)
    coins = [Decimal(one) for one in paid if one is not None]
    payments = f", payments ± {max(coins)} FedCoin" if coins else ""
    return f"SVs ± {most} pp{payments} at most"


def _alike(report: TaskReport, certainty: Certainty, names: Names) -> list[str]:
    if not certainty.alike:
        return []
    who = [names.name(line.client) for line in report.clients]
    pairs = [f"{who[one - 1]} and {who[other - 1]}" for one, other in certainty.alike[:_PAIRS]]
    more = len(certainty.alike) - len(pairs)
    rest = f", and {more} more pairs" if more > 0 else ""
    return [f"not told apart (less than two standard errors): {', '.join(pairs)}{rest}"]
