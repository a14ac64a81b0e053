"""The books in other tools' formats: CSV, JSON, and journals of Beancount and hledger with asserted balances.

Text only, and only from a journal (`journal`): equal ledgers give equal texts. An account is its kind, the party and
what it is for, as Income:Client-001:Training. A party is what a workspace calls its address; who shares a name with
another, or has none, is told apart by the beginning of the address.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ledger_store.base.amount import MICRO
from ledger_store.bookkeeping.journal import COINS, Entry, JournalLine

SCHEMA = 2
COMMODITY = "FEDCOIN"
_SHORT = 16

Name = Callable[[str], str | None]
"""What people call an address; None for a stranger."""
Place = tuple[str, str]
"""A party and one of its accounts."""


def to_csv(journal: Sequence[Entry], name: Name) -> str:
    """One line a change of an account, with what the account comes to after it: filter by party, account or time."""
    held: Counter[Place] = Counter()
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ("height", "time", "kind", "transaction", "task", "name", "address", "account", "amount", "balance")
    )
    for entry in journal:
        for line in entry.lines:
            held[line.party, line.account] += line.micro
            amounts = _decimal(line.micro), _decimal(held[line.party, line.account])
            who = name(line.party) or "", line.party
            writer.writerow((*_head(entry), *who, line.account, *amounts))
    return out.getvalue()


def to_json(journal: Sequence[Entry], name: Name) -> str:
    """One object: entries with their lines, and the coins that each party has at the end; amounts are decimal texts."""
    coins = {party: micro for (party, account), micro in _held(journal).items() if account == COINS}
    document = {
        "schema": SCHEMA,
        "entries": [_entry_json(entry, name) for entry in journal],
        "balances": [
            {"address": party, "name": name(party), "balance": _decimal(micro)}
            for party, micro in coins.items()
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def to_beancount(journal: Sequence[Entry], name: Name) -> str:
    """A Beancount file: `bean-check` verifies that every entry balances and every account ends as asserted."""
    held = _held(journal)
    words = _words(journal, name)
    accounts = _accounts(held, words)
    first, after = _date(journal[0]), _date(journal[-1]) + timedelta(days=1)
    lines = ['option "title" "FedCoin"', f'option "operating_currency" "{COMMODITY}"', ""]
    lines += [f"{first} commodity {COMMODITY}", ""]
    for place in held:
        lines += [f"{first} open {accounts[place]} {COMMODITY}", f'  address: "{place[0]}"']
    for entry in journal:
        links = "".join(f" ^{one}" for one in dict.fromkeys((entry.about, entry.id)) if one)
        lines += ["", f'{_date(entry)} * "{_narration(entry, words)}"{links}']
        lines += [f"  height: {entry.height}", f'  time: "{_time(entry)}"']
        lines += _changes(entry, accounts, "  ")
    # Beancount forgives a whole last digit in a balance assertion unless told otherwise: one micro too many.
    lines += [
        "",
        *(
            f"{after} balance {accounts[one]}  {_decimal(micro)} ~ 0 {COMMODITY}"
            for one, micro in held.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def to_hledger(journal: Sequence[Entry], name: Name) -> str:
    """An hledger journal: `hledger check --strict` verifies declarations, sums, and balances at each last change."""
    held = _held(journal)
    words = _words(journal, name)
    accounts = _accounts(held, words)
    final = {(line.party, line.account): line for entry in journal for line in entry.lines}
    lines = [f"commodity 1000.000000 {COMMODITY}", ""]
    for place in held:
        lines += [f"account {accounts[place]}", f"  ; address:{place[0]}"]
    for entry in journal:
        code = f"({(entry.id or entry.about)[:_SHORT]}) " if entry.id or entry.about else ""
        lines += ["", f"{_date(entry)} * {code}{_narration(entry, words)}"]
        tags = {"about": entry.about, "id": entry.id, "height": entry.height, "time": _time(entry)}
        lines += [
            f"    ; {', '.join(f'{tag}:{value}' for tag, value in tags.items() if value not in {'', None})}"
        ]
        for one, change in zip(entry.lines, _changes(entry, accounts, "    "), strict=True):
            last = final[one.party, one.account] is one
            lines += [f"{change} == {_coins(held[one.party, one.account])}" if last else change]
    return "\n".join(lines) + "\n"


FORMATS: Mapping[str, Callable[[Sequence[Entry], Name], str]] = {
    "csv": to_csv,
    "json": to_json,
    "beancount": to_beancount,
    "hledger": to_hledger,
}


def _held(journal: Iterable[Entry]) -> dict[Place, int]:
    """What every account of every party comes to after these entries, sorted."""
    totals: Counter[Place] = Counter()
    for entry in journal:
        for line in entry.lines:
            totals[line.party, line.account] += line.micro
    return dict(sorted(totals.items()))


def _head(entry: Entry) -> tuple[object, ...]:
    task = entry.about if entry.kind not in {"genesis", "transfer"} else ""
    return entry.height, _time(entry), entry.kind, entry.id or "", task


def _entry_json(entry: Entry, name: Name) -> dict[str, Any]:
    height, _, kind, own, task = _head(entry)
    lines = [_line_json(line, name) for line in entry.lines]
    fields = {"height": height, "time_ms": entry.time_ms, "kind": kind, "about": entry.about}
    return fields | {"transaction": own or None, "task": task or None, "lines": lines}


def _line_json(line: JournalLine, name: Name) -> dict[str, Any]:
    who = {"address": line.party, "name": name(line.party)}
    return who | {"account": line.account, "amount": _decimal(line.micro)}


def _accounts(places: Iterable[Place], words: Mapping[str, str]) -> dict[Place, str]:
    """An account's name in a journal, by whose it is and what for."""
    found = {}
    for party, account in places:
        kind, _, purpose = account.partition(":")
        found[party, account] = f"{kind}:{words[party]}:{purpose}"
    return found


