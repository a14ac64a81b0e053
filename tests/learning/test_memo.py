from pathlib import Path

import numpy as np
import pytest

from fedcoin_cli.learning.mining.memo import Memo


def filled(clients: int) -> Memo:
    memo = Memo(clients)
    memo.store([1, 5, 6], np.array([10, 0, 40]))
    return memo


def test_counts_survive(tmp_path: Path) -> None:
    """A restored memo knows what was saved, no more and no less, and goes on to be exact."""
    filled(3).save(tmp_path / "counts")
    again = Memo(3)
    again.restore(tmp_path / "counts", images=40)
    assert len(again) == 3
    assert again.select([1, 5, 6]) == {1: 10, 5: 0, 6: 40}
    assert again.unknown(1, 10)[0] == [2, 3, 4, 7]
    again.store([2, 3, 4, 7], np.array([1, 2, 3, 4]))
    exact = again.exact()
    assert exact is not None
    assert exact.tolist() == [10, 1, 2, 3, 0, 40, 4]
    assert [path.name for path in tmp_path.iterdir()] == ["counts"]


@pytest.mark.parametrize(
    "trouble", ["none", "garbage", "cut", "other K", "other test set", "floats", "folder"]
)
def test_what_does_not_fit_is_not_restored(trouble: str, tmp_path: Path) -> None:
    """A file that is missing, damaged or of another game changes nothing."""
    path, images = tmp_path / "counts", 40
    filled(3).save(path)
    match trouble:
        case "none":
            path.unlink()
        case "garbage":
            path.write_bytes(b"\x93NUMPY nonsense")
        case "cut":
            path.write_bytes(path.read_bytes()[:-5])
        case "other K":
            filled(4).save(path)
        case "other test set":
            images = 39
        case "floats":
            with path.open("wb") as file:
                np.save(file, np.zeros(8))
        case "folder":
            path.unlink()
            path.mkdir()
    memo = Memo(3)
    memo.restore(path, images)
    assert len(memo) == 0
    assert memo.unknown(1, 10)[0] == [1, 2, 3, 4, 5, 6, 7]


def test_large_games_are_not_kept(tmp_path: Path) -> None:
    """Where masks cannot be enumerated nothing is written, and an unwritable place is no error."""
    filled(40).save(tmp_path / "counts")
    assert not list(tmp_path.iterdir())
    filled(3).save(tmp_path / "missing" / "counts")
