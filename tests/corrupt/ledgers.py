"""One corrupted ledger for each finding of audit levels 0 to 2, each made from a good chain by one edit.

Up to E302 the edit is somebody's who holds no keys. From E303 on the miners themselves certified the block: only
then can a ledger with valid certificates break the rules.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from chains import COIN, ChainMaker, build_chain, digest, key

from ledger_store.base.names import BlockId, GenesisId, MinerIndex, TaskId
from ledger_store.block import Block, make_block
from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME
from ledger_store.file.snapshot import Seal, Snapshot
from ledger_store.transaction import Close


@dataclass(frozen=True, slots=True)
class Corrupted:
    """The two files' bytes, the height that was altered, and the network that is meant where that matters."""

    height: int
    chain: bytes
    tip: bytes
    genesis: GenesisId | None = None
    snapshot: Snapshot | None = None

    def write(self, folder: Path) -> Path:
        """Write both; returns the chain file."""
        (folder / CHAIN_NAME).write_bytes(self.chain)
        (folder / TIP_NAME).write_bytes(self.tip)
        if self.snapshot is not None:
            self.snapshot.save(folder, Seal(key("thief"), self.snapshot.state.genesis))
        return folder / CHAIN_NAME


def corrupted(code: str) -> Corrupted:
    """The ledger whose audit must end with this finding."""
    return _BUILDERS[code]()


def codes() -> list[str]:
    """Every code that has a ledger."""
    return list(_BUILDERS)


def _edited(height: int, edit: Callable[[bytes], bytes]) -> Corrupted:
    """A chain of six blocks with one line changed by hand."""
    maker = build_chain(4, 6)
    lines = maker.lines()
    before = lines[height]
    lines[height] = edit(before)
    assert lines[height] != before, "the edit must change something"
    return Corrupted(height, b"".join(lines), maker.tip_bytes())


def _replaced(height: int, old: bytes, new: bytes) -> Corrupted:
    return _edited(height, lambda line: line.replace(old, new, 1))


def _tip(tip: bytes, height: int = 6) -> Corrupted:
    return Corrupted(height, b"".join(build_chain(4, 6).lines()), tip)


def _certified(maker: ChainMaker, block: Block) -> Corrupted:
    """The miners certified a bad block, and a good one stands on it."""
    height = block.height
    maker.force(block)
    maker.force(maker.propose(maker.transfer(maker.requester, maker.server.address, COIN)))
    return Corrupted(height, b"".join(maker.lines()), maker.tip_bytes())


def _other_network() -> Corrupted:
    maker = build_chain(4, 6)
    return Corrupted(0, b"".join(maker.lines()), maker.tip_bytes(), ChainMaker(5).genesis.id)


def _no_certificate() -> Corrupted:
    maker = build_chain(4, 6)
    good = maker.blocks[3]
    header = good.header
    bare = make_block(header.parent, 4, header.time_ms, header.proposer, header.view, good.transactions, None)
    lines = maker.lines()
    lines[4] = bare.line + b"\n"
    return Corrupted(4, b"".join(lines), maker.tip_bytes())


def _wrong_parent() -> Corrupted:
    maker = build_chain(4, 6)
    good = maker.blocks[3]
    linked = replace(good, header=replace(good.header, parent=BlockId(digest("elsewhere"))))
    lines = maker.lines()
    lines[4] = linked.line + b"\n"
    return Corrupted(4, b"".join(lines), maker.tip_bytes())


def _cut() -> Corrupted:
    maker = build_chain(4, 6)
    return Corrupted(6, b"".join(maker.lines()[:-1]), maker.tip_bytes())


def _minority() -> Corrupted:
    maker = ChainMaker(4)
    maker.add_transfers(2)
    maker.certificates[-1] = maker.certify(maker.blocks[-1], signers=[0, 1])
    block = maker.propose(maker.transfer(maker.requester, maker.server.address, COIN))
    return _certified(maker, block)