def _words(journal: Iterable[Entry], name: Name) -> dict[str, str]:
    """A component a party that both tools allow: it begins with a capital, and holds letters, digits and hyphens."""
    parties = [one for entry in journal for one in (*entry.ends, *(line.party for line in entry.lines))]
    plain = {party: _word(name(party) or "account") for party in dict.fromkeys(parties)}
    often = Counter(plain.values())
    return {
        party: word if name(party) and often[word] == 1 else f"{word}-{party[:_SHORT]}"
        for party, word in plain.items()
    }


def _word(name: str) -> str:
    word = re.sub(r"[^A-Za-z0-9-]", "-", name).lstrip("-") or "account"
    return f"{word[0].upper()}{word[1:]}"


def _narration(entry: Entry, words: Mapping[str, str]) -> str:
    """What happened, in a few words."""
    ends = " → ".join(words[one] for one in entry.ends)
    if entry.kind in _HAPPENED:
        return f"{_HAPPENED[entry.kind]}: task {entry.about[:_SHORT]} of {ends}"
    return f"{entry.kind} {ends}".rstrip()


_HAPPENED = {
    "task": "price locked",
    "cancel": "withdrawn",
    "settled": "settled",
    "refunded": "refunded",
}


def _changes(entry: Entry, accounts: Mapping[Place, str], indent: str) -> list[str]:
    return [f"{indent}{accounts[one.party, one.account]}  {_coins(one.micro)}" for one in entry.lines]


def _coins(micro: int) -> str:
    return f"{_decimal(micro)} {COMMODITY}"


def _decimal(micro: int) -> str:
    whole, part = divmod(abs(micro), MICRO)
    return f"{'-' if micro < 0 else ''}{whole}.{part:06d}"


def _moment(entry: Entry) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=entry.time_ms)


def _date(entry: Entry) -> date:
    return _moment(entry).date()


def _time(entry: Entry) -> str:
    return _moment(entry).isoformat(timespec="milliseconds").replace("+00:00", "Z")
