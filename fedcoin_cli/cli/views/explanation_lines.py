"""An explanation as lines for the person who was paid, perhaps less than expected."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from fedcoin_cli.application.books.coins import Share
from fedcoin_cli.application.reasons.explanation import Explanation, View
from fedcoin_cli.application.reasons.kept_tables import Coalition, Seen
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.cli.program.output import counted, table
from fedcoin_cli.cli.views.bars import bars
from fedcoin_cli.cli.views.task_lines import judged, loose, shared
from ledger_store.base.amount import format_micro
from ledger_store.base.words import TaskState


def explanation_lines(one: Explanation, names: Names) -> list[str]:
    """Value, where it comes from, how it became coins, who agreed, how to check it."""
    report = one.report
    who = f"{names.name(one.client)}, client {one.number} of {len(report.clients)} in task {report.task_id}"
    state = f"{report.state.lower()} at height {report.height}, attempt {report.attempts}"
    parts = [
        [who, state],
        _verdict(one),
        _origin(one),
        [] if one.share is None else _coins(one.share, one),
        _miners(one.views, one, names),
        _recheck(one),
    ]
    return [line for part in parts if part for line in (*part, "")][:-1]


def _verdict(one: Explanation) -> list[str]:
    if one.value is None:
        if not one.report.ended:
            return [f"no value yet: the price of {one.report.price} FedCoin is in escrow until the task ends"]
        return [f"no value was agreed, so nothing was paid; {one.report.returned} FedCoin went back"]
    count = len(one.report.clients)
    mean = _mean([line.shapley for line in one.report.clients])
    value = f"value    {one.value} pp{_error(one)}"
    place = f"place    {one.rank} of {count}; the mean of all clients is {mean} pp"
    if one.share is None:
        return [
            value,
            place,
            f"payment  none: {_why_unpaid(one)}, so the clients' part of the price was not paid",
            *_test_set(one),
            *_judged(one),
        ]
    mined = None if one.certainty is None or not one.certainty.mining else one.certainty.mining_paid
    error = f" ± {mined[one.number - 1]}" if mined and mined[one.number - 1] else ""
    even = format_micro(one.share.total_micro // count)
    lines = [
        value,
        place,
        f"payment  {one.paid} FedCoin{error}; an equal share would be {even}",
        *_test_set(one),
    ]
    lines += _judged(one)
    if one.share.weight == 0:
        lines += [
            "",
            "A value below zero means that the models judge the test set better without this client",
        ]
        lines += ["than with it, over all orders of joining. Such a client is paid nothing and owes nothing."]
    return lines


def _judged(one: Explanation) -> list[str]:
    named = (("metric   ", judged(one.report)), ("D        ", loose(one.report)))
    return [f"{name}{line}" for name, lines in named for line in lines]


def _why_unpaid(one: Explanation) -> str:
    if one.report.state != TaskState.SETTLED:
        return "no estimate was within D"
    if one.report.in_vain:
        return f"together the clients gained nothing ({one.report.total} pp)"
    return "the price has no part for clients"


def _error(one: Explanation) -> str:
    match one.error_from:
        case "exact":
            return ", exact: every coalition was evaluated"
        case "tables" if one.certainty:
            rankings = counted(one.certainty.rankings, "ranking")
            return f" ± {one.error} by mining (one standard error, from {rankings} in every block)"
        case "ledger":
            return f" ± {one.error} by mining (one standard error, from how far apart the miners are: a rough one)"
    return ""


def _test_set(one: Explanation) -> list[str]:
    """What the test set leaves open, and from whom this client cannot be told apart."""
    found = one.certainty
    if found is None or one.value is None or not found.test_set:
        return []
    paid = found.test_set_paid[one.number - 1] if one.share is not None else None
    coins = f", ± {paid} FedCoin" if paid else ""
    lines = [f"images   ± {found.test_set[one.number - 1]} pp{coins} by the test set: {found.images} images"]
    if near := found.near(one.number):
        who = f"client{'s' if len(near) > 1 else ''} {ranges(near)}"
        lines += [f"         so many do not tell it apart from {who} (less than two standard errors)"]
    return lines


def _origin(one: Explanation) -> list[str]:
    seen = one.seen
    if seen is None:
        return [] if not one.missing else [_absent(one)]
    how = "as exact values do" if one.report.exact else "by how many rankings of blocks pass through it"
    lines = [
        f"where the value comes from: {counted(seen.coalitions, 'coalition')} that it joined, weighted {how}"
    ]
    found = bars([Decimal(size.adds) for size in seen.sizes])
    rows = [
        [
            counted(size.others, "other") if size.others else "nobody",
            _short(size.gain),
            _short(size.adds, 3),
            bar,
        ]
        for size, bar in zip(seen.sizes, found, strict=True)
    ]
    lines += table(["joining", "gain (pp)", "adds (pp)", ""], rows)
    lines += [_sum(one, seen)]
    lines += ["", *_coalitions("the coalitions that counted most for it", seen.helped)]
    lines += ["", *_coalitions("the coalitions that counted most against it", seen.hurt)]
    return [*lines, *(["", _absent(one)] if one.missing else [])]


def _sum(one: Explanation, seen: Seen) -> str:
    by = "by the tables that are here" if one.missing else "the value"
    return f"sum      {seen.walked} pp, {by}"


def _coalitions(title: str, found: Sequence[Coalition]) -> list[str]:
    if not found:
        return [f"{title}: none"]
    rows = [
        [
            _short(one.adds, 4),
            _short(one.gain),
            f"{_short(one.before)} %",
            _short(one.weight, 3),
            _members(one),
        ]
        for one in found
    ]
    return [title, *table(["adds (pp)", "gain (pp)", "from", "weight (%)", "joining"], rows)]


def _members(one: Coalition) -> str:
    if not one.members:
        return "nobody: alone"
    return f"client{'s' if len(one.members) > 1 else ''} {ranges(one.members)}"


def _coins(share: Share, one: Explanation) -> list[str]:
    lines = [
        "how the value became coins (1 FedCoin is 1,000,000 micro; every number is exact)",
        f"  price           {one.report.price} FedCoin, of which all clients share {share.total_micro:,} micro",
        f"  weight          {share.weight} of {share.weights}: its value and the sum of all that are paid",
    ]
    if share.weight:
        product = f"{share.total_micro:,} × {share.weight} ÷ {share.weights} = {share.whole_micro:,}"
        rest = f"{share.left_micro} micro left over, one each to the largest"
        lines += [f"  whole micros    {product}"]
        lines += [f"  remainder       {share.remainder}: number {share.place} by size; {rest}"]
    total = f"{share.whole_micro:,} + {share.extra_micro} = {share.paid_micro:,} micro"
    return [*lines, f"  payment         {total} = {format_micro(share.paid_micro)} FedCoin"]


def _miners(views: Sequence[View], one: Explanation, names: Names) -> list[str]:
    if not views:
        return []
    rows = []
    for view in sorted(views, key=lambda view: names.name(view.miner)):
        kind = "exact" if view.exact else counted(view.rankings, "ranking")
        rows.append([names.name(view.miner), kind, view.value or "-", view.distance or "-", _note(view, one)])
    header = ["miner", "estimate", "its value (pp)", "distance (pp)", ""]
    what = "exact values" if one.report.exact else "the average of all rankings"
    return [
        *table(header, rows),
        f"distances are from {what}, over all clients; D is {one.report.difficulty} pp",
        *shared(one.report),
    ]


def _note(view: View, one: Explanation) -> str:
    if view.value is None:
        return "does not count"
    if view.miner == one.report.winner:
        return "winner"
    return "within D" if view.within else "beyond D"


def _recheck(one: Explanation) -> list[str]:
    if not one.views:
        return []
    lines = [
        "how to check this without trusting anybody",
        f"  fedcoin audit {one.ledger}",
        "      verifies all signatures and computes values, distances and payments from what was revealed",
    ]
    kept = dict.fromkeys(view.table for view in one.views if view.kept)
    if kept:
        lines += [
            "  sha256sum the tables in the store; their names are their digests, and the ledger holds them:"
        ]
        lines += [f"      {digest}" for digest in kept]
    return lines


def _absent(one: Explanation) -> str:
    which = "no table is" if one.seen is None else f"{counted(len(one.missing), 'table')} of the miners not"
    return f"{which} kept here: with them this would name the coalitions that decided the value"


def ranges(numbers: Iterable[int]) -> str:
    """Ascending numbers with runs of three and more joined: 1–3, 7, 9, 10."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _short(text: str, places: int = 2) -> str:
    return f"{Decimal(text):.{places}f}"


def _mean(values: Sequence[str | None]) -> str:
    known = [Decimal(value) for value in values if value is not None]
    return f"{sum(known) / len(known):.6f}"
