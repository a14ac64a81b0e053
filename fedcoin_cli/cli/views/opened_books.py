"""The books that a reading command opens, what it calls accounts, and how it says which books they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import typer

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.cli.program.options import Call
from ledger_store.base.errors import FedCoinError, NoWorkspace
from ledger_store.base.names import Address

File = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="A ledger or its folder, from anywhere; default: the longest here."),
]


@dataclass(frozen=True, slots=True)
class Opened:
    """A ledger, and the folder whose names, tables and rounds belong to it; `named`: it was named by its file."""

    books: Books
    place: Workspace
    names: Names
    named: bool

    def account(self, text: str) -> Address:
        """The address that a name, an address or the beginning of one in this ledger means; raises `NotFound`."""
        state = self.books.state
        clients = {update.client for record in state.tasks.values() for update in record.task.updates}
        return self.names.address(text, state.balances.keys() | clients)

    @property
    def source(self) -> str:
        """Which ledger an answer comes from."""
        where = f"{self.books.path}, certified to height {self.books.height}"
        genesis = self.books.state.genesis
        return f"{where}, of {genesis.network}, genesis {genesis.id}" if self.named else where

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.books.close()


def open_books(call: Call, file: Path | None = None) -> Opened:
    """The ledger in `file`, else the workspace's longest certified one; warns about longer ones that cannot be read."""
    if file is not None:
        books = Books.read(file)
        place = _place_of(call, file, books.state.genesis.id)
        return Opened(books, place, Names.of(place), named=True)
    try:
        workspace = call.workspace()
    except NoWorkspace as error:
        error.hint = f"{error.hint}; a ledger from elsewhere needs none: name its file or folder"
        raise
    books = Books.open(workspace)
    for problem in books.ignored:
        call.output.warn(f"{problem.message} ({problem.where}); read another ledger instead")
    if books.ignored_snapshot:
        call.output.warn(
            f"the snapshot beside {books.path} is not its miner's: all blocks were folded instead"
        )
    return Opened(books, workspace, Names.of(workspace), named=False)


def _place_of(call: Call, file: Path, genesis_id: str) -> Workspace:
    """The workspace of the ledger's network: the one in force, else the one around the file, else the file's folder.

    A folder that is not a workspace serves as well: whatever is there is used, and nothing has to.
    """
    folder = (file if file.is_dir() else file.parent).resolve()
    here = Path(call.folder or "").resolve()
    for start in (here, *([] if call.folder else here.parents), folder, *folder.parents):
        place = Workspace(start)
        if place.genesis_file.is_file() and _is_of(place, genesis_id):
            return place
    return Workspace(folder)


def _is_of(place: Workspace, genesis_id: str) -> bool:
    try:
        return place.genesis().id == genesis_id
    except FedCoinError:
        return False
