"""The figures of a report: values and payments, distances and convergence, balances over blocks."""

from collections.abc import Mapping
from fractions import Fraction
from math import isfinite

from fedcoin_cli.application.reasons.overview import Overview, Series, TaskPicture, Walk
from fedcoin_cli.application.rounds.inspecting import Inspected
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.cli.page import svg
from fedcoin_cli.cli.views.bars import Number, as_decimal
from fedcoin_cli.cli.views.certainty_lines import both_errors
from ledger_store.base.amount import MICRO, format_micro
from ledger_store.bookkeeping.journal import ESCROW

WIDTH = 860.0
_ROW, _BAR, _NAMES, _GAP = 22.0, 12.0, 150.0, 90.0
# Percentage points beyond those of any score: what a ledger may hold where more than f miners lied is drawn up to here.
_EDGE = 1e6
# A whisker is two standard errors to each side: 95 of 100 values lie within.
_ERRORS = 2.0
# Steps beyond these lengths, as multiples of the median, are drawn at them.
_SHORTEST, _LONGEST = 1e-3, 1e3
DASHES = 4
"""Lines of one kind take turns in so many patterns of dashes."""
_NAME, _NAMES_HEIGHT = 12.0, 216.0


def _drawn(points: Number | None) -> float:
    return float(max(-_EDGE, min(_EDGE, points or 0)))


def values_figure(picture: TaskPicture, names: Names) -> str:
    """Each client's value with its error, beside what it was paid."""
    lines = picture.report.clients
    values = [_drawn(one.value) for one in lines]
    errors = [min(_EDGE, _ERRORS * float(one)) for one in both_errors(picture.report, picture.certainty)]
    paid = [one.paid_micro / MICRO for one in lines]
    middle = _NAMES + (WIDTH - _NAMES) * 0.56
    ends = [value + side * error for value, error in zip(values, errors, strict=True) for side in (1, -1)]
    left = svg.linear(ends, _NAMES, middle - _GAP)
    right = svg.linear(paid, middle + 20, WIDTH - _GAP)
    top, bottom = 34.0, 34.0 + _ROW * len(lines)
    marks = [svg.text(left.start, 12, "value, percentage points", kind="head")]
    marks += [svg.text(right.start, 12, "payment, FedCoin", kind="head")]
    marks += svg.bottom_axis(left, top - 6, bottom, svg.short)
    marks += svg.bottom_axis(right, top - 6, bottom, svg.short)
    share = right(sum(paid) / len(paid))
    marks += [svg.rule(share, top - 8, share, bottom, "limit")] if sum(paid) else []
    marks += [svg.text(share, top - 10, "equal shares", "middle", "limit-name")] if sum(paid) else []
    for number, (one, value, error, coins) in enumerate(zip(lines, values, errors, paid, strict=True)):
        y, who = top + _ROW * (number + 0.5), names.name(one.client)
        kind = "value" if value >= 0 else "loss"
        about = f"{who}: {one.shapley} pp, paid {one.paid} FedCoin"
        marks += [svg.text(_NAMES - 10, y, who, "end")]
        marks += [svg.bar(left(0), left(value), y, _BAR, kind, about)]
        marks += [svg.whisker(left(value - error), left(value + error), y)] if error else []
        marks += [svg.text(middle - _GAP + 78, y, _points(one.value), "end", "number")]
        marks += [svg.bar(right(0), right(coins), y, _BAR, "paid", about)]
        marks += [svg.text(WIDTH, y, f"{as_decimal(Fraction(one.paid_micro, MICRO)):.2f}", "end", "number")]
    return svg.figure(WIDTH, bottom + 24, marks, "Values and payments of all clients, as in the table below")


def distances_figure(picture: TaskPicture, names: Names) -> str:
    """How far each miner's estimate lies from the average, and D."""
    report = picture.report
    lines = sorted(report.miners, key=lambda one: names.name(one.miner))
    limit = report.difficulty_micro / MICRO
    distances = [
        None if one.distance_squared is None else as_decimal(one.distance_squared).sqrt() for one in lines
    ]
    most = [_drawn(limit), *map(_drawn, distances)]
    scale = svg.linear(most, _NAMES, WIDTH - _GAP)
    top, bottom = 34.0, 34.0 + _ROW * len(lines)
    marks = svg.bottom_axis(scale, top - 6, bottom, svg.short)
    for number, (one, distance) in enumerate(zip(lines, distances, strict=True)):
        y, who = top + _ROW * (number + 0.5), names.name(one.miner)
        kind = "winner" if one.miner == report.winner else "miner"
        kind = "loss" if one.fraud else kind
        about = (
            f"{who}: {one.distance or 'does not count'}, {'exact' if one.exact else one.rankings} rankings"
        )
        marks += [svg.text(_NAMES - 10, y, who, "end")]
        marks += [svg.bar(scale(0), scale(_drawn(distance)), y, _BAR, kind, about)]
        marks += [svg.text(WIDTH, y, _points(distance, 4), "end", "number")]
    x = scale(_drawn(limit))
    marks += [svg.rule(x, top - 8, x, bottom, "limit"), svg.text(x, top - 16, "D", "middle", "limit-name")]
    return svg.figure(WIDTH, bottom + 24, marks, "Each miner's distance from the average, and D")


