"""The manual's examples: every one is run as it stands there, in a network that is what the page takes for granted."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from graphs import MODELS, drawn_weights
from live import PATIENCE_S, wait_until, workspace_of
from onnx import TensorProto, helper
from rounds import SHAPES, make_round
from safetensors.numpy import save_file
from shell import PROGRAM, fedcoin

from benchmarks.network import free_ports
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.cli.program.verbs import examples, verbs
from fedcoin_cli.consensus.rankings import grid_up_to
from fedcoin_cli.learning.graph.writer import graph_text
from fedcoin_cli.learning.model.backend import keras
from fedcoin_cli.learning.model.reading import read_model

_LAST = ("cancel", "stop")
EXAMPLES = [(verb, line) for verb in verbs() for line, _ in examples(verb)]
# What others need comes before what stops it or keeps it busy.
ORDERED = [*(one for one in EXAMPLES if one[0] not in _LAST), *(one for one in EXAMPLES if one[0] in _LAST)]
ALONE, IDLE = {"init", "demo"}, {"mine", "node", "repair"}
# What runs until Ctrl-C, and how many miners are ready by then.
UNTIL_CTRL_C = {"fedcoin mine --once": 2, "fedcoin node 1 --json": 1, "fedcoin signer --key client-001": 1}


@dataclass(frozen=True, slots=True)
class Scene:
    """Where an example is typed, and what its variables hold."""

    workspace: Workspace
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The workspace's."""
        return self.workspace.root

    def say(self, *arguments: str) -> str:
        """Run a command that must end well; its standard output."""
        said = fedcoin(*arguments, folder=self.folder, timeout_s=240, FEDCOIN_TASK_RUNTIME="1")
        assert said.code == 0, said.err
        return said.out


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two miners at work; one round of three clients is settled."""
    with workspace_of(tmp_path_factory.mktemp("run") / "shop", 2, "--clients", "3") as net:
        scene = Scene(net, {"GENESIS": net.genesis().id})
        make_round(net)
        # Sampling takes its time, which a task that is to be withdrawn needs.
        scene.say("mine", "--detach", "--set", "mining.estimator=balanced")
        scene.say("status", "--wait", "60")
        scene.variables["TASK"] = fedcoin(
            "publish", "--price", "100", "--runtime", "1", "--difficulty", "100", "--json", folder=net.root
        ).json["task"]
        yield scene


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Two miners that do not run."""
    with workspace_of(tmp_path_factory.mktemp("idle") / "shop", 2, "--clients", "2") as net:
        yield Scene(net)


# What a page takes for granted ----------------------------------------------------------------------------------------


def _ledger(scene: Scene) -> None:
    shutil.copytree(scene.workspace.miner(1).path, scene.folder / "ledger", dirs_exist_ok=True)


def _backup(scene: Scene) -> None:
    shutil.copytree(
        scene.workspace.miner(1).path, scene.folder / "backup" / "miners" / "1", dirs_exist_ok=True
    )


def _proof(scene: Scene) -> None:
    scene.say("show", "--proof", scene.variables["TASK"], "-o", "proof.json")


def _arrays(scene: Scene) -> None:
    draw = np.random.default_rng(1)
    np.savez(scene.folder / "mine.npz", *(draw.normal(size=shape).astype(np.float32) for shape in SHAPES))


def _images(scene: Scene) -> None:
    draw = np.random.default_rng(2)
    x, y = draw.random((90, 4, 4), dtype=np.float32), draw.integers(0, 3, 90).astype(np.int64)
    np.savez(scene.folder / "data.npz", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])


def _test_set(scene: Scene) -> None:
    draw = np.random.default_rng(3)
    x = draw.random((9, *read_model((scene.workspace.round(1) / "model.json").read_bytes()).inputs[0].shape))
    np.savez(scene.folder / "test.npz", x=x, y=draw.integers(0, 3, 9))


def _state(scene: Scene) -> None:
    graph = MODELS["mlp"]()
    (scene.folder / "graph.json").write_text(graph_text(graph))
    save_file(drawn_weights(graph, np.random.default_rng(4)), scene.folder / "state.safetensors")


def _onnx(scene: Scene) -> None:
    kernel = helper.make_tensor("fc.weight", TensorProto.FLOAT, (4, 3), [0.5] * 12)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "fc.weight"], ["out"])], "net", [x], [out], [kernel]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    (scene.folder / "net.onnx").write_bytes(model.SerializeToString())


def _keras(scene: Scene) -> None:
    layers = keras.layers
    front = [keras.Input((6, 6, 1)), layers.Conv2D(2, 3), layers.BatchNormalization(), layers.Flatten()]
    keras.Sequential([*front, layers.Dense(2)]).save(scene.folder / "net.keras")


def _model(scene: Scene) -> None:
    for name in ("model.json", "test.safetensors"):
        shutil.copy(scene.workspace.round(1) / name, scene.folder / name)


def _call(scene: Scene) -> Path:
    """A call that is out, beside the weights of a client who is to sign for it."""
    _model(scene)
    made = scene.say(
        *(
            "round",
            "call",
            "--model",
            "model.json",
            "--test",
            "test.safetensors",
            "--clients",
            "2",
            "--price",
            "10",
        )
    )
    assert made
    folder = scene.workspace.latest_round()
    shutil.copy(folder / "call.json", scene.folder / "call.json")
    shutil.copy(scene.workspace.round(1) / "client-001.safetensors", scene.folder / "mine.safetensors")
    return folder


