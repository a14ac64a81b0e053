"""The requester's side against two real miners: publishing, paying, cancelling, and what is refused."""

import json
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
import pytest
from live import program, runtime_of, wait_until, workspace_of
from rounds import SHAPES, SIDE, make_round, write_round
from shell import Said, fedcoin

from fedcoin_cli.application.requester.publication import Publication
from fedcoin_cli.application.requester.requester import Requester
from fedcoin_cli.application.rounds.files import read_round
from fedcoin_cli.application.rounds.terms import AskedTerms, fresh_nonce
from fedcoin_cli.application.workspace.configuration import Given, load
from fedcoin_cli.application.workspace.workspace import REQUESTER, Workspace, client_name
from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.learning.model.tensorfile import TensorFile
from fedcoin_cli.learning.model.weights import write_update
from ledger_store.base.canonical import digest
from ledger_store.base.errors import ConsensusFailure, RoundFilesInvalid
from ledger_store.base.words import TaskState
from ledger_store.transaction import sign_update

CLIENTS, MANY, IMAGES, PRICE = 3, 16, 60, 1000


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Two running miners that sample; round 1 has many clients, round 2 so few that its values become exact."""
    root = tmp_path_factory.mktemp("publish") / "net"
    sampled = ("--clients", str(MANY), "--set", "mining.estimator=balanced", "--set", "task.runtime=1")
    with workspace_of(root, 2, *sampled) as workspace:
        make_round(workspace, MANY, IMAGES)
        make_round(workspace, CLIENTS, IMAGES)
        for number in (1, 2):
            runtime_of(workspace).start(number)
        wait_until(lambda: fedcoin("status", "--json", folder=root).json["reachable"] == 2)
        yield workspace


def say(network: Workspace, *arguments: str) -> Said:
    return fedcoin(*arguments, folder=network.root, timeout_s=180)


def height(network: Workspace) -> int:
    return int(say(network, "balance", "--json").json["height"])


def balance(network: Workspace, who: str) -> Decimal:
    return Decimal(say(network, "balance", who, "--json").json["balances"][0]["balance"])


def counts(folder: Path) -> dict[frozenset[int], int]:
    """u(S) of a small round by plain averaging, in float64."""
    test = TensorFile(folder / "test.safetensors")
    pixels, labels = test.read("x").reshape(IMAGES, SIDE * SIDE).astype(np.float64), test.read("y")
    updates = []
    for number in range(1, CLIENTS + 1):
        file = TensorFile(folder / f"{client_name(number)}.safetensors")
        updates.append([file.read(f"{index:03d}").astype(np.float64) for index in range(len(SHAPES))])
    found = {frozenset[int](): 0}
    for size in range(1, CLIENTS + 1):
        for members in combinations(range(CLIENTS), size):
            weights = [
                np.mean([updates[one][layer] for one in members], axis=0) for layer in range(len(SHAPES))
            ]
            hidden = np.maximum(pixels @ weights[0] + weights[1], 0)
            right = (hidden @ weights[2] + weights[3]).argmax(axis=1) == labels
            found[frozenset(members)] = int(right.sum())
    return found


def shapley(folder: Path) -> list[float]:
    """The definition, in percentage points."""
    value = counts(folder)
    return [
        sum(
            100 / IMAGES / CLIENTS / comb(CLIENTS - 1, len(rest)) * (value[rest | {one}] - value[rest])
            for rest in value
            if one not in rest
        )
        for one in range(CLIENTS)
    ]


def test_a_published_round_is_settled_paid_and_audited(network: Workspace) -> None:
    """Values are the definition's, payments sum to the price and follow the values, and every reader agrees."""
    before = balance(network, "server")
    said = say(network, "publish", "--json")
    assert said.code == 0, said.err
    data = said.json
    values = [float(one["shapley"]) for one in data["clients"]]
    # For three clients whole squares hold all rankings: only the last, partial square is off.
    assert values == pytest.approx(shapley(network.latest_round()), abs=0.02)
    payments = [Decimal(one["paid"]) for one in data["clients"]]
    miners = {one["miner"]: Decimal(one["paid"]) for one in data["miners"]}
    assert sum(payments) == Decimal("0.7") * PRICE
    assert sum(miners.values()) == Decimal("0.2") * PRICE
    assert [float(paid) for paid in payments] == pytest.approx(
        [700 * max(0, value) / sum(max(0, one) for one in values) for value in values], abs=0.01
    )
    assert data["winner"] in network.genesis().roster
    assert 0 <= float(data["distance"]) <= float(data["difficulty"])
    assert 0 <= data["seconds_not_mining"] <= data["seconds"]
    assert balance(network, "server") - before == Decimal("0.1") * PRICE
    shown = say(network, "show", data["task"], "--json").json
    assert {key: data[key] for key in shown if key != "schema"} == {
        key: shown[key] for key in shown if key != "schema"
    }
    assert "audit ok" in say(network, "audit").out


