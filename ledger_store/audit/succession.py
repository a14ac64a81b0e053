"""The seam between a chain and its successor: whose genesis names the old head and mints the old final balances.

A task that was unfinished when the old chain ended has nobody left who could finish it: its price, which was in
escrow, is its requester's again. So a successor mints every coin of the old chain and no other. (docs/adr/0009)
"""

from collections.abc import Iterator

from ledger_store.audit.checks import Finding
from ledger_store.base.names import Address
from ledger_store.genesis import Genesis
from ledger_store.state import State

SEAM_CODES = {
    "E207": "the genesis does not name a certified block of the ledger before it",
    "E408": "the genesis does not mint the final balances of the ledger before it",
}
"""What a look across a seam may find; the height is always 0, that of the genesis."""


def inherited(end: State) -> dict[Address, int]:
    """Who holds how much (micro) when the chain ends here: balances, and what is in escrow to who put it there.

    [P-14.2]
    """
    holders = dict(end.balances)
    for record in end.tasks.values():
        holders[record.task.sender] = holders.get(record.task.sender, 0) + record.escrow_micro
    return {address: micro for address, micro in holders.items() if micro}


def check_seam(genesis: Genesis, end: State | None) -> Iterator[Finding]:
    """What is wrong with a successor of the chain that ended with `end` (None: its predecessor was not found).

    [P-14.1] [P-14.2]
    """
    if end is None or genesis.predecessor != end.head:
        named = "no block" if genesis.predecessor is None else f"{genesis.predecessor}, which is not in it"
        yield Finding("E207", 0, 1, f"the genesis names {named}")
        return
    expected, minted = inherited(end), dict(genesis.supply)
    for address in sorted(expected.keys() | minted.keys()):
        held, got = expected.get(address, 0), minted.get(address, 0)
        if held != got:
            yield Finding("E408", 0, 1, f"{address} ended with {held} micro and begins with {got}")
            return
