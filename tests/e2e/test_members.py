"""Strangers on three addresses of this machine: one network, a client on its own host, a successor, sealed keys."""

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from live import free_ports, processes_in, wait_until
from rounds import make_round
from shell import Said, fedcoin

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


def test_strangers_share_a_network_and_its_successor(tmp_path: Path, words: tuple[str, str]) -> None:
    """Three hosts join one network, clients sign on theirs, a round settles, a new roster takes the money over.

    Keys of one miner and one client are sealed. The client reads its payment from its own verified copy, and spends it
    on the successor chain, where a host mines that was not there before. The seam is audited from both sides.
    """
    founder, ben, cleo, dan = miners = [tmp_path / name for name in ("founder", "ben", "cleo", "dan")]
    alice, bob = clients = [tmp_path / name for name in ("alice", "bob")]
    port = free_ports(4)
    with hosts(*miners, *(tmp_path / f"{one.name}-2" for one in miners)):
        entries = [
            entry(founder, HOSTS[0], port),
            entry(ben, HOSTS[1], port, *words),
            entry(cleo, HOSTS[2], port),
        ]
        roster = tmp_path / "roster.toml"
        roster.write_text("\n".join(entries))
        say(founder, "init", "--roster", str(roster))
        genesis = founder / "genesis.json"
        for folder in (ben, cleo):
            say(folder, "init", "--join", str(genesis))
        for folder in clients:
            folder.mkdir()
            say(folder, "init", "--join", str(genesis), *(words if folder is alice else ()))
        say(founder, "mine", "--detach")
        say(ben, "mine", "--detach", *words)
        say(cleo, "mine", "--detach")

        # A round of two real clients.
        trained = learnt(tmp_path / "source")
        model, test = str(trained / "model.json"), str(trained / "test.safetensors")
        call = Path(say(founder, "round", "call", "--model", model, "--test", test, "--json").json["round"])
        weights = [trained / f"client-00{number}.safetensors" for number in (1, 2)]
        signed = [client(alice, call, weights[0], *words), client(bob, call, weights[1])]
        say(founder, "round", "gather", *map(str, signed))
        published = say(founder, "publish", "--price", "100", *QUICK, "--json").json
        assert published["state"] == "SETTLED"
        addresses = [Workspace(folder).address("requester") for folder in clients]
        paid = dict(zip(published["clients"], map(Decimal, published["payments"]), strict=True))
        assert set(paid) == set(addresses)
        assert sum(paid.values()) > 0

        # Clients need coins to be served; alice then reads what she was paid in her own copy.
        say(founder, "pay", addresses[0], "5")
        synced = say(alice, "sync", *words, "--json").json
        assert balance(alice, "requester") == paid[addresses[0]] + 5
        assert "audit ok" in say(alice, "audit").out
        assert synced["height"] == say(founder, "balance", "--json").json["height"]

        # ben leaves, dan comes.
        for folder in (founder, ben, cleo):
            say(folder, "stop")
        second = free_ports(2)
        late = [entry(dan, HOSTS[1], second), *(entries[0], entries[2])]
        roster.write_text("\n".join(late))
        new = tmp_path / "founder-2"
        say(tmp_path, "init", str(new), "--from", str(founder), "--roster", str(roster))
        say(dan, "init", "--join", str(new / "genesis.json"))
        for folder in (cleo, alice):
            say(tmp_path, "init", f"{folder}-2", "--join", str(new / "genesis.json"), "--from", str(folder))
        for folder in (new, dan, tmp_path / "cleo-2"):
            say(folder, "mine", "--detach")
        before = balance(new, "server")
        say(tmp_path / "alice-2", "pay", Workspace(new).address("server"), "4", *words)
        wait_until(lambda: balance(new, "server") == before + 4)
        assert "audit ok" in say(new, "audit", "--previous", str(founder)).out
        assert "audit ok" in say(tmp_path / "alice-2", "audit", "--previous", str(alice)).out
        for folder in (new, dan, tmp_path / "cleo-2"):
            say(folder, "stop")