def test_published_for_people(network: Workspace) -> None:
    """Without --json one table shows clients, values and payments, then winner and seconds; progress only with -v."""
    said = say(network, "publish", "--price", "12.345678")
    assert said.code == 0
    assert re.fullmatch(r"about [\d,]+ coalitions fit into 1 s of mining [^\n]+ will be exact\n", said.err)
    for words in ("client-003", "SV (pp)", "winner", "12.345678", "not mining", "fedcoin audit"):
        assert words in said.out


def test_publishing_again_and_again(network: Workspace) -> None:
    """--repeat publishes one task after the other, and --json collects them."""
    said = say(network, "publish", "--repeat", "2", "--price", "0", "--json")
    assert said.code == 0, said.err
    assert [task["state"] for task in said.json["tasks"]] == ["SETTLED", "SETTLED"]
    assert len({task["task"] for task in said.json["tasks"]}) == 2
    assert {one["paid"] for task in said.json["tasks"] for one in task["clients"]} == {"0.000000"}


def test_publishing_until_interrupted(network: Workspace) -> None:
    """--repeat 0 goes on until Ctrl-C, then answers with what was settled; the exit code is a signal's."""
    before = height(network)
    with program("publish", "--repeat", "0", "--price", "1", "--json", folder=network.root) as publishing:
        # The third task is published only after the second was seen to settle.
        wait_until(lambda: height(network) >= before + 7)
        publishing.send_signal(signal.SIGINT)
        out, err = publishing.communicate(timeout=60)
    assert publishing.returncode == 130, err
    tasks = json.loads(out)["tasks"]
    assert len(tasks) >= 2
    assert {task["state"] for task in tasks} == {"SETTLED"}
    wait_until(lambda: say(network, "balance", "--json").json["escrow"] == [])


def test_a_refunded_task(network: Workspace) -> None:
    """When nobody comes within D the price returns but for verified work, the answer says so, exit code 6."""
    said = say(network, "publish", "rounds/1", "--difficulty", "0", "--attempts", "1", "--json")
    assert said.code == 6
    assert (said.json["state"], said.json["winner"], said.json["exact"]) == ("REFUNDED", None, False)
    assert Decimal(said.json["returned"]) == Decimal("0.8") * PRICE
    told = json.loads(said.err.splitlines()[-1])
    assert "refunded" in told["error"]
    assert told["hint"]


def test_handing_over_and_cancelling(network: Workspace) -> None:
    """A task can be handed over without waiting; one that waits behind it can be cancelled, the other not."""
    patron, friend = network.key(REQUESTER), network.key("client-001")
    with Requester(network, patron) as requester, Requester(network, friend) as other:
        requester.pay(friend.address, 50 * 10**6)
        first = requester.hand_over(asked(network, price="10", runtime="10"))
        waiting = other.hand_over(asked(network, price="10", runtime="1"))
        wait_until(lambda: waiting in final_tasks(other))
        with pytest.raises(ConsensusFailure, match="unfinished task"):
            requester.publish(asked(network, price="10", runtime="1"))
        with pytest.raises(ConsensusFailure, match="only its requester"):
            requester.cancel(waiting)
        with pytest.raises(ConsensusFailure, match="OPEN"):
            requester.cancel(first)
        cancelled = say(network, "cancel", waiting[:12], "--key", "client-001", "--json")
        assert (cancelled.code, cancelled.json["task"]) == (0, waiting), cancelled.err
        wait_until(lambda: final_tasks(requester).get(first) == TaskState.SETTLED)
        assert final_tasks(requester)[waiting] == TaskState.CANCELLED
    assert say(network, "show", waiting, "--json").json["state"] == TaskState.CANCELLED


def test_who_knows_digests_alone_is_refused(network: Workspace) -> None:
    """A task of files that the miners have is none of theirs who never had them: they would be its parties. [P-6.27].

    Here it has all of another's call but the proof for its own account. (docs/adr/0050)
    """
    stranger, mine = network.key("client-002"), asked(network, price="0", runtime="1")
    with Requester(network, network.key(REQUESTER)) as requester:
        requester.publish(mine)
    sent = mine.task(network.address(REQUESTER), 1)
    call = replace(sent, sender=stranger.address, updates=())
    updates = tuple(
        sign_update(call, one.digest, one.examples, mine.keys[one.client], mine.genesis_id)
        for one in sent.updates
    )
    stolen = replace(mine, round=replace(mine.round, call=call, updates=updates))
    with Requester(network, stranger) as thief:
        with pytest.raises(RoundFilesInvalid, match="has not shown to have the files that its call names"):
            thief.publish(stolen)
        thief.publish(replace(mine, nonce=fresh_nonce()))


