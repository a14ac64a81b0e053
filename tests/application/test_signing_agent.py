"""The signing agent, over its real socket: it signs updates of one network, and nothing else."""

import json
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chains import ChainMaker
from shell import fedcoin

from fedcoin_cli.application.federation.agent import SigningAgent
from fedcoin_cli.application.federation.signers import REQUEST_BYTES_MOST, AgentSigner, KeySigner
from fedcoin_cli.application.federation.telling import HERE, Told
from ledger_store.base.canonical import encode
from ledger_store.base.errors import FedCoinError
from ledger_store.base.names import Digest
from ledger_store.identity.keys import KeyPair, verify

MAKER = ChainMaker()
GENESIS = MAKER.genesis
KEY = KeyPair.generate()
WEIGHTS = Digest("ab" * 32)
CALL = MAKER.task()
TOLD = Told(GENESIS.id, CALL, HERE, "{}", "num-examples")


@contextmanager
def agent(folder: Path) -> Iterator[AgentSigner]:
    """An agent that runs, and who asks it."""
    with SigningAgent(KEY, GENESIS, folder / "s.sock", folder / "log.jsonl") as serving:
        thread = threading.Thread(target=serving.run)
        thread.start()
        try:
            yield AgentSigner(folder / "s.sock")
        finally:
            serving.stop()
            thread.join()


def said(folder: Path, request: bytes) -> Any:
    """What the agent answers to these bytes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(str(folder / "s.sock"))
        link.sendall(request)
        link.shutdown(socket.SHUT_WR)
        return json.loads(link.makefile("rb").readline())


def test_it_signs_what_the_ledger_takes(tmp_path: Path) -> None:
    """The signature is that of an update of this call, and the log names what was signed for."""
    with agent(tmp_path) as signer:
        update = signer.sign(TOLD, WEIGHTS, 7)
        assert stat.S_IMODE((tmp_path / "s.sock").stat().st_mode) == 0o600
    assert (update.client, update.digest, update.examples) == (KEY.address, WEIGHTS, 7)
    assert verify(KEY.address, "update", GENESIS.id, CALL.update_terms(update), update.signature)
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "call": CALL.call,
        "digest": WEIGHTS,
        "examples": 7,
        "price": CALL.price_micro,
    }
    assert not (tmp_path / "s.sock").exists()


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        ({"genesis": "00" * 32}, "another network"),
        ({"examples": 0}, "examples"),
        ({"examples": 10**12}, "this network counts from 1 to"),
        ({"digest": "xyz"}, "digest"),
        ({"call": {"to": "me", "amount_micro": 5}}, "call"),
        ({"purpose": "transfer"}, "purpose"),
    ],
)
def test_it_refuses_everything_else(tmp_path: Path, spoilt: dict[str, Any], words: str) -> None:
    """Another network, a count that none has, a transfer, one key too many: refused and logged, and it serves on."""
    asked = {"genesis": GENESIS.id, "call": CALL.called, "digest": WEIGHTS, "examples": 7}
    with agent(tmp_path) as signer:
        answer = said(tmp_path, encode(asked | spoilt) + b"\n")
        assert list(answer) == ["refused"]
        assert words in answer["refused"]
        assert signer.sign(TOLD, WEIGHTS, 7)
    assert "refused" in json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])


def test_it_signs_no_call_that_pays_another(tmp_path: Path) -> None:
    """A server that names the client in a group of its friend's gets no signature, from agent or key [P-5.20]."""
    friend, other = (KeyPair.generate().address for _ in range(2))
    with agent(tmp_path) as signer:
        for asks in (signer, KeySigner(KEY, GENESIS)):
            for groups, signs in (
                (((friend, KEY.address),), False),
                (((KEY.address, friend),), True),
                (((friend, other),), True),
            ):
                told = replace(TOLD, call=replace(CALL, groups=groups))
                if signs:
                    assert asks.sign(told, WEIGHTS, 7).client == KEY.address
                    continue
                with pytest.raises(FedCoinError, match="pays another address"):
                    asks.sign(told, WEIGHTS, 7)


@pytest.mark.parametrize(
    "line", [b"", b"hello\n", b"[" * 5000 + b"\n", b"x" * (REQUEST_BYTES_MOST + 1) + b"\n"]
)
def test_noise_stops_nothing(tmp_path: Path, line: bytes) -> None:
    """Who sends no request, or too long a one, is refused or cut off; the next one is served."""
    with agent(tmp_path) as signer:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.connect(str(tmp_path / "s.sock"))
            link.sendall(line)
            link.shutdown(socket.SHUT_WR)
        assert signer.sign(TOLD, WEIGHTS, 7)


def test_a_key_is_never_used_unlogged(tmp_path: Path) -> None:
    """Where the log cannot be written there is no signature."""
    (tmp_path / "log.jsonl").mkdir()
    with agent(tmp_path) as signer, pytest.raises(FedCoinError, match="the signer refuses"):
        signer.sign(TOLD, WEIGHTS, 7)


def test_one_agent_a_socket(tmp_path: Path) -> None:
    """A second one is refused, what a killed one has left is taken away, and a file that is no socket stays."""
    place = tmp_path / "s.sock"
    with agent(tmp_path), pytest.raises(FedCoinError, match="listens here already"):
        SigningAgent(KEY, GENESIS, place, tmp_path / "log.jsonl").__enter__()
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(place))
    left.close()
    with agent(tmp_path) as signer:
        assert signer.sign(TOLD, WEIGHTS, 7)
    place.write_text("precious")
    with pytest.raises(FedCoinError, match="no socket"):
        SigningAgent(KEY, GENESIS, place, tmp_path / "log.jsonl").__enter__()
    assert place.read_text() == "precious"


def test_without_an_agent(tmp_path: Path) -> None:
    """Nobody there: an error that says how to start one. A path that is too long is refused before."""
    with pytest.raises(FedCoinError, match="no signer answers") as refused:
        AgentSigner(tmp_path / "none.sock").sign(TOLD, WEIGHTS, 7)
    assert "fedcoin signer" in refused.value.hint
    assert not list(tmp_path.iterdir())
    long = tmp_path / ("x" * 120)
    with pytest.raises(FedCoinError, match="too long"):
        SigningAgent(KEY, GENESIS, long, tmp_path / "log.jsonl").__enter__()


def test_the_program_names_its_key(tmp_path: Path) -> None:
    """A key that does not exist is exit code 9, before anything listens."""
    assert fedcoin("init", "net", "--clients", "2", folder=tmp_path).code == 0
    told = fedcoin("signer", "--key", "nobody", folder=tmp_path / "net")
    assert told.code == 9
    assert "no such key" in told.err
    assert not (tmp_path / "net" / "signer.sock").exists()
