"""The books that a reading command opens, and how it says which they are."""

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.cli.options import Call


def open_books(call: Call) -> Books:
    """The workspace's longest certified ledger; warns about longer ones that cannot be read."""
    books = Books.open(call.workspace())
    for error in books.ignored:
        call.output.warn(f"{error.message} ({error.where}); read another ledger instead")
    if books.ignored_snapshot:
        call.output.warn(
            f"the snapshot beside {books.path} is not its miner's: all blocks were folded instead"
        )
    return books


def source(books: Books) -> str:
    """Which ledger an answer comes from."""
    return f"{books.path}, certified to height {books.height}"
