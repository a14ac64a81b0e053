"""Scenario 3: edits of a chain of 200 blocks by somebody without keys, hashed again where that helps them."""

import multiprocessing
import random
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from chains import ChainMaker, build_chain
from edits import edits, first_altered, random_edit, rehashed
from scenarios.rows import Row

from ledger_store.audit.audit import audit
from ledger_store.file.chain_file import CHAIN_NAME, TIP_NAME

PROCESSES = 2
MINERS, BLOCKS = 4, 200
SAMPLE_EDITS, RELEASE_EDITS = 100, 10_000
PART = 50


@cache
def chain() -> ChainMaker:
    """Four miners, 200 blocks: transfers and a settled task."""
    return build_chain(MINERS, BLOCKS)


def edited(dice: random.Random) -> tuple[bytes, int]:
    """One edit, and the height that it altered: half are hashed again, so that every link fits."""
    maker = chain()
    lines = maker.lines()
    while dice.random() < 0.5:
        data = random_edit(dice, lines)
        height = first_altered(lines, data)
        if height is not None:
            return data, height
    height = dice.randint(1, BLOCKS)
    return rehashed(maker, height, dice.choice(edits(maker.blocks[height - 1]))), height


def judge(seed: int, count: int) -> Counter[str]:
    """Audit so many edits: how many were found, at the right height, at another, or not at all."""
    dice, seen = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / TIP_NAME).write_bytes(chain().tip_bytes())
        for _ in range(count):
            data, height = edited(dice)
            (place / CHAIN_NAME).write_bytes(data)
            found = [finding.height for finding in audit(place / CHAIN_NAME).findings]
            seen["right" if found == [height] else "elsewhere" if found else "missed"] += 1
    return seen


def judge_many(count: int) -> Counter[str]:
    """The same, part by part on all cores."""
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(PROCESSES, context) as pool:
        return sum(pool.map(judge, range(count // PART), [PART] * (count // PART)), Counter[str]())


def test_edits_of_a_long_chain_are_found_at_their_height() -> None:
    """Every one, and nowhere else."""
    assert judge(1, SAMPLE_EDITS) == {"right": SAMPLE_EDITS}


def test_an_untouched_chain_is_none_of_them(tmp_path: Path) -> None:
    """The audit can pass: what is found above is the edit."""
    chain().write(tmp_path)
    assert audit(tmp_path / CHAIN_NAME).ok


@pytest.mark.parametrize("cut", [1, 100, 200])
def test_a_cut_at_a_block_boundary_shows_beside_the_tip_file_only(tmp_path: Path, cut: int) -> None:
    """Without the tip file a shorter ledger is a ledger: only somebody else's height tells."""
    path = chain().write(tmp_path)
    path.write_bytes(b"".join(chain().lines()[: cut + 1]))
    found = [(one.code, one.height) for one in audit(path).findings]
    assert found == ([] if cut == BLOCKS else [("E206", cut + 1)])
    (tmp_path / TIP_NAME).unlink()
    report = audit(path)
    assert (report.ok, bool(report.skipped)) == (True, True)


def measure(*, full: bool) -> list[Row]:
    """Many edits."""
    count = RELEASE_EDITS if full else SAMPLE_EDITS
    seen = judge_many(count)
    return [
        Row(
            "edits of a ledger",
            f"{count} edits of {BLOCKS} blocks, R = {MINERS}, every second one hashed again to the end",
            "100 % found, at the right height",
            f"{seen['right']} found at their height, {seen['elsewhere']} at another, {seen['missed']} missed",
            seen["right"] == count,
        )
    ]
