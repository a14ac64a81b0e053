"""docs/python.md: its notebook runs as it stands."""

import re
from pathlib import Path

import pytest
from generated import ROOT
from live import processes_in

import fedcoin
from benchmarks.network import free_ports


def notebook() -> str:
    """The page's code."""
    found = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "python.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(found) == 1
    return str(found[0])


def test_the_notebook_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In an empty folder the page's lines train, value, found, mine, publish, audit and verify; no miner is left.

    What it says of the outcome holds: values without a ledger are those on it, who trained on noise is paid nothing.
    """
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEDCOIN_NETWORK_PORT", str(free_ports(4)))
    names: dict[str, object] = {}
    exec(compile(notebook(), "python.md", "exec"), names)  # noqa: S102 -- the page is ours
    settlement, payment = names["settlement"], names["payment"]
    assert isinstance(settlement, fedcoin.Settlement)
    assert isinstance(payment, fedcoin.Proven)
    assert names["values"] == tuple(map(float, settlement.values))
    assert names["errors"] == (0.0,) * 4
    assert settlement.payments[3] == 0 < min(settlement.payments[:3])
    assert [one.amount for one in payment.payments if one.purpose == "client 1"] == [settlement.payments[0]]
    assert capsys.readouterr().out.splitlines() == [str(row) for row in settlement.rows()]
    assert not processes_in(tmp_path / "shop")


def test_the_notebook_is_short() -> None:
    """About twenty lines do all of it."""
    assert len([line for line in notebook().splitlines() if line.strip()]) <= 22


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_the_example_of_targets_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/examples/regression.md: its lines value four clients against the best constant, in the targets' own unit."""
    pytest.importorskip("sklearn")
    text = (ROOT / "docs" / "examples" / "regression.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "regression.md", "exec"), names)  # noqa: S102 -- the page is ours
    found = names["found"]
    assert isinstance(found, fedcoin.ShapleyValues)
    assert found.exact
    assert found.nobody > 0
    assert " mean squared error (root " in capsys.readouterr().out
