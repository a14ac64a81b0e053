"""Strangers on three addresses of this machine: one network, a client on its own host, a successor, sealed keys."""

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from live import processes_in, wait_until
from rounds import make_round
from shell import Said, fedcoin

from benchmarks.network import free_ports
from fedcoin_cli.application.workspace.workspace import Workspace

HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
QUICK = ("--set", "task.runtime=1", "--set", "mining.estimator=exact")


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, str]:
    """The option that names a passphrase."""
    path = tmp_path / "words"
    path.write_text("correct horse battery staple\n")
    path.chmod(0o600)
    return "--passphrase-file", str(path)


def say(folder: Path, *arguments: str) -> Said:
    """Run a command that must end well."""
    said = fedcoin(*arguments, folder=folder, timeout_s=240)
    assert said.code == 0, said.err
    return said


@contextmanager
def hosts(*roots: Path) -> Iterator[None]:
    """Folders that stand for hosts; whatever runs in them at the end is killed."""
    try:
        yield
    finally:
        for root in roots:
            for pid in processes_in(root):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(processes_in, roots)))


def entry(folder: Path, host: str, port: int, *options: str) -> str:
    """A person makes a key and tells what the founder needs."""
    folder.mkdir()
    say(folder, "key", "new", "miner-1", *options)
    text = say(folder, "key", "show", "miner-1", "--at", f"{host}:{port}").out
    return text.replace("[miner-1]", f"[{folder.name}]")


def client(folder: Path, call: Path, weights: Path, *options: str) -> Path:
    """A client that has trained these weights signs for them in a folder of its own."""
    for name in ("call.json", "model.json"):
        (folder / name).write_bytes((call / name).read_bytes())
    file = f"{folder.name}.safetensors"
    (folder / file).write_bytes(weights.read_bytes())
    say(folder, "update", "sign", file, "--examples", "50", "--key", "requester", *options)
    return folder


def learnt(folder: Path) -> Path:
    """A model, a test set and what two clients made of it, without TensorFlow."""
    folder.mkdir()
    say(folder, "init", "--clients", "2", "--miners", "1")
    return make_round(Workspace(folder), 2, 60)


def balance(folder: Path, who: str) -> Decimal:
    """What an account has, by the ledger that this folder knows."""
    return Decimal(say(folder, "balance", who, "--json").json["balances"][0]["balance"])


def meet(tmp_path: Path, miners: list[Path], clients: list[Path], words: tuple[str, str]) -> None:
    """Three miners and two clients on hosts of their own become one network, which runs.

    The second miner's and the first client's keys are sealed.
    """
    port, roster = free_ports(2), tmp_path / "roster.toml"
    seals: list[tuple[str, ...]] = [(), words, ()]
    entries = [
        entry(folder, host, port, *seal) for folder, host, seal in zip(miners, HOSTS, seals, strict=True)
    ]
    roster.write_text("\n".join(entries))  # an empty line between any two
    say(miners[0], "init", "--roster", str(roster))
    for folder, seal in zip(clients, (words, ()), strict=True):
        folder.mkdir()
        say(folder, "init", "--join", str(miners[0] / "genesis.json"), *seal)
    for folder, seal in zip(miners, seals, strict=True):
        if folder is not miners[0]:
            say(folder, "init", "--join", str(miners[0] / "genesis.json"))
        say(folder, "mine", "--detach", *seal)


def told(root: Path, secret: bytes) -> list[str]:
    """The processes of a host whose command line or environment tells a secret; there must be some to look at."""
    running = processes_in(root)
    assert running
    places = [Path(f"/proc/{pid}/{file}") for pid in running for file in ("cmdline", "environ")]
    return [str(place) for place in places if secret in place.read_bytes()]


