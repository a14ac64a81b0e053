"""A task and what came of it, as lines for people."""

from fedcoin_cli.application.books.task_report import MinerLine, TaskReport
from fedcoin_cli.application.reasons.certainty import Certainty
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.cli.program.output import table
from fedcoin_cli.cli.views.amounts import aligned
from fedcoin_cli.cli.views.bars import as_decimal, bars
from fedcoin_cli.cli.views.certainty_lines import both_errors, certainty_lines
from ledger_store.base.words import TaskState
from ledger_store.transaction import CHANCE, ZERO


def task_lines(report: TaskReport, names: Names, certainty: Certainty | None = None) -> list[str]:
    """A task and what came of it."""
    where = f"{report.state.lower()} at height {report.height}, attempt {report.attempts}"
    head = [f"task   {report.task_id}", f"state  {where}"]
    if not report.ended:
        return [*head, f"price  {report.price} FedCoin, in escrow"]
    return [*head, "", *_payments(report, names, certainty), "", *_estimates(report, names)]


def _payments(report: TaskReport, names: Names, certainty: Certainty | None) -> list[str]:
    rows = [
        (names.name(line.client) + line.others, line.shapley or "-", line.paid) for line in report.clients
    ]
    rows.append((f"{names.name(report.server)} (FL server)", "", report.server_paid))
    paid = [one for one in _by_name(report, names) if one.paid_micro]
    rows += [(f"{names.name(one.miner)} (miner)", "", one.paid) for one in paid]
    if report.returned_micro:
        rows.append(("returned to the requester", "", report.returned))
    rows.append(("total", report.total or "-", report.price))
    coins = aligned([amount for _, _, amount in rows])
    drawn = [*_bars(report, certainty), *[""] * len(rows)]
    shown = [
        [who, value, amount, bar] for (who, value, _), amount, bar in zip(rows, coins, drawn, strict=False)
    ]
    return [
        *table(["paid to", "SV (pp)", "FedCoin", ""], shown),
        *judged(report),
        *_in_vain(report),
        *certainty_lines(report, certainty, names),
    ]


def judged(report: TaskReport) -> list[str]:
    """What values are shares of, where that is not how many images are labelled correctly."""
    if report.together_natural is None or (report.metric, report.baseline) == ("accuracy", ZERO):
        return []
    named = f"{report.baseline[:16]}…" if len(report.baseline) > len(CHANCE) else report.baseline
    worth = f"all together {report.together_natural}, nobody {report.nobody_natural}"
    return [f"judged by {report.metric}: {worth} (baseline {named})"]


def loose(report: TaskReport) -> list[str]:
    """A warning where D would pass anything."""
    if not report.loose:
        return []
    return [
        f"D proves nothing here: an estimate that gives everybody 0 would be within {report.difficulty} pp, too"
    ]


def _in_vain(report: TaskReport) -> list[str]:
    return ["together the clients gained nothing: their part of the price returned"] if report.in_vain else []


def _bars(report: TaskReport, certainty: Certainty | None) -> list[str]:
    """One a client, with two standard errors shaded; none without values."""
    values = [as_decimal(line.value) for line in report.clients if line.value is not None]
    return bars(values, [2 * error for error in both_errors(report, certainty)] if values else None)


def _estimates(report: TaskReport, names: Names) -> list[str]:
    if not report.miners:
        return ["no estimate was verified"]
    rows = []
    for one in _by_name(report, names):
        kind = "exact" if one.exact else f"{one.rankings} rankings"
        note = "false table" if one.fraud else "winner" if one.miner == report.winner else ""
        rows.append([names.name(one.miner), kind, one.distance or "-", note])
    what = "exact values" if report.exact else "the average of all rankings"
    lines = table(["miner", "estimate", "distance (pp)", ""], rows)
    return [
        *lines,
        "",
        f"distances are from {what}; D is {report.difficulty} pp",
        *loose(report),
        *shared(report),
    ]


def shared(report: TaskReport) -> list[str]:
    """Why more miners than the winner were paid, where they were."""
    if report.state == TaskState.SETTLED and report.rule == "shared":
        return [
            "the task shares the miners' part among all that count, by rankings; the winner is the nearest"
        ]
    if not report.alike:
        return []
    why = "exact estimates are equally good" if report.exact else "they are equally near"
    return [
        f"{report.alike} miners tie ({why}) and share equally:",
        "which of them is called winner is drawn from the task's id",
    ]


def _by_name(report: TaskReport, names: Names) -> list[MinerLine]:
    return sorted(report.miners, key=lambda one: names.name(one.miner))
