"""Accounts that pay: transfers sent as fast as allowed, and when each became final."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.network import Miner, wait_until
from fedcoin_cli.application.node.events import read_events
from fedcoin_cli.application.requester.line import Line
from fedcoin_cli.application.workspace.peers import read_peers
from fedcoin_cli.application.workspace.workspace import REQUESTER
from fedcoin_cli.protocol.message import TransactionNote
from ledger_store.base.names import Address
from ledger_store.file.chain_file import ChainReader
from ledger_store.genesis import Genesis
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import Transfer, sign

COIN = 10**6
AMOUNT_MICRO = 10_000
RESEND_S = 3.0


class Tail:
    """The transfers of a growing chain file as (sender, sequence), and the height of each."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._height = path, 0, -1

    def news(self) -> dict[tuple[str, int], int]:
        """Those since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        found: dict[tuple[str, int], int] = {}
        for line in whole.split(b"\n") if newline else []:
            self._height += 1
            for one in json.loads(line).get("transactions", ()) if self._height else ():
                if one["type"] == "transfer":
                    found[one["sender"], one["sequence"]] = self._height
        return found


@dataclass(slots=True)
class Account:
    """Who pays; its next number, and what it has sent that is not final: number → (signed, first and last sent)."""

    key: KeyPair
    sequence: int = 1
    open: dict[int, tuple[Transfer, float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paid:
    """A transfer: when it was sent (Unix) and the height at which it is final."""

    sent_s: float
    height: int


class Payers:
    """`accounts` new accounts, funded by the requester; each keeps up to `window` transfers on their way."""

    def __init__(self, crew: Sequence[Miner], accounts: int, window: int, coins: int = 1_000) -> None:
        workspace = crew[0].workspace
        self.paid: list[Paid] = []
        self._crew, self._window = crew, window
        self._genesis: Genesis = workspace.genesis()
        requester = workspace.key(REQUESTER)
        self._line = Line(requester, read_peers(workspace.peers_file))
        self._miners = [miner.workspace.address(miner.folder.name) for miner in crew]
        self._tails = [Tail(miner.folder.chain) for miner in crew]
        self._to = workspace.address("server")
        self.accounts = [Account(KeyPair.generate()) for _ in range(accounts)]
        with ChainReader(crew[0].folder.path) as ledger:
            last = ledger.tip.state.sequences.get(requester.address, 0)
        self._fund(Account(requester, last + 1), coins)

    def _fund(self, rich: Account, coins: int) -> None:
        waiting = [account.key.address for account in self.accounts]
        wait_until(lambda: self._fund_turn(rich, waiting, coins))
        self.paid.clear()

    def _fund_turn(self, rich: Account, waiting: list[Address], coins: int) -> bool:
        while waiting and len(rich.open) < self._genesis.bounds.transactions_an_account:
            self._send(rich, waiting.pop(), coins * COIN)
        self._turn([rich])
        return not waiting and not rich.open

    def pump(self, most: int) -> None:
        """Send up to `most` more transfers, hear the miners, note what has become final."""
        for account in self.accounts:
            while most and len(account.open) < self._window:
                self._send(account, self._to, AMOUNT_MICRO)
                most -= 1
        self._turn(self.accounts)

    @property
    def finished(self) -> int:
        """How many are final."""
        return len(self.paid)

    @property
    def sent(self) -> int:
        """How many were sent so far."""
        return self.finished + sum(len(account.open) for account in self.accounts)

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def _send(self, account: Account, to: Address, micro: int) -> None:
        plain = Transfer(account.key.address, account.sequence, "", to, micro)
        signed = sign(plain, account.key, self._genesis.id)
        now_s = time.time()
        account.open[account.sequence] = signed, now_s, now_s
        account.sequence += 1
        self._tell(signed)

    def _tell(self, signed: Transfer) -> None:
        for miner in self._miners:
            self._line.send(miner, TransactionNote(signed))

    def _turn(self, accounts: Sequence[Account]) -> None:
        self._line.turn(10)
        by_address = {account.key.address: account for account in accounts}
        for tail in self._tails:
            for (sender, sequence), height in tail.news().items():
                account = by_address.get(Address(sender))
                gone = None if account is None else account.open.pop(sequence, None)
                if gone is not None:
                    self.paid.append(Paid(gone[1], height))
        for account in accounts:
            self._remind(account)

    def _remind(self, account: Account) -> None:
        """A miner that was away, or a frame that was lost: send again, like everybody who pays."""
        now_s = time.time()
        for sequence, (signed, first_s, last_s) in account.open.items():
            if now_s - last_s > RESEND_S:
                account.open[sequence] = signed, first_s, now_s
                self._tell(signed)


def final_at(crew: Sequence[Miner], quorum: int) -> dict[int, float]:
    """When each height was final at a quorum of miners (Unix), by what their logs say."""
    times: dict[int, list[float]] = {}
    for miner in crew:
        for event in _blocks(miner):
            times.setdefault(event["height"], []).append(event["time"])
    return {height: sorted(each)[quorum - 1] for height, each in times.items() if len(each) >= quorum}


def _blocks(miner: Miner) -> list[dict[str, Any]]:
    log = miner.folder.log
    files = (log.with_name(log.name + ".1"), log)
    return [event for file in files for event in read_events(file)[0] if event["event"] == "block"]
