"""Models and tensors from strangers: refused by what their headers say, before anything large is read or made."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attacking import untrusted
from attacking.untrusted import Hostile, hostile, refuse, refuse_all

from fedcoin_cli.learning.game.game import Game, RoundFiles
from fedcoin_cli.learning.model.model import MAX_MODEL_BYTES
from fedcoin_cli.learning.model.tensorfile import MAX_AXES
from fedcoin_cli.learning.model.weights import TestSet, write_test
from ledger_store.base.errors import RoundFilesInvalid

TESTS = Path(__file__).resolve().parents[1]


def test_every_hostile_file_is_refused_and_none_takes_memory(tmp_path: Path) -> None:
    """A process that meets all of them refuses each, and never holds 64 MiB more than before."""
    ran = subprocess.run(
        [sys.executable, "-m", "attacking.untrusted", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}"},
        capture_output=True,
        check=True,
        timeout=300,
    )
    report = json.loads(ran.stdout)
    assert report["attacks"] >= 150
    assert report["taken"] == []
    assert report["peak_mib"] < 64


def test_a_file_that_is_taken_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count of refusals can fail: a good model among the hostile ones is reported as taken."""
    harmless = Hostile("harmless", "update", lambda path: path.write_bytes(b""))
    monkeypatch.setattr(untrusted, "hostile", lambda: [harmless])
    monkeypatch.setattr(untrusted, "refuse", lambda *_: None)
    assert refuse_all(tmp_path)["taken"] == ["harmless"]


def test_axes_are_counted_before_they_are_multiplied(tmp_path: Path) -> None:
    """80,000 axes, whose product takes seconds to form, are refused for their number."""
    (many,) = (attack for attack in hostile() if attack.name == "80,000 axes (update)")
    assert f"at most {MAX_AXES} axes" in (refuse(many, tmp_path / "file") or "")


def _game(tmp_path: Path, model: str, side: int, images: int = 2) -> RoundFiles:
    (tmp_path / "model.json").write_text(model)
    pictures = np.zeros((images, side, side, 1), np.uint8)
    write_test(tmp_path / "test", TestSet(pictures, np.zeros(images, np.int32)))
    return RoundFiles(tmp_path / "model.json", tmp_path / "test", (tmp_path / "none", tmp_path / "none"))


def test_windows_that_would_be_walked_for_minutes(tmp_path: Path) -> None:
    """A pooling over a whole large image, one place after the other, is refused by the size of its window."""
    files = _game(tmp_path, untrusted.pooling(512), 512)
    with pytest.raises(RoundFilesInvalid, match="window has more than 4096 places"):
        Game.load(files)


def test_windows_that_would_fill_the_memory(tmp_path: Path) -> None:
    """64 × 64 windows at every place of an image of 512 × 512 would be 8 GiB an image: refused before one is made."""
    files = _game(tmp_path, untrusted.convolution(64, 512), 512, images=1)
    with pytest.raises(RoundFilesInvalid, match="needs too much memory"):
        Game.load(files)


def test_a_model_of_any_size_is_not_read_whole(tmp_path: Path) -> None:
    """Of a description of 64 GiB (a sparse file) a little more than the allowed megabyte is read."""
    files = _game(tmp_path, "{}", 4)
    with files.model.open("ab") as file:
        file.truncate(64 * 2**30)
    assert files.model.stat().st_size > MAX_MODEL_BYTES
    with pytest.raises(RoundFilesInvalid, match="larger than 1 MiB"):
        Game.load(files)
