"""Accounts while a block is applied: coins come and go, nobody overdraws, and what came to be is counted."""

from collections.abc import Mapping

from ledger_store.base.errors import refuse
from ledger_store.base.names import Address
from ledger_store.layered import editable


class Accounts:
    """Balances over those of the parent state, which stay as they are."""

    def __init__(self, balances: Mapping[Address, int], least_transfer_micro: int) -> None:
        # A layer over the parent's: who copies all accounts at every block takes too long.
        self.balances = editable(balances)
        # What balances gained in all: with escrow that must be nothing.
        self.minted_micro = 0
        # The least that may be paid, and that may be left behind.
        self._least_micro = least_transfer_micro

    def debit(self, address: Address, micro: int) -> None:
        """Take coins from an account; raises `InvalidTransaction` when it does not cover them."""
        self._set(address, self.require(address, micro) - micro)
        self.minted_micro -= micro

    def credit(self, address: Address, micro: int) -> None:
        """Give coins to an account."""
        self._set(address, self.balances.get(address, 0) + micro)
        self.minted_micro += micro

    # The reason is in docs/adr/0026.
    # Rules [P-4.10] [P-4.11].
    def require(self, address: Address, micro: int) -> int:
        """The balance, which covers `micro` and leaves nothing or enough; else `InvalidTransaction` is raised."""
        balance = self.balances.get(address, 0)
        refuse(balance < micro, f"a balance of {balance} micro does not cover {micro}")
        least, left = self._least_micro, balance - micro
        # Who could leave a micro behind could make an account of each: a successor's genesis has to name them all.
        refuse(
            0 < left < least and micro > 0,
            f"{left} micro would be left, less than the least transfer: pay all",
        )
        return balance

    def _set(self, address: Address, micro: int) -> None:
        """Accounts without coins are not listed."""
        if micro:
            self.balances[address] = micro
        else:
            self.balances.pop(address, None)
