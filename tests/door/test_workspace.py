"""The door against a real network: a workspace from Python, two miners as processes, and what the program says."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from live import processes_in, wait_until
from shell import fedcoin as program
from toys import MODEL, brute_force, toy

import fedcoin
from benchmarks.network import free_ports
from fedcoin_cli.application.books.task_report import as_points

CLIENTS, PRICE = 3, 100
EXAMPLES = [10, 20, 30]


@dataclass(frozen=True, slots=True)
class Market:
    """A network whose miners run, and a round that was published in it while `progress` was noted."""

    workspace: fedcoin.Workspace
    settlement: fedcoin.Settlement
    progress: list[fedcoin.Progress]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    root = tmp_path_factory.mktemp("door") / "net"
    settings = {"network.port": free_ports(4), "task.runtime": 1}
    workspace = fedcoin.Workspace.create(root, miners=2, clients=CLIENTS, settings=settings)
    progress: list[fedcoin.Progress] = []
    with workspace.mining():
        test, updates = toy(CLIENTS)
        folder = workspace.make_round(MODEL, test, updates, examples=EXAMPLES)
        settlement = workspace.publish(folder, price=PRICE, progress=progress.append)
        # The other miner writes the last block a moment later.
        wait_until(lambda: len({path.read_bytes() for path in root.glob("miners/*/chain.jsonl")}) == 1)
        yield Market(workspace, settlement, progress)
    assert not processes_in(root)


def test_values_are_those_of_the_definition(market: Market) -> None:
    """What miners agree on for arrays given in Python is what plain NumPy says, and `shapley` without any ledger."""
    test, updates = toy(CLIENTS)
    assert market.settlement.exact
    assert market.settlement.error == 0
    assert list(market.settlement.values) == brute_force(test, updates, EXAMPLES)
    assert market.settlement.values == fedcoin.shapley(MODEL, test, updates, examples=EXAMPLES).fractions


def test_numbers_are_those_of_the_program(market: Market) -> None:
    """`fedcoin show --json` prints the values and payments that Python has, to the last decimal."""
    found, root = market.settlement, market.workspace.path
    shown = program("show", found.task[:16], "--json", folder=root).json
    assert [line["shapley"] for line in shown["clients"]] == [as_points(value) for value in found.values]
    assert [Decimal(line["paid"]) for line in shown["clients"]] == list(found.payments)
    assert (shown["state"], shown["height"]) == (found.state, found.height)
    assert Decimal(shown["server"]["paid"]) == found.server
    assert [Decimal(line["paid"]) for line in shown["miners"]] == list(found.miners.values())
    assert found.clients == ("client-001", "client-002", "client-003")


def test_every_coin_is_paid_once(market: Market) -> None:
    """Payments, the server's, the miners' and what returned are the price exactly; rows give them as floats."""
    found = market.settlement
    assert found.settled
    paid = sum(found.payments) + found.server + sum(found.miners.values()) + found.returned
    assert paid == found.price == PRICE
    assert found.rows()[0] == {
        "client": "client-001",
        "value_pp": float(found.values[0]),
        "paid": float(found.payments[0]),
    }
    assert market.workspace.balance("client-001") == found.payments[0]


def test_progress_is_told(market: Market) -> None:
    """Who waits hears how the task stands, in words and numbers."""
    assert market.progress
    assert all(one.title and 0 <= one.done <= one.total for one in market.progress)


def test_the_ledger_remembers(market: Market) -> None:
    """The same numbers are read from the ledger later, by the beginning of the task's id, in another `Workspace`."""
    again = fedcoin.Workspace.open(market.workspace.path)
    assert again.tasks() == (market.settlement.task,)
    assert again.task(market.settlement.task[:10]) == market.settlement
    assert again.genesis == market.workspace.genesis


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4])
def test_an_audit_says_what_the_program_says(market: Market, level: int) -> None:
    """An audit from Python reaches its level and sees the height, the head and the counts that the program sees."""
    found = market.workspace.audit(level=level, **({"sample": None} if level == 4 else {}))
    assert found
    assert found.ok
    assert found.check() is found
    assert found.level == found.asked_level == level
    words = ["--all"] if level == 4 else []
    shown = program("audit", "--level", str(level), *words, "--json", folder=market.workspace.path).json
    assert (shown["height"], shown["head"], shown["level"]) == (found.height, found.head, found.level)
    assert list(found.skipped) == shown["skipped"]
    if level == 4:
        assert shown["recomputed"]["counts"] == found.recomputed.counts > 0
    if level >= 2:
        assert sum(found.balances.values()) == 1_000_000


def test_an_audit_finds_what_was_altered(market: Market, tmp_path: Path) -> None:
    """One changed digit in a copied ledger is a finding, and `check` raises it; so is a ledger of another network."""
    ledger = market.workspace.path / "miners" / "1" / "chain.jsonl"
    lines = ledger.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b'"time_ms":1', b'"time_ms":2', 1)
    copy = tmp_path / "chain.jsonl"
    copy.write_bytes(b"\n".join(lines))
    found = fedcoin.audit(copy)
    assert not found
    assert found.findings[0].code.startswith("E")
    with pytest.raises(fedcoin.LedgerInvalid, match=found.findings[0].code):
        found.check()
    assert not fedcoin.audit(ledger, genesis="0" * 64)


