"""What `pay` says is what the ledger holds: payments at once, of the last coin, and answers that nobody can read."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from live import runtime_of, wait_until, workspace_of
from shell import PROGRAM, Said, fedcoin

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.requester.session import Patience, Session
from fedcoin_cli.application.workspace.workspace import SERVER, Workspace
from ledger_store.base.errors import FedCoinError
from ledger_store.identity.keyfile import save_key
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import Transfer

COIN = 10**6
AT_ONCE = 4


def balance_micro(workspace: Workspace, name: str) -> int:
    with Books.open(workspace) as books:
        return books.state.balances.get(workspace.address(name), 0)


def test_equal_payments_at_once_are_so_many_payments(tmp_path: Path) -> None:
    """Each of several commands started together tells a transfer of its own, and all of them stand in the ledger."""
    with workspace_of(tmp_path / "net", 1, "--clients", "2") as workspace:
        runtime_of(workspace).start(1)
        words = ("pay", "server", "0.5", "--json")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            runs = [pool.submit(fedcoin, *words, folder=workspace.root) for _ in range(AT_ONCE)]
            said = [run.result() for run in runs]
        assert [one.code for one in said] == [0] * AT_ONCE
        told = {(one.json["transaction"], one.json["height"]) for one in said}
        with Books.open(workspace) as books:
            made = {
                (one.id, block.height)
                for block in books.blocks()
                for one in block.transactions
                if isinstance(one, Transfer)
            }
        assert told == made
        assert len(told) == AT_ONCE
        assert balance_micro(workspace, SERVER) == AT_ONCE * COIN // 2


def test_whoever_pays_all_is_told_that_it_is_final(tmp_path: Path) -> None:
    """The last coin takes the right to ask the miners along; the answer to its payment comes all the same."""
    with workspace_of(tmp_path / "net", 1, "--clients", "2") as workspace:
        runtime_of(workspace).start(1)
        assert fedcoin("pay", "client-001", "10", folder=workspace.root).code == 0
        said = fedcoin("pay", "server", "10", "--key", "client-001", folder=workspace.root)
        assert (said.code, said.out) == (0, "paid 10.0 FedCoin to server, final at height 2\n"), said.err


def _into_a_full_disk(workspace: Workspace) -> Said:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [PROGRAM, "pay", "server", "1"],
            cwd=workspace.root, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    return Said(done.returncode, "", done.stderr)


def _without_stdout(workspace: Workspace) -> Said:
    words = ["sh", "-c", f"exec {PROGRAM} pay server 1 >&-"]
    done = subprocess.run(words, cwd=workspace.root, stderr=subprocess.PIPE, text=True, check=False)
    return Said(done.returncode, "", done.stderr)


@pytest.mark.parametrize("pay", [_into_a_full_disk, _without_stdout])
def test_an_answer_that_is_lost_undoes_nothing(tmp_path: Path, pay: object) -> None:
    """Where the answer cannot be written the error says that the payment is final, and not to pay again."""
    assert callable(pay)
    with workspace_of(tmp_path / "net", 1, "--clients", "2") as workspace:
        runtime_of(workspace).start(1)
        said = pay(workspace)
        assert said.code == 12
        assert (
            "paid 1.0 FedCoin to server, final at height 1; only the answer could not be written" in said.err
        )
        assert "do not run it again" in said.err
        assert balance_micro(workspace, SERVER) == COIN


def test_what_was_sent_may_still_become_final(tmp_path: Path) -> None:
    """A quorum that is lost while a payment is on its way: the error says so, with the transaction and how to look."""
    with workspace_of(tmp_path / "net", 2, "--clients", "2") as workspace:
        runtime = runtime_of(workspace)
        runtime.start(1)
        runtime.start(2)
        key, to = workspace.key("requester"), workspace.address(SERVER)
        session = Session(workspace, key, Patience(reach_s=60.0, silence_s=3.0, final_s=30.0))
        try:
            session.connect()
            os.kill(runtime.pid(2) or 0, signal.SIGKILL)
            wait_until(lambda: not runtime.alive(2))
            with pytest.raises(FedCoinError, match="was sent and may still become final") as caught:
                session.submit(lambda n: Transfer(key.address, n, "", to, COIN, os.urandom(16).hex()))
            assert session.on_its_way is not None
            assert session.on_its_way in caught.value.where
            assert f"fedcoin show {session.on_its_way[:16]}" in caught.value.hint
        finally:
            session.close()


def test_a_key_that_is_loaded_stays_out_of_core_files(tmp_path: Path) -> None:
    """A process that has read a secret key leaves no image of itself, whatever the shell allows."""
    save_key(tmp_path / "one.key", KeyPair.generate())
    code = (
        "import ctypes, sys; from pathlib import Path; from resource import *\n"
        "from ledger_store.identity.keyfile import load_key\n"
        "load_key(Path(sys.argv[1]))\n"
        "print(getrlimit(RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "one.key")]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "(0, 0) 0\n"
