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

from ledger_store.bookkeeping.export import to_beancount, to_csv, to_hledger, to_json
from ledger_store.bookkeeping.journal import (
    COINS,
    ESCROW,
    LOCKED,
    MINING,
    OPENING,
    RECEIVED,
    SENT,
    SERVING,
    SUPPLY,
    TASKS,
    TRAINING,
    Entry,
    balances,
    entries,
    excerpt,
)
from ledger_store.transaction import Transfer

BEAN_CHECK = shutil.which("bean-check", path=str(Path(sys.executable).parent)) or shutil.which("bean-check")
HLEDGER = shutil.which("hledger")
NAMES: dict[str, str] = {
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


def test_every_book_stands_alone(maker: ChainMaker, journal: list[Entry]) -> None:
    """Each party's lines sum to zero in every entry; its coins are what the state holds."""
    held: dict[tuple[str, str], int] = {}
    for entry in journal:
        for party in {line.party for line in entry.lines}:
            assert sum(line.micro for line in entry.lines if line.party == party) == 0
        for line in entry.lines:
            held[line.party, line.account] = held.get((line.party, line.account), 0) + line.micro
    for address, micro in maker.tip.state.balances.items():
        assert held.get((address, COINS), 0) == micro
    requester, client = maker.requester.address, key("client-1").address
    assert held[requester, LOCKED] == 11 * COIN
    assert held[requester, TASKS] == 10 * COIN
    assert held[requester, SENT] == -held[client, RECEIVED] == 20 * COIN + 1
    earned = sum(
        held.get((address, account), 0) for address, account in held if account in {TRAINING, SERVING, MINING}
    )
    assert earned == -10 * COIN


def test_csv_counts_along(maker: ChainMaker, journal: list[Entry]) -> None:
    """The last balance of everybody's coins in the CSV is what the state holds."""
    rows = list(csv.DictReader(io.StringIO(to_csv(journal, NAMES.get))))
    last = {row["address"]: row for row in rows if row["account"] == COINS}
    for address, micro in maker.tip.state.balances.items():
        assert address not in last or Decimal(last[address]["balance"]) * COIN == micro
    assert last[key("client-1").address]["name"] == "client-001"
    sent = {one.id for block in maker.blocks for one in block.transactions if isinstance(one, Transfer)}
    assert {row["transaction"] for row in rows if row["kind"] == "transfer"} < sent


def test_json_holds_the_journal(journal: list[Entry]) -> None:
    """The JSON holds every line, and balances that are the sums of coins."""
    data = json.loads(to_json(journal, NAMES.get))
    sums: dict[str, Decimal] = {}
    for entry in data["entries"]:
        for line in entry["lines"]:
            if line["account"] == COINS:
                sums[line["address"]] = sums.get(line["address"], Decimal(0)) + Decimal(line["amount"])
    assert sums == {one["address"]: Decimal(one["balance"]) for one in data["balances"]}
    assert len(data["entries"]) == len(journal)


def test_a_period_opens_with_what_was(maker: ChainMaker, journal: list[Entry]) -> None:
    """One party's entries of a period, after what it held before; both parts are the whole, and each sums to zero."""
    client, middle = key("client-1").address, maker.blocks[4].header.time_ms
    before, after = (excerpt(journal, client, *period) for period in ((None, middle), (middle, None)))
    assert {line.party for entry in (*before, *after) for line in entry.lines} == {client}
    assert [entry.kind for entry in before] == ["settled"]
    assert [entry.kind for entry in after] == ["opening balances", "transfer", "task", "cancel"]
    earned = sum(line.micro for entry in before for line in entry.lines if line.account == COINS)
    assert {line.account: line.micro for line in after[0].lines} == {COINS: earned, OPENING: -earned}
    assert excerpt(journal, client, None, 0) == ()


@pytest.mark.skipif(HLEDGER is None, reason="hledger is not installed: apt-get install hledger")
def test_hledger_reads_a_book(journal: list[Entry], tmp_path: Path) -> None:
    """A member's income statement, balance sheet and register name what was earned, held and with whom."""
    assert HLEDGER is not None
    path = tmp_path / "mine.journal"
    me = key("client-3").address
    path.write_text(to_hledger(excerpt(journal, me, None, None), {**NAMES, me: "me"}.get))
    told = [
        subprocess.run([HLEDGER, "-f", path, *words], capture_output=True, text=True, check=True).stdout
        for words in (["is"], ["bs"], ["reg", "-w", "120"])
    ]
    assert "Income:Me:Training || 2.356436 FEDCOIN" in told[0]
    assert "Assets:Me:Coins || 2.356436 FEDCOIN" in told[1]
    assert len(told[2].splitlines()) == 2
    assert "settled: task" in told[2]


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
    places = {(line.party, line.account) for entry in journal for line in entry.lines}
    assert len(set(opened)) == len(opened) == len(places)
    word = "[A-Z0-9][A-Za-z0-9-]*"
    assert all(re.fullmatch(rf"(Assets|Equity|Income|Expenses):{word}:{word}", name) for name in opened)
