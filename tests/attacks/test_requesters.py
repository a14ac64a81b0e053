"""Requesters and clients that hand in broken files or spend coins that are not there."""

import pytest
from attacking import requesters
from attacking.requesters import broken_files, spent_twice

from ledger_store.block import Block
from ledger_store.chain import Tip


def test_broken_round_files_stop_no_child() -> None:
    """Damaged models, test sets and updates: each is refused, or can be mined to the end."""
    handed = broken_files(150)
    assert (handed.harm, handed.said) == (0, "")
    assert 75 < handed.refused < 150


def test_no_escrow_is_spent_twice() -> None:
    """Blocks that spend a task's price again, in five ways: none is valid."""
    handed = spent_twice(60)
    assert (handed.harm, handed.refused) == (0, 60)


def test_a_ledger_without_rules_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The count can fail: where blocks are valid whatever they hold, every one of them is harm."""

    def anything(_tip: Tip, _block: Block) -> None:
        return None

    monkeypatch.setattr(requesters, "validate", anything)
    assert spent_twice(5).harm == 5
