import csv
import io
import json
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from chains import COIN, ChainMaker, key
from places import refunded_round, settled_round

from ledger_store.export import to_beancount, to_csv, to_hledger, to_json
from ledger_store.journal import ESCROW, SUPPLY, Entry, balances, entries

BEAN_CHECK = shutil.which("bean-check", path=str(Path(sys.executable).parent)) or shutil.which("bean-check")
HLEDGER = shutil.which("hledger")
NAMES = {
    key("client-1").address: "client-001",
    key("client-2").address: "Client-001",
    key("server").address: "é 1",
}


@pytest.fixture(scope="module")
def maker() -> ChainMaker:
    """Every way in which coins move: paid, refunded, cancelled, transferred, still in escrow, and for nothing."""
    maker = ChainMaker()
    settled_round(maker)
    refunded_round(maker)
    other = key("client-1")
    maker.add(maker.transfer(maker.requester, other.address, 20 * COIN + 1))
    maker.add(maker.transfer(maker.requester, maker.requester.address, COIN))
    settled_round(maker, price_micro=0, train_micro=0, computation_micro=0, shapley_micro=0)
    maker.add(maker.task())
    queued = maker.task(other)
    maker.add(queued)
    maker.add(maker.cancel(other, queued.id))
    return maker


@pytest.fixture
def journal(maker: ChainMaker) -> list[Entry]:
    """Its entries."""
    return list(entries(maker.genesis, maker.blocks))


def test_every_coin_is_in_the_journal(maker: ChainMaker, journal: list[Entry]) -> None:
    """Entries sum to zero each, and at any height to what the state holds: balances, escrow and the supply."""
    assert all(sum(one.micro for one in entry.postings) == 0 for entry in journal)
    held, state = balances(journal), maker.tip.state
    assert held.pop(SUPPLY) == -maker.genesis.supply_micro
    assert held.pop(ESCROW) == sum(record.escrow_micro for record in state.tasks.values()) == 11 * COIN
    assert {account: micro for account, micro in held.items() if micro} == {
        account: micro for account, micro in state.balances.items() if micro
    }
    kinds = [entry.kind for entry in journal]
    ended = ["task", "settled", "task", "refunded", "transfer", "task", "settled", "task", "task", "cancel"]
    assert kinds == ["genesis", *ended]


def test_csv_counts_along(maker: ChainMaker, journal: list[Entry]) -> None:
    """The last balance of every account in the CSV is what the state holds."""
    last = {row["account"]: row for row in csv.DictReader(io.StringIO(to_csv(journal, NAMES.get)))}
    for address, micro in maker.tip.state.balances.items():
        assert address not in last or Decimal(last[address]["balance"]) * COIN == micro
    assert last[key("client-1").address]["name"] == "client-001"
    assert last[ESCROW]["balance"] == "11.000000"


def test_json_holds_the_journal(journal: list[Entry]) -> None:
    """The JSON holds every posting, and balances that are their sums."""
    data = json.loads(to_json(journal, NAMES.get))
    sums: dict[str, Decimal] = {}
    for entry in data["entries"]:
        for posting in entry["postings"]:
            sums[posting["account"]] = sums.get(posting["account"], Decimal(0)) + Decimal(posting["amount"])
    assert sums == {one["account"]: Decimal(one["balance"]) for one in data["balances"]}
    assert len(data["entries"]) == len(journal)


def run(command: list[str | Path]) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.mark.skipif(BEAN_CHECK is None, reason="bean-check is not installed: pip install 'fedcoin[dev]'")
def test_beancount_agrees(journal: list[Entry], tmp_path: Path) -> None:
    """bean-check accepts the export, and refuses it with one micro changed in any posting or balance."""
    assert BEAN_CHECK is not None
    path, text = tmp_path / "books.beancount", to_beancount(journal, NAMES.get)
    path.write_text(text)
    assert run([BEAN_CHECK, path]) == 0
    for number in (0, -1):
        path.write_text(off_by_one(text, number))
        assert run([BEAN_CHECK, path]) != 0


@pytest.mark.skipif(HLEDGER is None, reason="hledger is not installed: apt-get install hledger")
def test_hledger_agrees(journal: list[Entry], tmp_path: Path) -> None:
    """hledger accepts the export under its strict checks, and refuses it with one micro changed anywhere."""
    assert HLEDGER is not None
    path, text = tmp_path / "books.journal", to_hledger(journal, NAMES.get)
    path.write_text(text)
    check: list[str | Path] = [HLEDGER, "check", "--strict", "-f", path]
    assert run(check) == 0
    for number in (0, -1):
        path.write_text(off_by_one(text, number))
        assert run(check) != 0


def off_by_one(text: str, number: int) -> str:
    """The text with one micro less in one of the amounts that are not zero."""
    amounts = re.finditer(r"(?:  |== )(\d+\.\d{6})(?=( ~ 0)? FEDCOIN$)", text, re.MULTILINE)
    found = [one for one in amounts if Decimal(one[1])][number]
    less = Decimal(found[1]) - Decimal("0.000001")
    return f"{text[: found.start(1)]}{less}{text[found.end(1) :]}"


def test_names_make_no_two_accounts_one(journal: list[Entry]) -> None:
    """Two addresses whose names differ only in a capital, or that hold foreign letters, stay two sound accounts."""
    opened = re.findall(r"open (\S+) FEDCOIN", to_beancount(journal, NAMES.get))
    assert len(set(opened)) == len(opened) == len(balances(journal))
    assert all(re.fullmatch(r"(Assets|Equity):[A-Z0-9][A-Za-z0-9-]*", name) for name in opened)
