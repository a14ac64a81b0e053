import pytest
from chains import ChainMaker

from fedcoin_cli.protocol.message import Errors
from fedcoin_cli.replica.jobs import (
    Answer,
    Configure,
    EntryVerified,
    Estimated,
    Forget,
    Inspect,
    Inspected,
    Mine,
    Mined,
    Order,
    Ready,
    TableVerified,
    VerifyEntry,
    VerifyTable,
    from_line,
    needed_files,
    to_line,
)
from ledger_store.base.errors import Malformed
from ledger_store.base.names import Address, Digest
from ledger_store.transaction import Estimate

chain = ChainMaker(2)
task = chain.task()
reveal = chain.reveal(task, 1, chain.miners[0])
exact = chain.reveal(task, 1, chain.miners[1], exact=True, sums=(-(2**90), 0, 2**90))
SEED = "5e" * 32
HUGE = 2**900

VALUES: list[Order | Answer] = [
    Configure("/some/where", chain.miners[0].address, 2, "auto"),
    Configure("/home/jos\u00e9/\udcff", chain.miners[0].address, 2, "auto"),
    Inspect(task),
    Mine(task, 2, SEED, 2**52, 9, False),
    VerifyTable(task, 1, SEED, reveal, 5_000),
    VerifyTable(task, 1, SEED, exact, 5_000),
    VerifyEntry(task, 1, SEED, reveal, 2**40),
    Forget(task),
    Ready("tensorflow (keras 3), 2 threads"),
    Inspected(task.id, None),
    Inspected(task.id, "client 2: a shape that is not the model's"),
    Inspected(task.id, "layer d\u00e9but: \u00d7"),
    Mined(task.id, 1, 20, 300, 1_023, None),
    Mined(task.id, 1, 20, 0, 0, Errors(30_000, 250_000, 1_200_000, None)),
    Estimated(task.id, 1, Estimate(20, False, (1, -HUGE, 0), Digest("ab" * 32))),
    Estimated(task.id, 1, Estimate(20, True, (HUGE, -2, 0), Digest("ab" * 32))),
    TableVerified(task.id, 1, reveal.miner, True, ()),
    TableVerified(task.id, 1, reveal.miner, False, (3, 2**40)),
    EntryVerified(task.id, 1, reveal.miner, 2**40, True),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_crosses_the_pipe_as_one_line(value: Order | Answer) -> None:
    """Every order and answer, with integers of any size, comes back equal from a single line."""
    line = to_line(value)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert from_line(line) == value


def test_an_unknown_line_is_malformed() -> None:
    """The pipe's other end is our own child; what is no line of it is still refused, not believed."""
    for line in (b'{"Dance":{}}\n', b"Traceback\n", b'{"Ready":{"engine":1.5}}\n'):
        with pytest.raises(Malformed):
            from_line(line)


def test_orders_name_the_files_that_they_need() -> None:
    """A task's files for all work on it, the table as well where one is checked; none for the rest."""
    assert needed_files(Mine(task, 1, SEED, 0, 1, True)) == needed_files(Inspect(task)) == task.files
    table, entry = VerifyTable(task, 1, SEED, reveal, 5_000), VerifyEntry(task, 1, SEED, reveal, 3)
    assert needed_files(table) == needed_files(entry) == (*task.files, reveal.table)
    assert needed_files(Forget(task)) == needed_files(Configure("", Address(""), 1, "auto")) == ()