def test_level_4_without_files_is_said(market: Market, tmp_path: Path) -> None:
    """A ledger alone cannot be recomputed: level 3 is reached, and who wants 4 is told what is missing."""
    copy = tmp_path / "chain.jsonl"
    copy.write_bytes((market.workspace.path / "miners" / "1" / "chain.jsonl").read_bytes())
    found = fedcoin.audit(tmp_path, level=4)
    assert found.ok
    assert (found.level, found.asked_level) == (3, 4)
    with pytest.raises(fedcoin.RoundFilesInvalid, match="0 of 1 results could be recomputed"):
        found.check()
    assert fedcoin.audit(tmp_path, level=4, files=[market.workspace.path / "store"]).check().level == 4
    with pytest.raises(fedcoin.FedCoinError, match="no such folder"):
        fedcoin.audit(tmp_path, level=4, files=[tmp_path / "nowhere"])


def test_a_payment_is_proven_to_anybody(market: Market, tmp_path: Path) -> None:
    """A proof convinces whoever knows the genesis, in Python and on the command line, and nobody of another network."""
    proof = market.workspace.prove(market.settlement.task[:16])
    found = fedcoin.verify(proof, market.workspace.genesis)
    clients = [one.amount for one in found.payments if one.purpose.startswith("client")]
    assert clients == [amount for amount in market.settlement.payments if amount]
    path = tmp_path / "proof.json"
    path.write_bytes(proof)
    assert fedcoin.verify(path, market.workspace.genesis) == found
    genesis = market.workspace.genesis
    shown = program("verify", str(path), "--genesis", genesis, "--json", folder=tmp_path).json
    assert [Decimal(one["amount"]) for one in shown["payments"]] == [one.amount for one in found.payments]
    assert (shown["height"], shown["block"]) == (found.height, found.block)
    with pytest.raises(fedcoin.FedCoinError, match="another network"):
        fedcoin.verify(proof, "0" * 64)
    forged = json.loads(proof)
    forged["transaction"]["outcome"]["pay"]["server"] += 1
    with pytest.raises(fedcoin.FedCoinError):
        fedcoin.verify(json.dumps(forged).encode() + b"\n", genesis)


def test_coins_are_paid(market: Market) -> None:
    """A payment from Python is final when the call returns, and can be proven."""
    before = market.workspace.balance("server")
    name = market.workspace.pay("server", 0.25)
    wait_until(lambda: market.workspace.balance("server") == before + Decimal("0.25"))
    (payment,) = fedcoin.verify(market.workspace.prove(name), market.workspace.genesis).payments
    assert (payment.purpose, payment.amount) == ("transfer", Decimal("0.25"))


def test_what_cannot_be_published_is_refused(market: Market) -> None:
    """Terms out of range, a price above the balance and bad arrays are FedCoinErrors; no folder stays behind."""
    workspace = market.workspace
    rounds = sorted(workspace.path.glob("rounds/*"))
    with pytest.raises(fedcoin.FedCoinError, match="balance") as error:
        workspace.publish(price=2_000_000)
    assert error.value.exit_code == 14
    with pytest.raises(fedcoin.FedCoinError) as error:
        workspace.publish(price=-1)
    assert error.value.where == "price="
    with pytest.raises(fedcoin.FedCoinError, match=r"task\.prize"):
        workspace.publish(settings={"task.prize": 3})
    with pytest.raises(fedcoin.FedCoinError, match="list is no value") as error:
        workspace.publish(baseline=[[0.0]])  # type: ignore[arg-type]
    assert error.value.where == "baseline="
    with pytest.raises(fedcoin.FedCoinError, match="tells how far"):
        workspace.publish(difficulty="auto")
    test, updates = toy(CLIENTS)
    with pytest.raises(fedcoin.RoundFilesInvalid) as error:
        workspace.make_round(MODEL, test, updates[:1])
    assert error.value.where == "updates"
    with pytest.raises(fedcoin.RoundFilesInvalid, match="median"):
        workspace.make_round(MODEL, test, updates, aggregation="median")
    assert sorted(workspace.path.glob("rounds/*")) == rounds


def test_a_workspace_is_made_once(market: Market, tmp_path: Path) -> None:
    """Where one stands none is made, where none stands none is opened, and a wrong setting makes nothing."""
    with pytest.raises(fedcoin.FedCoinError, match=r"is a \w+ here already"):
        fedcoin.Workspace.create(market.workspace.path)
    with pytest.raises(fedcoin.FedCoinError, match="no FedCoin workspace"):
        fedcoin.Workspace.open(tmp_path)
    with pytest.raises(fedcoin.FedCoinError):
        fedcoin.Workspace.create(tmp_path / "new", miners=0)
    assert not (tmp_path / "new").exists()


def test_without_miners_nothing_is_published(tmp_path: Path) -> None:
    """Where no miner runs the error says so and how they are started; the round stays as it was."""
    settings = {"network.port": free_ports(4)}
    workspace = fedcoin.Workspace.create(tmp_path / "idle", miners=2, clients=2, settings=settings)
    test, updates = toy(2)
    folder = workspace.make_round(MODEL, test, updates)
    with pytest.raises(fedcoin.FedCoinError) as error:
        workspace.publish(folder, price=1)
    assert error.value.exit_code == 7
    assert "fedcoin mine" in error.value.hint
    assert (folder / "round.json").is_file()