def _updates(scene: Scene) -> None:
    folder, updates = _call(scene), scene.folder / "updates"
    updates.mkdir()
    for number in (1, 2):
        name = f"client-00{number}"
        shutil.copy(scene.workspace.round(1) / f"{name}.safetensors", updates)
        shutil.copy(folder / "call.json", updates)
        signed = ("update", "sign", f"updates/{name}.safetensors", "--examples", "9", "--key", name)
        scene.say(*signed)


def _whole(scene: Scene) -> None:
    """The newest round is one that clients have answered: what other examples have only called for is gone."""
    for folder in scene.workspace.rounds.iterdir():
        if not (folder / "round.json").exists():
            shutil.rmtree(folder)


def _waiting(scene: Scene) -> None:
    """A task behind another account's that takes long: three clients' usual few thousand rankings take no time."""
    scene.say("pay", "client-001", "5")
    long = ("--runtime", "60", "--key", "client-001", "--set", f"task.most-rankings={grid_up_to(10**6)}")
    for words in (long, ("--runtime", "1")):
        made = fedcoin(
            *("publish", "rounds/1", "--price", "1", "--no-wait", "--json", *words),
            folder=scene.folder,
            timeout_s=240,
        )
        assert made.code == 0, made.err
        scene.variables["TASK"] = made.json["task"]
    wait_until(lambda: fedcoin("show", scene.variables["TASK"], folder=scene.folder).code == 0)


def _roster(scene: Scene) -> None:
    scene.say("key", "new", "ben", "-C", "elsewhere")
    entry = scene.say("key", "show", "ben", "-C", "elsewhere", "--at", f"127.0.0.1:{free_ports(2)}")
    (scene.folder / "roster.toml").write_text(entry)


def _invited(scene: Scene) -> None:
    scene.say("init", "founded", "--clients", "2")
    for name in ("genesis.json", "peers.toml"):
        shutil.copy(scene.folder / "founded" / name, scene.folder / name)


NEEDS: dict[str, Callable[[Scene], object]] = {
    "fedcoin audit ledger/ --genesis $GENESIS": _ledger,
    "fedcoin cancel $TASK": _waiting,
    "fedcoin convert mine.npz --model rounds/1/model.json": _arrays,
    "fedcoin convert state.safetensors --model graph.json -o named.safetensors": _state,
    "fedcoin convert test.npz --test --model rounds/1/model.json -o judged.safetensors": _test_set,
    "fedcoin init club --roster roster.toml": _roster,
    "fedcoin init mine --join genesis.json": _invited,
    "fedcoin inspect": _whole,
    "fedcoin values": _whole,
    "fedcoin model import net.keras --frozen 'conv2d/*' -o part.json": _keras,
    "fedcoin model import net.onnx -o net.json": _onnx,
    "fedcoin repair --from backup/miners/1": _backup,
    "fedcoin round call --model model.json --test test.safetensors --clients 2 --price 10": _model,
    "fedcoin round gather updates/": _updates,
    "fedcoin train --clients 3 --dataset data.npz --epochs 2 -o rounds/small": _images,
    "fedcoin update sign mine.safetensors --examples 500 --key client-001": _call,
    "fedcoin verify proof.json": _proof,
    "fedcoin verify proof.json --genesis $GENESIS": _proof,
}


def typed(line: str, folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Type a line into a shell; what runs until Ctrl-C gets it once it says that it is ready."""
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "FEDCOIN_TASK_RUNTIME": "1"} | variables
    said = folder / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(
            ["sh", "-c", f"exec {line}"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    if line in UNTIL_CTRL_C:
        wait_until(lambda: said.read_text().count("ready") == UNTIL_CTRL_C[line])
        process.send_signal(signal.SIGINT)
    code = process.wait(4 * PATIENCE_S)
    return subprocess.CompletedProcess(line, code, said.read_text())


@pytest.mark.parametrize(("verb", "line"), ORDERED, ids=[line for _, line in ORDERED])
def test_an_example_of_the_manual(verb: str, line: str, running: Scene, idle: Scene, tmp_path: Path) -> None:
    """It ends well, or with Ctrl-C where it runs until then."""
    scene = Scene(Workspace(tmp_path)) if verb in ALONE else idle if verb in IDLE else running
    ports = {"FEDCOIN_NETWORK_PORT": str(free_ports(10))} if verb in ALONE else {}
    if line in NEEDS:
        NEEDS[line](scene)
    done = typed(line, scene.folder, scene.variables | ports)
    assert done.returncode == 0, done.stdout
    if line == "fedcoin mine --detach":
        scene.say("stop")


def test_every_command_has_examples() -> None:
    """At least one a command, each beginning with it, and none that needs what no command takes."""
    for verb in verbs():
        assert examples(verb), verb
        assert all(line.split()[:2] == ["fedcoin", verb] for line, _ in examples(verb))
    assert NEEDS.keys() <= {line for _, line in EXAMPLES}
