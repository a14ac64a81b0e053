"""Payments between four real miner processes: final everywhere, whatever happens to one of them."""

import os
import signal
from pathlib import Path

from live import events_of, ledgers, runtime_of, wait_until, workspace_of

from fedcoin_cli.application.requester.requester import Final, Requester
from fedcoin_cli.application.requester.session import Patience, Session
from fedcoin_cli.application.workspace.workspace import REQUESTER, SERVER, Workspace
from ledger_store.audit.audit import audit
from ledger_store.transaction import Transfer

COIN = 10**6
MINERS = 4


def pay(workspace: Workspace, coins: int) -> Final:
    """The requester pays the server."""
    patience = Patience(reach_s=60.0)
    with Requester(workspace, workspace.key(REQUESTER), patience=patience) as requester:
        return requester.pay(workspace.key(SERVER).address, coins * COIN)


def height(ledger: bytes) -> int:
    return ledger.count(b"\n") - 1


def test_payments_survive_a_killed_miner(tmp_path: Path) -> None:
    """A payment is final on four ledgers; with one miner killed on three; restarted it has the same bytes."""
    with workspace_of(tmp_path / "net", MINERS, "--clients", "2") as workspace:
        runtime = runtime_of(workspace)
        for number in range(1, MINERS + 1):
            runtime.start(number)

        first = pay(workspace, 5)
        wait_until(lambda: set(map(height, ledgers(workspace))) == {first.height})
        assert len(set(ledgers(workspace))) == 1

        killed = runtime.pid(MINERS)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: not runtime.alive(MINERS))
        assert runtime.exit_code(MINERS) == -signal.SIGKILL

        second = pay(workspace, 7)
        wait_until(lambda: all(height(ledger) >= second.height for ledger in ledgers(workspace)[:-1]))
        assert height(ledgers(workspace)[-1]) == first.height

        runtime.start(MINERS)
        wait_until(lambda: height(ledgers(workspace)[-1]) == second.height)
        assert len(set(ledgers(workspace))) == 1
        assert len(events_of(workspace, MINERS, "started")) == 2

        # The tip file with the last certificate follows the last line.
        wait_until(lambda: audit(workspace.miner(MINERS).chain, 2).certified_to == second.height)
        assert audit(workspace.miner(MINERS).chain, 2).ok


def test_a_number_that_is_used_already_is_no_refusal(tmp_path: Path) -> None:
    """Miners that are a block ahead refuse what stands in it: whoever has not heard of the block looks again."""
    with workspace_of(tmp_path / "net", 1, "--clients", "2") as workspace:
        runtime_of(workspace).start(1)
        key, to = workspace.key(REQUESTER), workspace.key(SERVER).address
        late = Session(workspace, key, Patience(reach_s=60.0, refusal_s=0.0))
        late.connect()
        paid = pay(workspace, 5)
        other = late.submit(lambda number: Transfer(key.address, number, "", to, 5 * COIN))
        assert other != paid.transaction
        assert late.view.placed.keys() == {paid.transaction, other}
        late.close()
