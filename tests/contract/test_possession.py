"""Who asks for a task has the files that its call names."""

from pathlib import Path

import from_spec as spec
import pytest
from chains import key
from evidenced import Bent, evidenced

from fedcoin_cli.application.auditing.full_audit import AuditPlan, audit_ledger
from fedcoin_cli.application.rounds.past_files import Evidence
from fedcoin_cli.contract.possession import held_by
from fedcoin_cli.learning.task_game import load_game
from ledger_store.base.errors import NotFound, RoundFilesInvalid

REQUESTER = key("requester").address


def test_it_is_a_hash_of_address_and_bytes(tmp_path: Path) -> None:
    """As SPEC.md has it, whatever the sizes; every byte, the order and the account count. [P-5.22]."""
    parts = {"model": b"{}" * 7, "test": bytes(range(256)) * 5_000, "none": b""}
    paths = {name: tmp_path / name for name in parts}
    for name, data in parts.items():
        paths[name].write_bytes(data)
    own = held_by(REQUESTER, paths.values())
    assert own == spec.held(REQUESTER, parts.values())
    assert own != held_by(key("another").address, paths.values())
    assert own != held_by(REQUESTER, reversed(paths.values()))
    paths["test"].write_bytes(parts["test"][:-1] + b"\0")
    assert own != held_by(REQUESTER, paths.values())
    with pytest.raises(OSError, match="No such file"):
        held_by(REQUESTER, [tmp_path / "nothing"])
    with pytest.raises(NotFound, match="a device"):
        held_by(REQUESTER, [Path("/dev/null")])


def test_a_task_without_the_proof_is_no_game_and_its_audit_says_so(tmp_path: Path) -> None:
    """Another account's proof, which whoever has only digests can copy, opens nothing. [P-6.27]."""
    true = evidenced(tmp_path / "true")
    load_game(true.task, true.store.path)
    files = [true.store.path(one).read_bytes() for one in true.task.called_files]
    assert true.task.held == spec.held(true.task.sender, files)
    copied = spec.held(key("another").address, files)
    stolen = evidenced(tmp_path / "stolen", bent=Bent(terms={"held": copied}))
    assert stolen.task.test == true.task.test
    with pytest.raises(RoundFilesInvalid, match="has not shown to have the files"):
        load_game(stolen.task, stolen.store.path)
    plan = AuditPlan(4, sample=None, jobs=2)
    for made, found in ((true, []), (stolen, ["E502"])):
        report, _ = audit_ledger(made.maker.write(tmp_path), plan, Evidence([made.store.folder]).find)
        assert [one.code for one in report.findings] == found