def convergence_figure(picture: TaskPicture, names: Names) -> str:
    """Each miner's way to the agreed values: distance after so many rankings, both logarithmic."""
    report, walks = picture.report, picture.walks
    limit = report.difficulty_micro / MICRO
    seen = [distance for walk in walks.values() for _, distance in walk if distance > 0]
    low = min([*seen, limit] if limit else seen)
    across = svg.Scale(1, max(2, *(walk[-1][0] for walk in walks.values())), 70, WIDTH - 110, True)
    up = svg.Scale(low * 0.8, max([*seen, limit]) * 1.25, 250, 14, True)
    marks = svg.bottom_axis(across, 14, 250, svg.short)
    marks += [svg.text((across.start + across.end) / 2, 280, "rankings walked", "middle", "tick")]
    marks += svg.left_axis(up, 70, across.end, svg.short)
    if limit:
        marks += [svg.rule(70, up(limit), across.end, up(limit), "limit")]
        marks += [svg.text(across.end + 6, up(limit), "D", kind="limit-name")]
    marks += _walks(walks, report.winner, across, up, names)
    return svg.figure(
        WIDTH, 294, marks, "Each miner's distance from the agreed values while it walked rankings"
    )


def _walks(
    walks: Mapping[str, Walk], winner: str | None, across: svg.Scale, up: svg.Scale, names: Names
) -> list[str]:
    """A line a miner, the winner's last and named."""
    marks = []
    for miner in sorted(walks, key=lambda one: (one == winner, names.name(one))):
        points = [(across(number), up(distance)) for number, distance in walks[miner]]
        marks += [svg.line(points, "winner-line" if miner == winner else "miner-line", names.name(miner))]
        if miner == winner:
            marks += [svg.text(points[-1][0] + 6, points[-1][1], names.name(miner), kind="winner-name")]
    return marks


def looks_figure(found: Inspected, names: Names) -> str:
    """Each client's step: how long it is, and which way it goes; who has a sign is named."""
    measures, marked = found.looked.measures, {one.client for one in found.looked.signs}
    known = found.start is not None
    ups = measures.alignment if known else measures.distance
    points = [
        (number, min(max(float(length), _SHORTEST), _LONGEST), max(-1.0, min(_LONGEST, float(up))))
        for number, (length, up) in enumerate(zip(measures.length, ups, strict=True))
        if isfinite(length) and isfinite(up)
    ]
    lengths = [length for _, length, _ in points]
    across = svg.Scale(min(0.5, *lengths, 0.5) / 1.1, max(2, *lengths, 2) * 1.1, 70, WIDTH - 110, True)
    up = svg.linear([1.0, *(height for _, _, height in points)], 250, 14)
    marks = svg.bottom_axis(across, 14, 250, svg.short) + svg.left_axis(up, 70, across.end, svg.short)
    marks += [
        svg.text((across.start + across.end) / 2, 280, "length of the step, median = 1", "middle", "tick")
    ]
    upwards = (
        "cosine with the mean of the others" if known else "distance from the mean of the others, median = 1"
    )
    marks += [svg.text(70, 6, upwards, kind="tick")]
    for number, length, height in sorted(points, key=lambda point: point[0] in marked):
        who, kind = names.name(found.updates[number].client), "loss" if number in marked else "value"
        about = f"{who}: {length:.2f} times the usual length, {height:.2f}"
        marks += [svg.dot(across(length), up(height), 4, kind, about)]
        if number in marked:
            marks += [svg.text(across(length) + 7, up(height), who, kind="tick")]
    return svg.figure(WIDTH, 294, marks, "Each client's step: its length, and its likeness to the others'")


def balances_figure(series: list[tuple[Series, str]], height: int, label: str) -> str:
    """Balances over blocks, each series with its class; in coins."""
    # Half a block more than the height: what the last one leaves can be seen, too. No value stands beyond the head.
    across = svg.Scale(0, height + 0.5, 90, WIDTH - 130)
    known = [micro / MICRO for one, _ in series for _, micro in one.steps]
    up = svg.Scale(min(0.0, *known), max(1e-6, *known) * 1.05, 214, 10)
    marks = svg.bottom_axis(across, 10, 214, svg.short, whole=True) + svg.left_axis(
        up, 90, across.end, svg.short
    )
    marks += [svg.text((across.start + across.end) / 2, 244, "block", "middle", "tick")]
    for number, (one, kind) in enumerate(series):
        points = [(across(at), up(micro / MICRO)) for at, micro in one.steps]
        about = f"{one.account}: {format_micro(one.steps[-1][1])} FedCoin"
        marks += [svg.steps(points, across.end, f"{kind} dash-{number % DASHES}", about)]
    marks += _line_names([(up(one.steps[-1][1] / MICRO), one.account) for one, _ in series], across.end)
    return svg.figure(WIDTH, 256, marks, label)


def _line_names(ends: list[tuple[float, str]], x: float) -> list[str]:
    """The lines' names where they end, moved apart; of more than there is room for, every so many."""
    most = int(_NAMES_HEIGHT / _NAME)
    kept = sorted(ends)[:: -(-len(ends) // most)]
    marks, free = [], 10.0
    for number, (end, name) in enumerate(kept):
        y = min(max(end, free), 10.0 + _NAMES_HEIGHT - _NAME * (len(kept) - 1 - number))
        free = y + _NAME
        marks += [svg.rule(x, end, x + 8, y, "grid"), svg.text(x + 11, y, name, kind="tick")]
    return marks


def roles(view: Overview) -> dict[str, str]:
    """What an account is to the tasks shown: "client", "miner", "server", "holder" or "other"; escrow is its own."""
    found = {address: "holder" for address, _ in view.genesis.supply} | {ESCROW: "escrow"}
    for report in view.records:
        found |= {line.client: "client" for line in report.clients if line.client not in found}
        found.setdefault(report.server, "server")
    return dict.fromkeys(view.genesis.roster, "miner") | found


def _points(points: Number | None, places: int = 3) -> str:
    return "–" if points is None else f"{as_decimal(points):.{places}f}".replace("-", "−")