def settle(founder: Path, clients: list[Path], source: Path, words: tuple[str, str]) -> dict[str, Decimal]:
    """Clients sign on their hosts, the founder publishes; returns who was paid what."""
    trained = learnt(source)
    model, test = str(trained / "model.json"), str(trained / "test.safetensors")
    asked = ("--model", model, "--test", test, "--price", "100", "--clients", "2", *QUICK)
    call = Path(say(founder, "round", "call", *asked, "--json").json["round"])
    weights = [trained / f"client-00{number}.safetensors" for number in (1, 2)]
    signed = [client(clients[0], call, weights[0], *words), client(clients[1], call, weights[1])]
    say(founder, "round", "gather", *map(str, signed))
    refused = fedcoin("publish", "--price", "50", folder=founder, timeout_s=240)
    assert (refused.code, "other terms than task.price = 50" in refused.err) == (2, True), refused.err
    published = say(founder, "publish", "--json").json
    assert published["state"] == "SETTLED"
    again = fedcoin("publish", folder=founder, timeout_s=240)
    assert (again.code, "this call has served" in again.err) == (6, True), again.err
    return {one["client"]: Decimal(one["paid"]) for one in published["clients"]}


def test_strangers_share_a_network_and_its_successor(tmp_path: Path, words: tuple[str, str]) -> None:
    """Three hosts join one network, clients sign on theirs, a round settles, a new roster takes the money over.

    Keys of one miner and one client are sealed. The client reads, explains and proves its payment from its own verified
    copy, and spends it on the successor chain, where a host mines that was not there before. The seam is audited from
    both sides.
    """
    founder, _, cleo, dan = miners = [tmp_path / name for name in ("founder", "ben", "cleo", "dan")]
    alice, bob = clients = [tmp_path / name for name in ("alice", "bob")]
    new, cleo_2, alice_2 = later = [tmp_path / f"{name}-2" for name in ("founder", "cleo", "alice")]
    with hosts(*miners, *later):
        meet(tmp_path, miners[:3], clients, words)
        assert not told(miners[1], Path(words[1]).read_bytes().strip())
        status = say(cleo, "status", "--wait", "60", "--json").json
        assert (status["asked_as"], status["reachable"], status["final"]) == ("miner-1", 3, True)
        coinless = fedcoin("status", "--key", "requester", folder=cleo)
        assert (coinless.code, "3 of them tell requester nothing" in coinless.out) == (7, True)
        paid = settle(founder, clients, tmp_path / "source", words)
        addresses = [Workspace(folder).address("requester") for folder in clients]
        assert set(paid) == set(addresses)
        assert sum(paid.values()) > 0

        # Clients need coins to be served.
        say(founder, "pay", addresses[0], "5")
        synced = say(alice, "sync", *words, "--json").json
        assert synced["height"] == say(founder, "balance", "--json").json["height"]
        assert balance(alice, "requester") == paid[addresses[0]] + 5
        assert "audit ok" in say(alice, "audit").out
        task = say(alice, "explain", "requester", "--json").json["task"]
        say(alice, "show", task, "--proof", "-o", "proof.json")
        assert addresses[0] in say(bob, "verify", str(alice / "proof.json"), "--json").out

        # ben leaves, dan comes.
        for folder in miners[:3]:
            say(folder, "stop")
        roster = tmp_path / "roster.toml"
        entries = roster.read_text().split("\n\n")
        roster.write_text("\n".join([entry(dan, HOSTS[1], free_ports(2)), entries[0], entries[2]]))
        say(tmp_path, "init", str(new), "--from", str(founder), "--roster", str(roster))
        say(dan, "init", "--join", str(new / "genesis.json"))
        for old, folder in ((cleo, cleo_2), (alice, alice_2)):
            say(tmp_path, "init", str(folder), "--join", str(new / "genesis.json"), "--from", str(old))
        running = (new, dan, cleo_2)
        for folder in running:
            say(folder, "mine", "--detach")
        before = balance(new, "server")
        say(alice_2, "pay", Workspace(new).address("server"), "4", *words)
        wait_until(lambda: balance(new, "server") == before + 4)
        across = say(new, "audit", "--previous", str(founder)).out
        assert "audit ok" in across
        assert re.search(
            r"previous .*audited; block \d+ is named; \d+ accounts begin with its final balances", across
        )
        assert "audit ok" in say(alice_2, "audit", "--previous", str(alice)).out
        for folder in running:
            say(folder, "stop")
