"""From an id to the proof of what it names: the transaction, and for a task the one that ended it."""

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.books.lookup import FoundBlock, FoundTask, find
from ledger_store.audit.inclusion import Inclusion, prove
from ledger_store.base.errors import LedgerInvalid, NotFound, PeerFault
from ledger_store.transaction import Cancel, Close, Result, Task, Transaction


def proof_of(books: Books, text: str) -> Inclusion:
    """The proof of a transfer or cancel, or of what a task came to (unfinished: of the task); raises `NotFound`."""
    found = find(books, text)
    if isinstance(found, FoundBlock):
        hint = "fedcoin show lists a block's transactions; name one of them, or a task"
        raise NotFound("a proof is of a transaction or a task, not of a block", where=text, hint=hint)
    if isinstance(found, FoundTask):
        return _proof(books, found.report.task_id, found.report.height)
    return _proof(books, found.transaction.id, found.height)


def _proof(books: Books, name: str, height: int) -> Inclusion:
    block, certificate = books.block(height), books.certificate_of(height)
    assert certificate is not None, "books end at the last certified block"
    index = next(n for n, one in enumerate(block.transactions) if _concerns(one, name))
    transaction = block.transactions[index]
    task = None
    if isinstance(transaction, Close | Result):
        task = books.history[transaction.task].task
    proof = prove(books.state.genesis, block, certificate, index, task)
    try:
        proof.check(books.state.genesis.id)
    except PeerFault as error:
        hint = "fedcoin audit names what was altered: nobody verified this ledger when it was opened"
        raise LedgerInvalid(
            f"there is no proof in it: {error.message}", where=str(books.path), hint=hint
        ) from error
    return proof


def _concerns(transaction: Transaction, name: str) -> bool:
    """Whether this is the transaction of that id, or what ended the task of that id."""
    if isinstance(transaction, Task):
        return transaction.id == name
    if isinstance(transaction, Close | Result):
        return transaction.task == name
    return transaction.id == name or (isinstance(transaction, Cancel) and transaction.task == name)
