"""A network whose machines have neither Keras nor TensorFlow: called for, signed, gathered, mined, paid and audited."""

import os
from pathlib import Path

import pytest
from live import workspace_of
from rounds import make_round
from shell import Said, fedcoin

from fedcoin_cli.application.workspace.workspace import client_name
from fedcoin_cli.learning.engines.compiled import library


def test_a_round_of_real_clients(tmp_path: Path) -> None:
    """Whatever would import them fails; the C kernel counts."""
    if library() is None:
        pytest.skip("no C compiler here")
    missing = 'import sys\nfor name in ("keras", "tensorflow", "sklearn"):\n    sys.modules[name] = None\n'
    (tmp_path / "sitecustomize.py").write_text(missing)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])

    def say(*arguments: str) -> Said:
        said = fedcoin(*arguments, folder=shop.root, timeout_s=240, PYTHONPATH=path)
        assert said.code == 0, said.err
        return said

    settings = ("--set", "task.runtime=2")
    with workspace_of(tmp_path / "shop", 2, "--clients", "3", *settings) as shop:
        assert fedcoin("train", folder=shop.root, PYTHONPATH=path).code != 0
        made = make_round(shop)
        say("mine", "--detach")
        say("status", "--wait", "60")
        files = ("--model", str(made / "model.json"), "--test", str(made / "test.safetensors"))
        call = Path(say("round", "call", *files, "--price", "100", "--json").json["round"])
        (call / "in").mkdir()
        for number in (1, 2, 3):
            weights = call / "in" / f"{client_name(number)}.safetensors"
            weights.write_bytes((made / weights.name).read_bytes())
            asked = ("--examples", "10", "--key", client_name(number), "--call", str(call / "call.json"))
            say("update", "sign", str(weights), *asked)
        say("round", "gather", str(call / "in"), "-o", str(call))
        assert say("publish", str(call), "--json").json["state"] == "SETTLED"
        assert "audit ok" in say("audit", "--level", "4", "--all").out
