"""Which accounts a miner admits: those of at least one coin, those whose coins are in escrow, and those that part.

A block changes few accounts of many, so only what it changed is looked at again.
"""

from collections.abc import Iterable

from fedcoin_cli.network.transport.admission import Admission
from ledger_store.base.names import Address
from ledger_store.layered import differences
from ledger_store.state import State

GUEST_LEAST_MICRO = 10**6
# Whoever spends its last coin is not a guest any more, and must still hear that this became final.
PARTING_MS = 60_000
PARTING_MOST = 64


class Guests:
    """The guests of one door, as the ledger grows (docs/adr/0028, docs/adr/0030) [P-11.5]."""

    def __init__(self, admission: Admission, state: State) -> None:
        self._admission, self._state = admission, state
        self._waiting = _waiting(state)
        self._parting: dict[Address, int] = {}
        rich = [address for address, micro in state.balances.items() if micro >= GUEST_LEAST_MICRO]
        admission.admit([*self._waiting, *(one for one in rich if one in state.sequences), *rich])

    def part(self, address: Address, now_ms: int) -> None:
        """Admit an account a little longer, whatever it has left."""
        self._parting.pop(address, None)
        self._parting[address] = now_ms + PARTING_MS
        if len(self._parting) > PARTING_MOST:
            self._judge([self._pop_first()])

    def follow(self, state: State, now_ms: int) -> None:
        """The ledger has grown to `state`."""
        before, waiting = self._state, self._waiting
        self._state, self._waiting = state, _waiting(state)
        parted = [address for address, until_ms in self._parting.items() if until_ms <= now_ms]
        for address in parted:
            del self._parting[address]
        changed = differences(before.balances, state.balances)
        self._judge([*parted, *waiting, *self._waiting, *self._parting, *changed])

    def _pop_first(self) -> Address:
        address = next(iter(self._parting))
        del self._parting[address]
        return address

    def _judge(self, addresses: Iterable[Address]) -> None:
        for address in dict.fromkeys(addresses):
            held = address in self._waiting or address in self._parting
            if held or self._state.balances.get(address, 0) >= GUEST_LEAST_MICRO:
                self._admission.come(address, signed=held or address in self._state.sequences)
            else:
                self._admission.gone(address)


def _waiting(state: State) -> set[Address]:
    """Who published a task that has not ended."""
    return {record.task.sender for record in state.tasks.values()}
