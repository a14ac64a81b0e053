"""A ledger as one page of HTML: no script, nothing fetched, light and dark, and good on paper.

The page is well-formed XML, and equal overviews and names give equal bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import escape
from typing import Any

from fedcoin_cli.application.books.task_report import TaskReport
from fedcoin_cli.application.reasons.overview import Overview, Series, TaskPicture
from fedcoin_cli.application.rounds.inspecting import Inspected
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.cli.page.figures import (
    balances_figure,
    convergence_figure,
    distances_figure,
    looks_figure,
    roles,
    values_figure,
)
from fedcoin_cli.cli.page.report_style import STYLE
from fedcoin_cli.cli.program.output import counted
from fedcoin_cli.cli.views.amounts import aligned
from fedcoin_cli.cli.views.certainty_lines import certainty_lines
from fedcoin_cli.cli.views.inspection_lines import caveats, sign_words
from fedcoin_cli.cli.views.task_lines import judged, loose, shared
from ledger_store.base.amount import MICRO, format_micro
from ledger_store.base.names import TaskId
from ledger_store.bookkeeping.journal import ESCROW

_SHORT = 12
# Of a round in which much is conspicuous so much is said.
_SIGNS = 12
_LEGEND = (("client", "clients"), ("miner", "miners"), ("server", "FL servers"), ("other", "others"))


def page(view: Overview, names: Names) -> str:
    """The whole document."""
    title = f"FedCoin: {escape(view.genesis.network)} to block {view.height}"
    body = [_head(view), _verdict(view), _tasks(view)]
    body += [_task(picture, names) for picture in view.pictures]
    body += [_balances(view, names), _foot(view)]
    return (
        '<!DOCTYPE html>\n<html lang="en" xmlns="http://www.w3.org/1999/xhtml">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        '<meta name="color-scheme" content="light dark"/>\n'
        f"<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _head(view: Overview) -> str:
    facts = [
        ("network", view.genesis.network),
        ("genesis", view.genesis.id),
        ("head", view.audit.head or "genesis"),
        ("height", f"{view.height}, {_time(view.time_ms)}"),
        ("miners", f"{len(view.genesis.roster)}; {view.genesis.quorum} certify a block"),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in facts)
    return f"<header><h1>FedCoin report</h1><dl>{rows}</dl></header>"


def _verdict(view: Overview) -> str:
    audit = view.audit
    if audit.ok:
        certified = f"certified to block {audit.certified_to}"
        words = f"{counted(audit.blocks, 'block')} verified to level {audit.level}, {certified}: nothing is wrong."
        return f'<p class="good"><strong>Audit passed.</strong> {words}</p>'
    first = audit.findings[0]
    words = f"{first.code} at height {first.height}: {escape(first.message)}."
    return f'<p class="bad"><strong>Audit failed.</strong> {counted(len(audit.findings), "finding")}; {words}</p>'


def _tasks(view: Overview) -> str:
    if not view.records:
        return "<section><h2>Tasks</h2><p>None yet.</p></section>"
    shown = {picture.report.task_id for picture in view.pictures}
    rows = [
        [
            _linked(one.task_id) if one.task_id in shown else one.task_id[:_SHORT],
            one.state.lower(),
            str(one.height),
            str(len(one.clients)),
            one.price,
            one.total or "–",
            one.distance or "–",
        ]
        for one in view.records
    ]
    header = ["task", "state", "height", "clients", "price", "all values (pp)", "distance (pp)"]
    return f"<section><h2>Tasks</h2>{_table(header, rows, words=2)}</section>"


def _linked(task_id: TaskId) -> str:
    return f'<a href="#task-{task_id}">{task_id[:_SHORT]}</a>'


def _task(picture: TaskPicture, names: Names) -> str:
    report = picture.report
    parts = [
        f'<h2>Task <code>{report.task_id[:_SHORT]}</code></h2><p class="facts">{_facts(report, names)}</p>'
    ]
    parts += [_recipe(picture.recipe)] if picture.recipe else []
    if any(one.shapley is not None for one in report.clients):
        parts += [_figure("What each client is worth, and what it was paid", values_figure(picture, names))]
        parts += [f'<p class="note">{_errors(picture, names)}</p>', _payments(picture, names)]
    if picture.inspected is not None:
        parts += [_looks(picture.inspected, names)]
    if report.miners:
        parts += [_figure("How near the miners are to their average", distances_figure(picture, names))]
    if picture.walks:
        title = "How the miners came near the agreed values"
        parts += [_figure(title, convergence_figure(picture, names))]
    return f'<section id="task-{report.task_id}">{"".join(parts)}</section>'


def _facts(report: TaskReport, names: Names) -> str:
    ended = f"{report.state.lower()} at block {report.height}, attempt {report.attempts}"
    facts = [ended, f"price {report.price} FedCoin", f"D {report.difficulty} pp"]
    facts += [f"FL server {names.name(report.server)}: {report.server_paid}"]
    facts += [f"won by {names.name(report.winner)}"] if report.winner else []
    facts += [" ".join(shared(report))] if shared(report) else []
    facts += [f"returned {report.returned}"] if report.returned_micro else []
    facts += ["together the clients gained nothing, so their part returned"] if report.in_vain else []
    facts += [*judged(report), *loose(report)]
    return escape(" · ".join(facts))


def _recipe(recipe: Mapping[str, Any]) -> str:
    """How the clients were trained; whatever the file holds is shown as text."""
    versions = recipe.get("versions")
    told = (
        ", ".join(f"{name} {number}" for name, number in versions.items())
        if isinstance(versions, dict)
        else ""
    )
    return (
        f'<p class="note">Made by <code>{escape(str(recipe.get("command", "")))}</code>'
        f"{' with ' if told else ''}{escape(told)}.</p>"
    )


def _errors(picture: TaskPicture, names: Names) -> str:
    lines = certainty_lines(picture.report, picture.certainty, names)
    return ". ".join(["Whiskers: two standard errors, as far as they are known", *map(escape, lines)]) + "."


def _looks(found: Inspected, names: Names) -> str:
    """What the updates look like, and in words what is conspicuous."""
    said = [*(sign_words(found, one, names) for one in found.looked.signs[:_SIGNS]), *caveats(found)]
    if (more := len(found.looked.signs) - _SIGNS) > 0:
        said.append(f"{counted(more, 'more sign')}: fedcoin inspect")
    note = ". ".join(map(escape, said or ["Nothing is conspicuous"])) + ". Signs are no proof."
    return _figure("What the updates look like", looks_figure(found, names)) + f'<p class="note">{note}</p>'


def _payments(picture: TaskPicture, names: Names) -> str:
    report = picture.report
    sure = picture.certainty
    rows = [
        [
            escape(names.name(one.client)),
            one.shapley or "–",
            f"{Decimal(sure.mining[number]):.4f}" if sure and sure.mining else "–",
            f"{Decimal(sure.test_set[number]):.4f}" if sure and sure.test_set else "–",
            one.paid,
        ]
        for number, one in enumerate(report.clients)
    ]
    paid = [one for one in report.miners if one.paid_micro]
    rows += [[f"{escape(names.name(one.miner))} (miner)", "", "", "", one.paid] for one in paid]
    coins = aligned([row[-1] for row in rows])
    rows = [[*row[:-1], amount] for row, amount in zip(rows, coins, strict=True)]
    header = ["paid to", "value (pp)", "± mining", "± test set", "FedCoin"]
    return f"<details><summary>The numbers</summary>{_table(header, rows, words=1)}</details>"


def _balances(view: Overview, names: Names) -> str:
    known = roles(view)
    kinds = {one.account: known.get(one.account, "other") for one in view.balances}
    named = [
        (
            Series("escrow" if one.account == ESCROW else names.name(one.account), one.steps),
            kinds[one.account],
        )
        for one in view.balances
    ]
    holders = [(one, "holder-line") for one, kind in named if kind in {"holder", "escrow"}]
    others = [(one, f"{kind}-line") for one, kind in named if kind not in {"holder", "escrow"}]
    parts = []
    if others:
        shown = {kind for _, kind in others}
        keys = [(kind, words) for kind, words in _LEGEND if f"{kind}-line" in shown]
        legend = "".join(f'<span class="{kind}-key">{words}</span>' for kind, words in keys)
        drawn = balances_figure(
            others, view.height, "Balances over blocks of everybody but the first holders"
        )
        parts += [_figure("What clients, miners and servers hold, in FedCoin", drawn, legend)]
    drawn = balances_figure(holders, view.height, "Balances over blocks of the first holders, and escrow")
    parts += [_figure("What the first holders hold, and what is in escrow, in FedCoin", drawn)]
    rows = [
        [escape(one.account), escape(kind), f"{one.steps[-1][1] // MICRO}.{one.steps[-1][1] % MICRO:06d}"]
        for one, kind in sorted(named, key=lambda pair: pair[0].account)
    ]
    table = _table(["account", "role", "FedCoin"], rows, words=2)
    total = format_micro(sum(one.steps[-1][1] for one in view.balances))
    supply = format_micro(view.genesis.supply_micro)
    note = f'<p class="note">Together {total} FedCoin; genesis minted {supply}.</p>'
    numbers = f"<details><summary>The numbers</summary>{table}</details>"
    return f"<section><h2>Balances</h2>{''.join(parts)}{note}{numbers}</section>"


def _foot(view: Overview) -> str:
    return (
        "<footer><p>Whoever holds a copy of this ledger can check all of it: <code>fedcoin audit chain.jsonl</code> "
        "verifies signatures and computes every value, distance and payment again; <code>fedcoin explain CLIENT</code> "
        f"tells why somebody was paid what it was paid. Genesis <code>{view.genesis.id[:_SHORT]}</code>.</p></footer>"
    )


def _figure(title: str, drawn: str, legend: str = "") -> str:
    key = f'<p class="legend">{legend}</p>' if legend else ""
    return f'<figure><figcaption>{escape(title)}</figcaption>{key}<div class="wide">{drawn}</div></figure>'


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> str:
    """A table whose first `words` columns are words, the others numbers; cells are HTML already."""
    kinds = ["w" if column < words else "n" for column in range(len(header))]
    head = _cells("th", kinds, map(escape, header))
    lines = "".join(f"<tr>{_cells('td', kinds, row)}</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{lines}</tbody></table></div>'


def _cells(tag: str, kinds: Sequence[str], cells: Iterable[str]) -> str:
    pairs = zip(kinds, cells, strict=True)
    return "".join(f'<{tag} class="{kind}">{cell}</{tag}>' for kind, cell in pairs)


def _time(time_ms: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
