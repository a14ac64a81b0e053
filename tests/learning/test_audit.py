from dataclasses import replace
from pathlib import Path

import pytest
from evidenced import evidenced
from memory import peak_bytes

from fedcoin_cli.application.auditing.audit import Plan, read_ledger
from fedcoin_cli.learning.audit import Depth, Verdict, recompute


@pytest.mark.parametrize(("clients", "exact"), [(4, False), (4, True), (40, True)])
def test_what_cannot_be_the_table_costs_nothing(tmp_path: Path, clients: int, exact: bool) -> None:
    """A file larger than any table of what was revealed, or none of exact values, is accused without being read."""
    made = evidenced(tmp_path, clients)
    _, (case,) = read_ledger(made.maker.write(tmp_path), Plan(4))
    liar = replace(made.liar, exact=exact)
    case = replace(case, result=replace(case.result, reveals=(liar,)))
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(256 * 2**20)

    def find(digest: str) -> Path:
        return large if digest == liar.table else made.store.path(digest)

    verdicts: list[Verdict] = []
    assert peak_bytes(lambda: verdicts.append(recompute([case], find, Depth(0, 1)))) < 64 * 2**20
    assert [(one.code, one.height, one.file) for one in verdicts[0].findings] == [("E504", 3, str(large))]
