import pytest
from chains import ChainMaker

from fedcoin_cli.application.miner.work import (
    Answer,
    Configure,
    Estimated,
    Forget,
    Inspect,
    Inspected,
    MaskVerified,
    Mine,
    Mined,
    Order,
    Ready,
    TableVerified,
    VerifyMask,
    VerifyTable,
    Weigh,
    Weighed,
    from_line,
    needed_files,
    to_line,
)
from ledger_store.errors import Malformed

chain = ChainMaker(2)
task = chain.task()
reveal = chain.reveal(task, 1, chain.miners[0])
exact = chain.reveal(task, 1, chain.miners[1], exact=True, values=(-(2**90), 0, 2**90))
SEED = "5e" * 32
HUGE = 2**900

VALUES: list[Order | Answer] = [
    Configure("/some/where", chain.miners[0].address, 2, "auto"),
    Configure("/home/jos\u00e9/\udcff", chain.miners[0].address, 2, "auto"),
    Inspect(task),
    Mine(task, 2, SEED, 2**52, 9, False),
    Weigh(task, SEED),
    VerifyTable(task, 1, SEED, reveal, 5_000),
    VerifyTable(task, 1, SEED, exact, 5_000),
    VerifyMask(task, 1, reveal, HUGE + 5),
    Forget(task),
    Ready("tensorflow (keras 3), 2 threads"),
    Inspected(task.id, None),
    Inspected(task.id, "client 2: a shape that is not the model's"),
    Inspected(task.id, "layer d\u00e9but: \u00d7"),
    Mined(task.id, 1, 20, 300, 1_023, None),
    Mined(task.id, 1, 20, 300, 0, 250_000, True),
    Estimated(task.id, 1, 20, False, (1, -HUGE, 0), None, "ab" * 32),
    Estimated(task.id, 1, 20, True, (1, -2, 0), (HUGE, 0, 1), "ab" * 32),
    Weighed(task.id, (HUGE, -1, 0), HUGE),
    TableVerified(task.id, 1, reveal.miner, True, ()),
    TableVerified(task.id, 1, reveal.miner, False, (3, HUGE)),
    MaskVerified(task.id, 1, reveal.miner, HUGE, True),
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
    assert (
        needed_files(Mine(task, 1, SEED, 0, 1, True))
        == needed_files(Inspect(task))
        == needed_files(Weigh(task, SEED))
    )
    assert needed_files(Inspect(task)) == task.files
    table, mask = VerifyTable(task, 1, SEED, reveal, 5_000), VerifyMask(task, 1, reveal, 3)
    assert needed_files(table) == needed_files(mask) == (*task.files, reveal.table)
    assert needed_files(Forget(task)) == needed_files(Configure("", "", 1, "auto")) == ()
