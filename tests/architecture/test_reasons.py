"""Every field that is signed, stored or sent is explained where it is declared, and every attribute of a large class.

`python tests/architecture/test_reasons.py` counts them, in the checkout that it is told (this one, if none).
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from generated import ROOT, explained

WIRE = (
    "ledger_store",
    "fedcoin_cli/protocol",
    "fedcoin_cli/consensus",
    "fedcoin_cli/incentive",
    "fedcoin_cli/network/files/pieces.py",
)
"""Where the values live that are signed, stored in a ledger or a log, or sent."""
SAID = frozenset(
    re.findall(
        r"\w+",
        """
        Signed Transfer Cancel Update Task Bounds Genesis Certificate Header Block Pay Outcome Commit Reveal FraudMark
        Close Result TaskRecord State TipRecord Inclusion Proposal Vote Certified CommitNote RevealNote FraudNote
        TransactionNote Receipt Status Fetch FinalBlock Recalled Remind Reminder Taken Beside Errors Standing Forgotten
        Estimate Terms Distance Attempt Opening Frozen Started Abstained Council Price Offer Want Chunk Lack Have
        KeyRecord
        """,
    )
)
LARGE = frozenset(
    {
        *(
            "Posap",
            "Reveals",
            "Accusations",
            "Clocks",
            "Simplex",
            "HeightMemory",
            "Proposals",
            "ViewTimer",
            "Ballots",
            "Replica",
            "BlockJudge",
            "Rejoining",
            "Finality",
            "SelfReport",
            "TaskWork",
            "WorkEffects",
            "Intake",
            "Inspections",
            "Refusals",
            "Mempool",
            "CatchUp",
            "Recovery",
            "Orders",
        ),
        *("Node", "RoundFiles", "Telling", "Measuring", "SupervisedChild", "TwinWatch"),
        *("P2P", "Transition", "Accounts", "ChainReader", "_Audit"),
    }
)
"""The machines, what stands around them, and the fold."""


def classes(root: Path, *places: str) -> Iterator[tuple[Path, ast.ClassDef]]:
    """The classes of some folders and files."""
    for place in places:
        start = root / place
        for path in sorted(start.rglob("*.py")) if start.is_dir() else [start]:
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    yield path, node


def fields(root: Path) -> dict[str, bool]:
    """Whether each field of what is signed, stored or sent has a docstring under it."""
    return {
        f"{node.name}.{name}": bool(said)
        for _, node in classes(root, *WIRE)
        if node.name in SAID
        for name, said in explained(node).items()
    }


def attributes(root: Path) -> dict[str, bool]:
    """Whether each attribute that a large class sets when it begins has a comment above it."""
    found: dict[str, bool] = {}
    for path, node in classes(root, "ledger_store", "fedcoin_cli"):
        if node.name in LARGE:
            lines = path.read_text("utf-8").splitlines()
            for line, name in _set_at_the_start(node):
                found.setdefault(f"{node.name}.{name}", lines[line - 2].strip().startswith("#"))
    return found


def _set_at_the_start(node: ast.ClassDef) -> Iterator[tuple[int, str]]:
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name in {"__init__", "_open"}:
            sets = [one for one in ast.walk(method) if isinstance(one, ast.Assign | ast.AnnAssign)]
            for one in sorted(sets, key=lambda one: one.lineno):
                for target in one.targets if isinstance(one, ast.Assign) else [one.target]:
                    for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                        if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self":
                            yield one.lineno, part.attr


def test_every_field_of_what_is_said_is_explained() -> None:
    """What a field is, its unit and why it is there stand under it: the manual takes its lists from there."""
    found = fields(ROOT)
    assert {name.split(".")[0] for name in found} == SAID
    assert [name for name, said in found.items() if not said] == []


def test_every_attribute_of_the_large_classes_has_its_comment() -> None:
    """Whoever reads a machine of twenty attributes learns what each is for."""
    found = attributes(ROOT)
    assert {name.split(".")[0] for name in found} == LARGE
    assert [name for name, said in found.items() if not said] == []


def test_a_field_without_a_word_is_seen() -> None:
    """One that has a docstring under it and one that has none."""
    (node,) = ast.parse('class A:\n    one: int\n    """One."""\n    two: int\n').body
    assert isinstance(node, ast.ClassDef)
    assert explained(node) == {"one": "One.", "two": ""}


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    for what, counted in (("fields", fields(chosen)), ("attributes", attributes(chosen))):
        print(f"{what}: {sum(counted.values())} of {len(counted)} explained")  # noqa: T201
