"""Audit at level 3 in blocks a second and core, against the bare cost of its signatures and hashes in the same run.

    python -m benchmarks.audit [--quick] [--json]

For R = 5 and 20 miners a chain is made: of every ten blocks three are a settled task of ten clients, seven hold a
transfer. `bare` is libsodium verifying each signature of the chain once and SHA-256 over each thing that has an id or
is in a Merkle tree, on bytes made ready beforehand. Times are processor time of this process and its children;
the least of three runs each, taken in turn; `wall` is an audit on all cores. Memory is what an audit adds at its peak,
for the chain and for its first tenth.
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nacl.bindings import crypto_sign_open

from benchmarks.machine import finish, machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from chains import COIN, ChainMaker, key

from fedcoin_cli.contract.outcome_check import CHECKS
from fedcoin_cli.contract.settlement import settle
from ledger_store.audit.audit import audit
from ledger_store.base.canonical import encode
from ledger_store.base.names import GenesisId
from ledger_store.block import vote_terms
from ledger_store.chain import replay
from ledger_store.identity.keys import signed_bytes
from ledger_store.transaction import Close, Result, Task, Transaction, commit_terms

MINERS, CLIENTS, ACCOUNTS = (5, 20), 10, 50
BLOCKS, BLOCKS_QUICK = 10_000, 1_000
LEVEL = 3
REPEATS = 3

Signed = tuple[str, bytes, str]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"{BLOCKS_QUICK} blocks instead of {BLOCKS}")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    blocks = BLOCKS_QUICK if wanted.quick else BLOCKS
    rows = [measured(miners, blocks) for miners in MINERS]
    finish({"machine": machine(), "level": LEVEL, "audit": rows}, wanted.json, {"audit": rows})


def measured(miners: int, blocks: int) -> dict[str, Any]:
    """One chain: made, audited, and its signatures and hashes alone."""
    with tempfile.TemporaryDirectory() as folder:
        maker = chain(miners, blocks)
        path = maker.write(Path(folder))
        signatures, hashed = list(signatures_of(maker)), list(hashed_of(maker))
        pairs = [
            (cpu_seconds(lambda: bare(signatures, hashed)), cpu_seconds(lambda: check(path, 1)))
            for _ in range(REPEATS)
        ]
        bare_s, one_s = (min(times) for times in zip(*pairs, strict=True))
        start_s = time.perf_counter()
        all_s = cpu_seconds(lambda: check(path, None))
        wall_s = time.perf_counter() - start_s
        return {
            "R": str(miners),
            "blocks": blocks,
            "MB": path.stat().st_size / 1e6,
            "signatures": len(signatures),
            "bare s": bare_s,
            "audit s": one_s,
            "x bare": one_s / bare_s,
            "blocks/s/core": blocks / one_s,
            "all cores s": all_s,
            "wall s": wall_s,
            "blocks/s": blocks / wall_s,
            "MiB, a tenth": memory(path, blocks // 10),
            "MiB": memory(path, blocks),
        }


def check(path: Path, jobs: int | None) -> None:
    """The audit itself; `jobs` None: as it is by default."""
    report = audit(path, LEVEL, CHECKS, jobs=jobs or os.cpu_count() or 1)
    assert report.ok, report.findings


def chain(miners: int, blocks: int) -> ChainMaker:
    """A chain whose outcomes follow; nothing in it is checked while it grows."""
    maker = ChainMaker(miners)
    while len(maker.blocks) < blocks:
        for step in _round(maker):
            _grow(maker, step)
        for number in range(7):
            to = key(f"account-{(len(maker.blocks) + number) % ACCOUNTS}").address
            _grow(maker, maker.transfer(maker.requester, to, COIN // 100))
    del maker.blocks[blocks:], maker.certificates[blocks:]
    return maker


def _grow(maker: ChainMaker, transaction: Transaction) -> None:
    block = maker.propose(transaction)
    maker.tip = replay(maker.tip, block)
    maker.force(block)


def _round(maker: ChainMaker) -> Iterator[Transaction]:
    task = maker.task(
        clients=CLIENTS, price_micro=1_000, train_micro=700, computation_micro=100, shapley_micro=200
    )
    yield task
    reveals = maker.reveals(task)
    yield maker.close(task, reveals)
    record = maker.records[task.id]
    yield maker.result(task, reveals, settle(record, maker.genesis, reveals, ()))


def signatures_of(maker: ChainMaker) -> Iterator[Signed]:
    """Every signature that an audit verifies: (address, message, signature)."""
    genesis = maker.genesis
    for block, certificate in zip(maker.blocks, maker.certificates, strict=True):
        message = signed_bytes("final", genesis.id, vote_terms(block.height, certificate.view, block.id))
        for index, signature in certificate.signatures:
            yield genesis.roster[index], message, signature
        for transaction in block.transactions:
            yield from _signed(transaction, genesis.id)


def _signed(transaction: Transaction, genesis: GenesisId) -> Iterator[Signed]:
    match transaction:
        case Close():
            for commit in transaction.commits:
                terms = commit_terms(transaction.task, transaction.attempt, commit.digest)
                yield commit.miner, signed_bytes("commit", genesis, terms), commit.signature
        case Result():
            for reveal in transaction.reveals:
                terms = reveal.terms(transaction.task, transaction.attempt)
                yield reveal.miner, signed_bytes("reveal", genesis, terms), reveal.signature
        case _:
            message = signed_bytes(transaction.kind, genesis, transaction.body)
            yield transaction.sender, message, transaction.signature
    if isinstance(transaction, Task):
        for update in transaction.updates:
            message = signed_bytes("update", genesis, transaction.update_terms(update))
            yield update.client, message, update.signature


def hashed_of(maker: ChainMaker) -> Iterator[bytes]:
    """What an audit hashes: headers, certificates, transactions as leaves and for their ids."""
    for block, certificate in zip(maker.blocks, maker.certificates, strict=True):
        yield from (encode(block.header.to_json()), encode(certificate.to_json()))
        for transaction in block.transactions:
            yield from _hashed(transaction)


def _hashed(transaction: Transaction) -> Iterator[bytes]:
    data = encode(transaction.to_json())
    yield from (data, data)


def bare(signatures: list[Signed], hashed: list[bytes]) -> None:
    """Nothing but libsodium and SHA-256."""
    for address, message, signature in signatures:
        crypto_sign_open(bytes.fromhex(signature) + message, bytes.fromhex(address))
    for data in hashed:
        hashlib.sha256(data).digest()


def cpu_seconds(work: Callable[[], object]) -> float:
    """Processor time of this process and of the children that it waits for."""
    before = _spent_s()
    work()
    return _spent_s() - before


def _spent_s() -> float:
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in spent)


def memory(path: Path, blocks: int) -> float:
    """MiB that auditing the first `blocks` blocks adds at its peak, in a process of its own."""
    code = (
        "import re, sys; from pathlib import Path; from fedcoin_cli.contract.outcome_check import CHECKS;"
        "from ledger_store.audit.audit import Span, audit;"
        "peak = lambda: int(re.search(r'VmHWM:\\s*(\\d+)', Path('/proc/self/status').read_text())[1]);"
        "before = peak(); report = audit(Path(sys.argv[1]), 3, CHECKS, Span(1, int(sys.argv[2])));"
        "assert report.ok; print((peak() - before) / 1024)"
    )
    command = [sys.executable, "-c", code, str(path), str(blocks)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
