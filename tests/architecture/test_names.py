"""What a text or a number names is said by its type: `ledger_store.base.names`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcoin_cli.consensus.attempt import Stage
from fedcoin_cli.protocol.message import Phase
from ledger_store.base.words import TaskState, VoteKind

ROOT = Path(__file__).parents[2]
PACKAGES = [
    "ledger_store",
    *(
        f"fedcoin_cli/{name}"
        for name in ("protocol", "consensus", "contract", "incentive", "replica", "network")
    ),
]
INDICES = ("voter", "proposer", "me")
# What a field or parameter of this name is, wherever it is not a value of its own.
NAMED = {
    **dict.fromkeys(("address", "sender", "client", "winner", "guest"), "Address"),
    **dict.fromkeys(("digest", "table", "model", "test", "baseline", "weights"), "Digest"),
    **dict.fromkeys(("task", "task_id", "current_task"), "TaskId"),
    **dict.fromkeys(("block", "block_id", "parent", "head", "predecessor"), "BlockId"),
    "genesis": "GenesisId",
    "miner": "Address",
    **dict.fromkeys(INDICES, "MinerIndex"),
}
TEXTS, NUMBERS = {"str", "str | None"}, {"int", "int | None"}


def annotated(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Every parameter and every annotated field or attribute, with its annotation."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg) and node.annotation is not None:
            yield node.arg, node.annotation
        elif isinstance(node, ast.AnnAssign):
            target = node.target
            yield (
                (target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")),
                node.annotation,
            )


def bare(source: str) -> list[str]:
    """Names of which the annotation says no more than text or number."""
    return [
        f"{annotation.lineno}: {name}: {ast.unparse(annotation)}, meant is {NAMED[name]}"
        for name, annotation in annotated(ast.parse(source))
        if name in NAMED and ast.unparse(annotation) in (NUMBERS if name in INDICES else TEXTS)
    ]


def files() -> list[Path]:
    """The modules of the protocol library, of the ledger and of the network."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_has_a_type_of_its_own_is_no_bare_text(path: Path) -> None:
    """No field and no parameter that names an account, file, task, block, network or miner is a mere str or int."""
    assert bare(path.read_text("utf-8")) == []


def test_a_bare_text_is_seen() -> None:
    """The test itself can fail: of parameters, fields and attributes alike, with None or without."""
    source = "def f(task: str): ...\nclass C:\n    voter: int\n    table: str | None\n    name: str\n"
    assert sorted(line.split(":")[0] for line in bare(source)) == ["1", "3", "4"]


def spelt_out(source: str) -> list[str]:
    """Words that an enumeration has, in comparisons."""
    words = {*TaskState, *VoteKind, *Phase, *Stage}
    compared = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Compare)]
    parts = [part for node in compared for one in (node.left, *node.comparators) for part in ast.walk(one)]
    return [str(part.value) for part in parts if isinstance(part, ast.Constant) and part.value in words]


def test_no_word_of_an_enumeration_is_spelt_out() -> None:
    """Nothing in the product compares with a state, kind, phase or stage by its letters; a misspelt one would pass."""
    paths = [path for package in ("ledger_store", "fedcoin_cli") for path in (ROOT / package).rglob("*.py")]
    assert {str(path): found for path in paths if (found := spelt_out(path.read_text("utf-8")))} == {}
    assert spelt_out('if x.state in {"OPEN", "other"} or (a, kind) == (1, "skip"): ...') == ["OPEN", "skip"]
