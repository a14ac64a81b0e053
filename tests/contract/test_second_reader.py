"""One task from publish to audit by SPEC.md alone: a second reader, without the product's code, agrees with it."""

import json
from pathlib import Path
from typing import Any

import from_spec as spec
import pytest
from evidenced import Bent, evidenced

from ledger_store.audit.audit import audit

GOLDEN = Path(__file__).parent.parent / "golden"


def golden(name: str) -> Any:
    return spec.decode((GOLDEN / f"{name}.json").read_bytes().removesuffix(b"\n"))


def test_the_golden_chain_is_what_the_rules_say() -> None:
    """Ids, roots, certificates, every signature and what opens what: from the frozen bytes, by SPEC.md's text.

    [P-2.2] [P-8.1]
    """
    genesis, ids, task = golden("genesis"), golden("ids"), golden("task")
    own = spec.tagged("genesis", spec.encode(genesis))
    first, last, close, result = golden("block-1"), golden("block-4"), golden("close"), golden("result")
    assert (own, spec.block_id(first), spec.block_id(last)) == (
        ids["genesis"],
        ids["block-1"],
        ids["block-4"],
    )
    assert (first["header"]["parent"], first["certificate"]) == (own, None)
    assert spec.covers(genesis, first)
    assert spec.covers(genesis, last)
    assert spec.certifies(genesis, own, golden("certificate"), 1, ids["block-1"])
    assert spec.certifies(genesis, own, last["certificate"], 3, last["header"]["parent"])
    assert spec.certifies(genesis, own, golden("tip")["certificate"], 4, ids["block-4"])
    for name in ("transfer", "task", "cancel"):
        assert spec.transaction_id(golden(name)) == ids[name]
        assert spec.authorised(golden(name), own)
    assert spec.answered(task, own)
    assert task["price_micro"] == sum(task[f"{part}_micro"] for part in ("train", "computation", "shapley"))
    sealed = {commit["miner"]: commit for commit in close["commits"]}
    assert (close["task"], result["task"]) == (ids["task"], ids["task"])
    for commit in close["commits"]:
        fields = {"attempt": 1, "digest": commit["digest"], "task": ids["task"]}
        assert spec.signed(commit["miner"], "commit", own, fields, commit["signature"])
    for reveal in result["reveals"]:
        assert spec.commitment(result, reveal) == sealed[reveal["miner"]]["digest"]
        assert spec.revealed(result, reveal, own)
    assert last["transactions"] == [result]


@pytest.mark.parametrize("rule", ["winner", "shared"])
@pytest.mark.parametrize("miners", [2, 4])
def test_a_task_from_publish_to_audit(tmp_path: Path, rule: str, miners: int) -> None:
    """A round of real files: lines, seed, rankings, sums of tables, agreement, winner and every balance in the end.

    [P-5.2] [P-7.5] [P-7.7] [P-9.14] [P-13.4]
    """
    made = evidenced(tmp_path, miners=miners, bent=Bent(terms={"sap_rule": rule}))
    ledger = made.maker.write(tmp_path / "ledger")
    genesis, *blocks = [spec.decode(line) for line in ledger.read_bytes().splitlines()]
    own = head = spec.tagged("genesis", spec.encode(genesis))
    balances = dict(genesis["supply"])
    task: Any = None
    for height, block in enumerate(blocks, 1):
        assert (block["header"]["height"], block["header"]["parent"]) == (height, head)
        assert spec.covers(genesis, block)
        assert height == 1 or spec.certifies(genesis, own, block["certificate"], height - 1, head)
        (transaction,) = block["transactions"]
        deposit = genesis["bounds"]["task_deposit_micro"]
        if transaction["type"] == "task":
            task, of = transaction, spec.seed(spec.transaction_id(transaction), head)
            assert spec.authorised(task, own)
            assert spec.answered(task, own)
            balances[task["sender"]] -= task["price_micro"] + deposit
        elif transaction["type"] == "result":
            for reveal in transaction["reveals"]:
                table = made.store.path(reveal["table"]).read_bytes()
                assert [str(one) for one in spec.sampled_sums(task, of, reveal, table)] == reveal["sums"]
            assert transaction["outcome"] == spec.outcome(genesis, task, transaction)
            pay = transaction["outcome"]["pay"]
            paid = [
                *zip((one["client"] for one in task["updates"]), pay["clients"], strict=True),
                (task["server"], pay["server"]),
                *map(tuple, pay["miners"]),
                (task["sender"], pay["requester"] + deposit),
            ]
            for address, micro in paid:
                balances[address] = balances.get(address, 0) + micro
        head = spec.block_id(block)
    report = audit(ledger, 2)
    assert report.ok
    assert report.head == head
    assert report.balances == {address: micro for address, micro in balances.items() if micro}


def test_the_second_reader_can_contradict() -> None:
    """One letter of a frozen value changed: it is no longer what was signed, sealed or named."""
    task, own = golden("task"), golden("ids")["genesis"]
    assert not spec.answered({**task, "empty": task["empty"] + 1}, own)
    block = golden("block-1")
    assert not spec.covers(golden("genesis"), json.loads(json.dumps(block).replace("12500000", "12500001")))
