"""The copy of the ledger that a member without a miner keeps: every block that a session has verified, and no other.

It makes such a workspace's own books: balances, explanations, proofs and audits need no miner then. One session at a
time writes it; another that runs meanwhile goes on without.
"""

from typing import Self

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base import disk
from ledger_store.base.errors import Locked, StorageFailure
from ledger_store.block import Block, Certificate
from ledger_store.file.chain_file import CHAIN_NAME, ChainFile
from ledger_store.genesis import Genesis


class Copy:
    """The writer of a workspace's copy; without a file it keeps nothing."""

    def __init__(self, file: ChainFile | None = None) -> None:
        self._file = file
        self.problem: StorageFailure | None = None

    @classmethod
    def of(cls, workspace: Workspace, genesis: Genesis) -> Self:
        """The copy of a workspace without miners; theirs are the ledgers where there are any."""
        folder = workspace.copy
        if workspace.miners:
            return cls()
        try:
            with disk.refusals(folder):
                folder.mkdir(mode=0o700, exist_ok=True)
            if (folder / CHAIN_NAME).exists():
                return cls(ChainFile.open_for_writing(folder, workspace.seal(folder)))
            return cls(ChainFile.create(folder, genesis, workspace.seal(folder)))
        except Locked:
            return cls()

    def keep(self, block: Block, certificate: Certificate) -> None:
        """Append the next block; what is here already is passed over, or gets the certificate that it lacks.

        A disk that refuses ends the keeping, `problem` says why, and not the session: a payment may be on its way, and
        is no less final for that. Raises `PeerFault` for a block that no session would have verified.
        """
        try:
            self._keep(block, certificate)
        except StorageFailure as error:
            self.problem = error
            self.close()

    def _keep(self, block: Block, certificate: Certificate) -> None:
        if self._file is None or block.height > self._file.height + 1:
            return
        tip = self._file.tip
        if block.height == tip.height + 1:
            self._file.append(block, certificate)
        elif block.height == tip.height and tip.certificate is None and block.id == tip.state.head:
            self._file.certify(certificate)

    def close(self) -> None:
        """Give back the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
