from pathlib import Path
from random import Random

import pytest
from chains import ChainMaker, key
from places import place
from rounds import make_round
from shell import fedcoin

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.requester.difficulty import learn_difficulty, spread_micro
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.contract.settlement import settle
from ledger_store.base.errors import NotFound
from ledger_store.transaction import Reveal, Task


def sampled_round(maker: ChainMaker, steps: int = 30) -> Task:
    """A settled round of ten rankings a miner, whose sums differ by `steps` images from miner to miner."""
    task = maker.task()
    maker.add(task)
    reveals = sorted(
        (
            maker.reveal(task, 1, miner, sums=(1000 + steps * place, 500, 500 - steps * place))
            for place, miner in enumerate(maker.miners)
        ),
        key=lambda reveal: reveal.miner,
    )
    maker.add(maker.close(task, reveals))
    outcome = settle(maker.records[task.id], maker.genesis, reveals, ())
    maker.add(maker.result(task, reveals, outcome))
    return task


@pytest.fixture
def settled(tmp_path: Path) -> Workspace:
    """A network of three clients and four miners with a sampled task on its ledger, and a round."""
    maker = ChainMaker(4)
    sampled_round(maker)
    workspace = place(tmp_path, maker)
    make_round(workspace)
    return workspace


def test_by_hand(settled: Workspace) -> None:
    """Four estimates 3 images apart on two values: D is the root of their mean squared distance, for the same time.

    Offsets from the average are −4.5, −1.5, 1.5, 4.5 images: 11.25 squared in the mean, twice, of 1,000 images.
    """
    with Books.open(settled) as books:
        learnt = learn_difficulty(books, 3, 5_000)
        assert learnt.difficulty_micro == int(22.5**0.5 / 10 * 10**6) + 1
        # Four times as long: four times the rankings, half the distance.
        assert learn_difficulty(books, 3, 20_000).difficulty_micro == int(22.5**0.5 / 20 * 10**6) + 1
        assert learnt.task_id in books.history


def test_nothing_to_learn_from(settled: Workspace, tmp_path: Path) -> None:
    """Another number of clients, and a ledger without sampled tasks, tell nothing: not found, with a way out."""
    with Books.open(settled) as books, pytest.raises(NotFound, match="4 clients") as caught:
        learn_difficulty(books, 4, 5_000)
    assert "--difficulty" in caught.value.hint
    empty = place(tmp_path / "other", ChainMaker(1))
    with Books.open(empty) as books, pytest.raises(NotFound):
        learn_difficulty(books, 3, 5_000)


def test_the_law_holds_in_the_mean() -> None:
    """Over 300 tasks of estimates with a known variance, D² is (1 − 1/R)·V/t, whatever t each miner reached."""
    maker, draw = ChainMaker(5), Random(3)
    maker.add(task := maker.task())
    record = maker.records[task.id]
    variance = 50_000  # images² a ranking and client

    def reveals() -> list[Reveal]:
        found = []
        for number, rankings in enumerate((50, 60, 70, 80, 90)):
            deviation = (variance * rankings) ** 0.5
            sums = tuple(round(100 * rankings + draw.gauss(0, deviation)) for _ in range(3))
            found.append(maker.reveal(task, 1, key(f"m{number}"), rankings=rankings, sums=sums))
        return found

    squares = [spread_micro(record, reveals(), 5_000) ** 2 for _ in range(300)]
    law = 0.8 * 3 * variance / 70 * (10**8 / 1_000) ** 2
    assert sum(squares) / 300 == pytest.approx(law, rel=0.1)


def test_publish_with_auto(settled: Workspace) -> None:
    """`--difficulty auto` publishes with the learnt D and says from which task it comes."""
    said = fedcoin("publish", "-n", "--difficulty", "auto", "--runtime", "5", "--json", folder=settled.root)
    assert said.code == 0, said.err
    assert said.json["difficulty"] == "0.474342"
    assert "learnt from task" in said.err
