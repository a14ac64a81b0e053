"""How a round is to be judged: settings become terms that clients sign, and files that miners fetch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chains import ChainMaker, key
from places import place
from rounds import SHAPES, make_round

from fedcoin_cli.application.requester.publication import Publication, wanted_of
from fedcoin_cli.application.rounds.calling import CALL_NAME, make_call, read_call_file, sign_weights
from fedcoin_cli.application.rounds.files import BASELINE_NAME, read_round
from fedcoin_cli.application.rounds.gathering import gather
from fedcoin_cli.application.rounds.judging import judged
from fedcoin_cli.application.rounds.terms import AskedTerms
from fedcoin_cli.application.workspace.configuration import Configuration, FlagError, Given, load
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.learning.game.game import Game, RoundFiles
from fedcoin_cli.learning.model.weights import TestSet, write_test, write_update
from fedcoin_cli.learning.reference.reference import Reference
from ledger_store.base.canonical import digest
from ledger_store.base.errors import RoundFilesInvalid, SettingsError
from ledger_store.transaction import ZERO

MAKER = ChainMaker(1)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A publisher's workspace with one round."""
    workspace = place(tmp_path / "net", MAKER)
    make_round(workspace)
    return workspace


@pytest.fixture
def began(tmp_path: Path) -> Path:
    """Weights that clients may have begun with."""
    draw, path = np.random.default_rng(9), tmp_path / "began.safetensors"
    write_update(path, [draw.normal(size=shape).astype(np.float32) for shape in SHAPES])
    return path


def asked(**settings: str) -> Configuration:
    given = {f"task.{name}": Given(value, "flag", f"--{name}") for name, value in settings.items()}
    return load(None, given, {})


def test_accuracy_against_nothing_needs_labels_alone(tmp_path: Path) -> None:
    """As in the paper M is n and u(∅) is 0, whatever the model: a test set of labels is all that is looked at."""
    test = tmp_path / "test.safetensors"
    write_test(test, TestSet(np.zeros((397, 2), np.uint8), np.zeros(397, np.int32)))
    found = judged(asked().settings.task, (tmp_path / "none", test, None), 397)
    assert (found.metric, found.baseline, found.whole, found.empty) == ("accuracy", ZERO, 397, 0)


def test_a_named_baseline_is_judged_and_travels(workspace: Workspace, began: Path) -> None:
    """Its digest stands in the task, its worth is u(∅), and the file is among those that miners get."""
    files = read_round(workspace.round(1), MAKER.genesis)
    settings = asked(baseline=str(began), metric="neg_log_loss:2").settings
    wanted = Publication.of(workspace, files, AskedTerms(settings, MAKER.server.address))
    task = wanted.task(MAKER.requester.address, 1)
    named = digest(began.read_bytes())
    assert (task.metric, task.baseline, task.named) == ("neg_log_loss:2", named, named)
    assert wanted.round.paths[named] == began
    assert set(task.files) <= set(wanted.round.paths)
    alone = Game.load(RoundFiles(files.folder / "model.json", files.folder / "test.safetensors", (began,)))
    assert task.whole == 4_095 * files.images
    assert task.empty > 0
    by_accuracy = Publication.of(
        workspace, files, AskedTerms(asked(baseline=str(began)).settings, MAKER.server.address)
    )
    assert by_accuracy.task(MAKER.requester.address, 1).empty == Reference(alone).count(1)


def test_clients_sign_for_metric_and_baseline(tmp_path: Path, workspace: Workspace, began: Path) -> None:
    """A call holds them and the baseline's file; the gathered round is published under them, and under nothing else."""
    genesis, first, folder = MAKER.genesis, workspace.round(1), workspace.new_round()
    settings = asked(metric="balanced_accuracy", baseline=str(began)).settings
    terms = AskedTerms(settings, MAKER.server.address)
    files = (first / "model.json", first / "test.safetensors")
    call = make_call(folder, genesis, files, terms, MAKER.requester.address, (2, 3))
    assert (call.metric, call.named) == ("balanced_accuracy", digest(began.read_bytes()))
    assert (folder / BASELINE_NAME).read_bytes() == began.read_bytes()
    other = replace(read_call_file(folder / CALL_NAME, genesis), metric="accuracy")
    assert other.call != call.call
    updates = []
    for number, name in enumerate(("alice", "bob")):
        draw, weights = np.random.default_rng(number), tmp_path / f"{name}.safetensors"
        write_update(weights, [draw.normal(size=shape).astype(np.float32) for shape in SHAPES])
        updates.append(sign_weights(weights, folder / CALL_NAME, genesis, key(name), 10)[0])
    made = gather(folder, updates, genesis)
    assert made.paths[digest(began.read_bytes())] == folder / BASELINE_NAME
    task = wanted_of(workspace, folder, load(None, {}, {})).task(MAKER.requester.address, 1)
    assert (task.metric, task.baseline, task.whole, task.empty) == (
        call.metric,
        call.baseline,
        call.whole,
        call.empty,
    )
    same = asked(metric="balanced_accuracy", baseline=str(began))
    assert wanted_of(workspace, folder, same).task(MAKER.requester.address, 1) == task
    for changed in (asked(metric="roc_auc"), asked(baseline="chance")):
        with pytest.raises(FlagError, match="other terms"):
            wanted_of(workspace, folder, changed)
    (folder / BASELINE_NAME).write_bytes(b"other")
    with pytest.raises(RoundFilesInvalid, match=r"changed after it was signed"):
        read_round(folder, genesis)


@pytest.mark.parametrize(
    ("settings", "reason", "where"),
    [
        ({"metric": "f2"}, "no metric 'f2'", "--metric"),
        ({"metric": "neg_log_loss"}, "needs a parameter", "--metric"),
        ({"baseline": "/none.safetensors"}, "no baseline '/none.safetensors'", "task.baseline"),
        ({"baseline": "/"}, "no baseline '/'", "task.baseline"),
    ],
)
def test_what_there_is_not_is_told(
    workspace: Workspace, settings: dict[str, str], reason: str, where: str
) -> None:
    """An unknown metric, one without its parameter, and a baseline that is no file: what, where and what there is."""
    folder = workspace.round(1)
    with pytest.raises(SettingsError, match=reason) as refused:
        judged(
            asked(**settings).settings.task, (folder / "model.json", folder / "test.safetensors", None), 60
        )
    assert refused.value.where == where
    assert refused.value.hint


def test_what_does_not_fit_is_told(workspace: Workspace, tmp_path: Path) -> None:
    """A metric that does not fit the outputs, and another model's baseline: before anybody signs [P-6.19]."""
    folder = workspace.round(1)
    files = (folder / "model.json", folder / "test.safetensors", None)
    with pytest.raises(RoundFilesInvalid, match="the model has 3") as refused:
        judged(asked(metric="roc_auc").settings.task, files, 60)
    assert (refused.value.where, bool(refused.value.hint)) == ("metric", True)
    foreign = tmp_path / "foreign.safetensors"
    write_update(foreign, [np.zeros((2, 2), np.float32)])
    with pytest.raises(RoundFilesInvalid, match="the baseline") as refused:
        judged(asked(baseline=str(foreign)).settings.task, files, 60)
    assert refused.value.where == str(foreign)
    assert "the round's own model" in refused.value.hint
