from collections.abc import Callable
from pathlib import Path

import pytest
from councils import Assembly

from fedcoin_cli.application.books import evidence
from fedcoin_cli.application.books.evidence import heights_kept, keep_evidence, read_evidence
from fedcoin_cli.network.frame import to_frame
from fedcoin_cli.network.message import Certified, Recall
from ledger_store.errors import LedgerInvalid

BLOCK = "a" * 64
Damage = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def council() -> Assembly:
    return Assembly(4)


def test_what_was_kept_is_read(tmp_path: Path, council: Assembly) -> None:
    """A height's votes and certificates come back; a second life adds what it knows and repeats nothing."""
    folder = tmp_path / "evidence"
    skip = Certified("skip", 1, None, council.skips(0)[0], None)
    one, other = council.vote("skip", 3, 0, None), council.vote("notar", 3, 1, BLOCK)
    keep_evidence(folder, 1, [skip, one])
    keep_evidence(folder, 1, [one, other])
    assert read_evidence(folder, 1) == [skip, one, other]
    assert read_evidence(folder, 2) == []


def test_old_heights_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many heights are kept, the newest ones."""
    monkeypatch.setattr(evidence, "HEIGHTS_KEPT", 3)
    for height in (9, 10, 11, 100, 2):
        keep_evidence(tmp_path, height, [])
    assert sorted(heights_kept(tmp_path)) == [10, 11, 100]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda line: line[:-2] + b"\n", "line 2"),
        (lambda _: to_frame(Recall()) + b"\n", "neither a vote nor a certificate"),
        (lambda _: b"\xff\n", "not canonical"),
        (lambda line: line.replace(b'"height":1', b'"height":2'), "another height"),
    ],
)
def test_what_is_no_evidence_is_refused(
    tmp_path: Path, council: Assembly, damage: Damage, words: str
) -> None:
    """A line that is cut, of another kind, no text, or of another height: refused, naming the file."""
    keep_evidence(tmp_path, 1, [council.vote("skip", 3, 0, None), council.vote("skip", 2, 0, None)])
    first, second = (tmp_path / "1.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "1.jsonl").write_bytes(first + damage(second))
    with pytest.raises(LedgerInvalid) as refusal:
        read_evidence(tmp_path, 1)
    assert words in f"{refusal.value.message} {refusal.value.where}"
    assert "1.jsonl" in refusal.value.where