def asked(network: Workspace, **changes: str) -> Publication:
    """The round of many clients, to be sampled without end."""
    given = {f"task.{key}": value for key, value in changes.items()}
    given |= {"task.most-rankings": str(grid_up_to(10**6))}
    settings = load(None, {key: Given(value, "flag", key) for key, value in given.items()}, {}).settings
    terms = AskedTerms(settings, network.key("server").address)
    return Publication.of(network, read_round(network.round(1), network.genesis()), terms)


def final_tasks(requester: Requester) -> dict[str, str]:
    """The states of all unfinished tasks, and of those that ended meanwhile, as the miners have them now."""
    requester.connect()
    return {task: record.state for task, record in requester.records.items()}


def test_paying(network: Workspace) -> None:
    """A payment is final when the command ends; amounts, funds and names are refused with their exit codes."""
    before = balance(network, "server")
    said = say(network, "pay", "server", "0.25", "--json")
    assert said.code == 0, said.err
    assert (said.json["amount"], said.json["height"]) == ("0.25", height(network))
    assert balance(network, "server") - before == Decimal("0.25")
    reached = height(network)
    for arguments, code in (
        (("server", "1.2345678"), 2),
        (("server", "0.000001"), 3),
        (("server", "2000000"), 14),
        (("nobody", "1"), 11),
        (("server", "1", "--key", "nobody"), 9),
    ):
        refused = say(network, "pay", *arguments)
        assert (refused.code, refused.out) == (code, ""), refused.err
        assert "\n\nhint: " in refused.err
    assert height(network) == reached


def test_a_requester_on_another_machine(network: Workspace, tmp_path: Path) -> None:
    """Keys, the genesis and the peers are enough: it catches up, sends the files, and the task settles."""
    root = tmp_path / "elsewhere"
    (root / "keys").mkdir(parents=True)
    clients = [f"keys/{client_name(number)}.key" for number in range(1, CLIENTS + 1)]
    for name in ("genesis.json", "peers.toml", "keys/requester.key", *clients):
        shutil.copy(network.root / name, root / name)
    folder = make_round(network, CLIENTS, IMAGES, seed=7)
    folder = folder.rename(root / "round")
    server = network.key("server").address
    terms = ("--runtime", "1", "--price", "10", "--set", f"task.server={server}", "-v", "--json")
    said = fedcoin("publish", "round", *terms, folder=root, timeout_s=180)
    assert said.code == 0, said.err
    assert said.json["state"] == "SETTLED"
    assert "sending files" in said.err
    files = [path for path in folder.iterdir() if path.name != "round.json"]
    assert all((network.store / digest(path.read_bytes())).is_file() for path in files)


def test_what_is_refused_before_anything_is_sent(network: Workspace) -> None:
    """A price above the balance, below zero or too exact, and a key that others can read: nothing reaches a miner."""
    reached = height(network)
    for arguments, code in (
        (("--price", "2000000"), 14),
        (("--price", "-1"), 2),
        (("--price", "1.2345678"), 2),
        (("--runtime", "3601"), 2),
        (("--payment-error", "x"), 2),
        (("--no-wait", "--repeat", "2"), 2),
        (("rounds/99",), 13),
    ):
        refused = say(network, "publish", *arguments)
        assert (refused.code, refused.out) == (code, ""), refused.err
        assert "hint: " in refused.err
    path = network.key_file("requester")
    path.chmod(0o644)
    try:
        assert say(network, "publish").code == 9
    finally:
        path.chmod(0o600)
    assert height(network) == reached


def test_files_that_the_miners_refuse(network: Workspace, tmp_path: Path) -> None:
    """A huge update makes rounding decide: the miners name the client, exit code 13, and nothing is locked."""
    folder = make_round(network, CLIENTS, IMAGES, seed=5)
    try:
        write_update(folder / "client-002.safetensors", [np.full(shape, 1e6, np.float32) for shape in SHAPES])
        write_round(folder, network, [network.key(client_name(n)) for n in (1, 2, 3)], IMAGES)
        said = say(network, "publish", str(folder))
    finally:
        folder.rename(tmp_path / "refused")
    assert (said.code, said.out) == (13, "")
    assert "client 2" in said.err
    assert json.loads(say(network, "balance", "--json").out)["escrow"] == []


def test_status_of_running_miners(network: Workspace) -> None:
    """status names both miners, as far as the ledger here."""
    data = say(network, "status", "--json").json
    assert (data["reachable"], data["quorum"], data["offline_allowed"]) == (2, 2, 0)
    assert all(one["reachable"] and one["height"] >= data["height"] for one in data["miners"])
    assert "2 of 2 miners up" in say(network, "status").out