def _forged_tip() -> Corrupted:
    maker = build_chain(4, 6)
    maker.certificates[-1] = replace(maker.certificates[-1], signatures=maker.certificates[-2].signatures)
    return _tip(maker.tip_bytes())


def _forged_transfer() -> Corrupted:
    maker = ChainMaker(4)
    maker.add_transfers(2)
    transfer = maker.transfer(maker.requester, maker.server.address, COIN)
    return _certified(maker, maker.propose(replace(transfer, amount_micro=2 * COIN)))


def _out_of_turn() -> Corrupted:
    maker = ChainMaker(4)
    maker.add_transfers(2)
    good = maker.propose(maker.transfer(maker.requester, maker.server.address, COIN))
    return _certified(
        maker, replace(good, header=replace(good.header, proposer=MinerIndex((good.header.proposer + 1) % 4)))
    )


def _unordered() -> Corrupted:
    maker = ChainMaker(4)
    maker.add_transfers(2)
    transfers = [maker.transfer(maker.requester, maker.server.address, COIN) for _ in range(2)]
    return _certified(maker, maker.propose(*transfers[::-1]))


def _lying_snapshot() -> Corrupted:
    maker = ChainMaker(4)
    maker.add_transfers(2)
    moved = dict(maker.tip.state.balances)
    moved[maker.requester.address] -= COIN
    moved[key("thief").address] = COIN
    lie = Snapshot("00" * 32, replace(maker.tip.state, balances=moved))
    chain, tip = b"".join(maker.lines()), maker.tip_bytes()
    return Corrupted(2, chain, tip, snapshot=lie)


def _overdraft() -> Corrupted:
    maker = ChainMaker(4)
    maker.add_transfers(2)
    return _certified(maker, maker.propose(maker.transfer(key("poor"), maker.server.address, COIN)))


def _bad_task() -> Corrupted:
    maker = ChainMaker(4)
    maker.add_transfers(2)
    return _certified(maker, maker.propose(maker.task(train_micro=8 * COIN)))


def _bad_cancel() -> Corrupted:
    maker = ChainMaker(4)
    maker.add_transfers(2)
    return _certified(maker, maker.propose(maker.cancel(maker.requester, TaskId(digest("nothing")))))


def _bad_close() -> Corrupted:
    maker = ChainMaker(4)
    task = maker.task()
    maker.add(task)
    return _certified(maker, maker.propose(Close(task.id, 1, (), None)))


def _bad_result() -> Corrupted:
    maker = ChainMaker(4)
    task = maker.task()
    maker.add(task)
    reveals = maker.reveals(task)
    maker.add(maker.close(task, reveals))
    outcome = maker.settled(task)
    robbed = replace(outcome, pay=replace(outcome.pay, requester=1))
    return _certified(maker, maker.propose(maker.result(task, reveals, robbed)))


_BUILDERS: dict[str, Callable[[], Corrupted]] = {
    "E100": lambda: _replaced(0, b'"format":1', b'"format":9'),
    "E101": lambda: _edited(6, lambda line: line[:-40]),
    "E102": lambda: _replaced(4, b'"height":4', b'"height": 4'),
    "E103": lambda: _replaced(4, b'"height":4', b'"height":0'),
    "E104": lambda: _tip(b'{"height":6}\n'),
    "E105": _other_network,
    "E201": lambda: _replaced(4, b'"height":4', b'"height":5'),
    "E202": lambda: _replaced(4, b'"amount_micro":1000000', b'"amount_micro":9000000'),
    "E203": lambda: _replaced(4, b'"signatures":[[0,', b'"signatures":[[3,'),
    "E204": _no_certificate,
    "E205": _wrong_parent,
    "E206": _cut,
    "E301": _minority,
    "E302": _forged_tip,
    "E303": _forged_transfer,
    "E304": _lying_snapshot,
    "E401": _out_of_turn,
    "E402": _unordered,
    "E403": _overdraft,
    "E404": _bad_task,
    "E405": _bad_cancel,
    "E406": _bad_close,
    "E407": _bad_result,
}
