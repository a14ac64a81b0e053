"""Workspaces around ready-made chains, and rounds whose outcome follows from their reveals."""

from pathlib import Path
from typing import Any

from chains import ChainMaker, key

from fedcoin_cli.application.node.votelog import VoteLog
from fedcoin_cli.application.workspace.peers import Peer, render_peers
from fedcoin_cli.application.workspace.workspace import REQUESTER, SERVER, Workspace, client_name, miner_name
from fedcoin_cli.contract.settlement import give_up, settle
from ledger_store.base.canonical import encode
from ledger_store.base.names import Address
from ledger_store.identity.keyfile import save_key
from ledger_store.identity.keys import KeyPair
from ledger_store.transaction import Close, Result, Task


def place(root: Path, maker: ChainMaker, *, clients: int = 3, port: int = 1) -> Workspace:
    """A workspace at `root` whose miners all hold the maker's chain; nobody listens on its ports."""
    workspace = Workspace(root)
    for folder in (workspace.keys, workspace.store, workspace.rounds):
        folder.mkdir(parents=True)
    for name, pair in _keys(maker, clients).items():
        save_key(workspace.key_file(name), pair)
    peers = []
    for number, miner in enumerate(maker.miners, 1):
        folder = workspace.miner_folder(number).path
        maker.write(folder)
        VoteLog.create(workspace.miner_folder(number).votes, miner.address, maker.genesis.id).close()
        peers.append(Peer(miner_name(number), miner.address, "127.0.0.1", port + 2 * (number - 1)))
    workspace.peers_file.write_text(render_peers(peers))
    workspace.genesis_file.write_bytes(encode(maker.genesis.to_json()) + b"\n")
    return workspace


def settled_round(maker: ChainMaker, sums: tuple[int, ...] | None = None, **terms: Any) -> Task:
    """Three blocks: a task, the close of all miners, the result that follows; `sums` is what each reveals."""
    task = maker.task(**terms)
    maker.add(task)
    reveals = maker.reveals(task)
    if sums is not None:
        keys = {miner.address: miner for miner in maker.miners}
        reveals = [maker.reveal(task, 1, keys[reveal.miner], sums=sums) for reveal in reveals]
    maker.add(maker.close(task, reveals))
    record = maker.records[task.id]
    outcome = settle(record, maker.genesis, reveals, ())
    maker.add(maker.result(task, reveals, outcome))
    return task


def won_by(maker: ChainMaker) -> Address | None:
    """Who won the one settled task of a chain: whom that is depends on the task's id."""
    (winner,) = [
        one.outcome.winner for block in maker.blocks for one in block.transactions if isinstance(one, Result)
    ]
    return winner


def refunded_round(maker: ChainMaker, **terms: Any) -> Task:
    """Two blocks: a task of one attempt, and the close to which nobody committed."""
    task = maker.task(attempts=1, **terms)
    maker.add(task)
    maker.add(Close(task.id, 1, (), give_up(maker.records[task.id])))
    return task


def _keys(maker: ChainMaker, clients: int) -> dict[str, KeyPair]:
    miners = {miner_name(number): pair for number, pair in enumerate(maker.miners, 1)}
    named = {client_name(number): key(f"client-{number}") for number in range(1, clients + 1)}
    return {REQUESTER: maker.requester, SERVER: maker.server, **miners, **named}
