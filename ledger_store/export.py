"""The books in other tools' formats: CSV, JSON, and journals of Beancount and hledger with asserted balances.

Text only, and only from a journal (`journal`): equal ledgers give equal texts. Names are what a workspace calls an
address; an account's name always ends in the beginning of its address, so two that share a name stay two.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ledger_store.amount import MICRO
from ledger_store.journal import ESCROW, SUPPLY, Entry, balances

SCHEMA = 1
COMMODITY = "FEDCOIN"
_SHORT = 16

Name = Callable[[str], str | None]
"""What people call an address; None for a stranger."""


def to_csv(journal: Iterable[Entry], name: Name) -> str:
    """One line a posting, with what the account holds after it."""
    held: dict[str, int] = {}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("height", "time", "kind", "about", "name", "account", "amount", "balance"))
    for entry in journal:
        for posting in entry.postings:
            held[posting.account] = held.get(posting.account, 0) + posting.micro
            amounts = _decimal(posting.micro), _decimal(held[posting.account])
            who = name(posting.account) or "", posting.account
            writer.writerow((entry.height, _time(entry), entry.kind, entry.about, *who, *amounts))
    return out.getvalue()


def to_json(journal: Iterable[Entry], name: Name) -> str:
    """One object: entries with their postings, and the balances at the end; amounts are decimal texts."""
    listed = list(journal)
    held = balances(listed)
    document = {
        "schema": SCHEMA,
        "entries": [_entry_json(entry) for entry in listed],
        "balances": [
            {"account": account, "name": name(account), "balance": _decimal(micro)}
            for account, micro in held.items()
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def to_beancount(journal: Iterable[Entry], name: Name) -> str:
    """A Beancount file: `bean-check` verifies that every entry balances and every account ends as asserted."""
    listed = list(journal)
    held = balances(listed)
    accounts, first, after = _accounts(held, name), _date(listed[0]), _date(listed[-1]) + timedelta(days=1)
    lines = ['option "title" "FedCoin"', f'option "operating_currency" "{COMMODITY}"', ""]
    lines += [f"{first} commodity {COMMODITY}", ""]
    for account in held:
        lines += [f"{first} open {accounts[account]} {COMMODITY}", *_address(account, '  address: "{}"')]
    for entry in listed:
        lines += ["", f'{_date(entry)} * "{entry.kind}" ^{entry.about}']
        lines += [f"  height: {entry.height}", f'  time: "{_time(entry)}"']
        lines += _postings(entry, accounts, "  ")
    # Beancount forgives a whole last digit in a balance assertion unless told otherwise: one micro too many.
    lines += [
        "",
        *(
            f"{after} balance {accounts[one]}  {_decimal(micro)} ~ 0 {COMMODITY}"
            for one, micro in held.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def to_hledger(journal: Iterable[Entry], name: Name) -> str:
    """An hledger journal: `hledger check --strict` verifies declarations, sums and the balances at the end."""
    listed = list(journal)
    held = balances(listed)
    accounts = _accounts(held, name)
    lines = [f"commodity 1000.000000 {COMMODITY}", ""]
    for account in held:
        lines += [f"account {accounts[account]}", *_address(account, "  ; address:{}")]
    for entry in listed:
        lines += ["", f"{_date(entry)} * {entry.kind}"]
        lines += [f"    ; about:{entry.about}, height:{entry.height}, time:{_time(entry)}"]
        lines += _postings(entry, accounts, "    ")
    lines += ["", f"{_date(listed[-1])} * balances"]
    lines += [f"    {accounts[one]}  {_coins(0)} == {_coins(micro)}" for one, micro in held.items()]
    return "\n".join(lines) + "\n"


FORMATS: Mapping[str, Callable[[Iterable[Entry], Name], str]] = {
    "csv": to_csv,
    "json": to_json,
    "beancount": to_beancount,
    "hledger": to_hledger,
}


def _entry_json(entry: Entry) -> dict[str, Any]:
    postings = [{"account": one.account, "amount": _decimal(one.micro)} for one in entry.postings]
    fields = {"height": entry.height, "time_ms": entry.time_ms, "kind": entry.kind, "about": entry.about}
    return fields | {"postings": postings}


def _accounts(held: Iterable[str], name: Name) -> dict[str, str]:
    """An account's name in a journal, by what it is on the ledger."""
    own = {ESCROW: "Assets:Escrow", SUPPLY: "Equity:Supply"}
    return {account: own.get(account) or f"Assets:{_word(account, name(account))}" for account in held}


def _word(address: str, name: str | None) -> str:
    """A component that both tools allow: it begins with a capital, and holds letters, digits and hyphens."""
    word = re.sub(r"[^A-Za-z0-9-]", "-", name or "account").lstrip("-") or "account"
    return f"{word[0].upper()}{word[1:]}-{address[:_SHORT]}"


def _address(account: str, line: str) -> list[str]:
    return [] if account in {ESCROW, SUPPLY} else [line.format(account)]


def _postings(entry: Entry, accounts: Mapping[str, str], indent: str) -> list[str]:
    return [f"{indent}{accounts[one.account]}  {_coins(one.micro)}" for one in entry.postings]


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
