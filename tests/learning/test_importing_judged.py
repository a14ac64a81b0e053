"""What a model will be judged by, told at its import: closings that stay, outputs that do not fit, LoRA by products."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shell import fedcoin as program

import fedcoin
from fedcoin_cli.contract.metric import Truth
from fedcoin_cli.learning.exchange.importing import Asked, import_model
from fedcoin_cli.learning.model.backend import keras
from fedcoin_cli.learning.model.graph_model import GraphModel
from ledger_store.base.errors import RoundFilesInvalid, SettingsError

X = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
IDS = np.random.default_rng(0).integers(0, 9, (4, 6)).astype(np.int32)
REAL, TOKENS = Asked(Truth.targets), Asked(Truth.tokens)


def torch_parts() -> Any:
    pytest.importorskip("onnxscript")
    return pytest.importorskip("torch")


def operations(made: Any) -> list[str]:
    assert made.imported is not None
    return [node.operation for node in made.imported.graph.nodes]


def test_a_closing_sigmoid_stays_for_targets() -> None:
    """Judged by labels the logit counts, judged by targets the number from 0 to 1 itself; both agree with PyTorch."""
    nn = torch_parts().nn
    module = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1), nn.Sigmoid())
    plain, real = import_model(module, [X]), import_model(module, [X], asked=REAL)
    assert plain.imported is not None
    assert real.imported is not None
    assert (plain.imported.closing, real.imported.closing) == ("Sigmoid", "")
    assert operations(real)[-1] == "Sigmoid"
    assert plain.model.row == real.model.row == (1,)


def test_a_keras_softmax_stays_for_targets() -> None:
    """A chain that ends in a softmax is a graph then: its shares are compared with targets."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, activation="softmax")])
    assert import_model(model).imported is None
    assert operations(import_model(model, asked=REAL))[-1] == "Softmax"


def test_python_sees_by_the_targets_what_is_meant() -> None:
    """`shapley` takes outputs as they are where y holds floats: squared error is that of the module's own outputs."""
    torch = torch_parts()
    torch.manual_seed(0)
    modules = [torch.nn.Sequential(torch.nn.Linear(5, 1), torch.nn.Sigmoid()) for _ in range(3)]
    targets = np.random.default_rng(1).random(4).astype(np.float32)
    updates = [module.state_dict() for module in modules]
    found = fedcoin.shapley(modules[0], (X, targets), updates, metric="neg_mean_squared_error:1", exact=True)
    mean = torch.nn.Sequential(torch.nn.Linear(5, 1), torch.nn.Sigmoid())
    mean.load_state_dict({name: torch.stack([one[name] for one in updates]).mean(0) for name in updates[0]})
    with torch.no_grad():
        lost = float(((mean(torch.from_numpy(X))[:, 0].numpy() - targets) ** 2).mean())
    assert float(sum(found.fractions)) == pytest.approx(100 * (1 - lost), abs=100 * 0.5 / 4095)


def tagger(torch: Any) -> Any:
    """A row of shares for each token."""
    nn = torch.nn
    return nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 9), nn.Softmax(-1))


def test_a_row_for_each_token_is_imported() -> None:
    """A softmax over the last axis is taken away; values are those of PyTorch's own mean model."""
    torch = torch_parts()
    torch.manual_seed(0)
    module = tagger(torch)
    made = import_model(module, [IDS], asked=TOKENS)
    assert isinstance(made.model, GraphModel)
    assert (made.model.row, made.model.classes) == ((6, 9), 9)
    assert made.imported is not None
    assert made.imported.closing == "Softmax"
    labels = np.random.default_rng(2).integers(0, 9, (4, 6)).astype(np.int32)
    labels[:, :2] = -100
    updates = [tagger(torch).state_dict() for _ in range(3)]
    module.load_state_dict({name: torch.stack([one[name] for one in updates]).mean(0) for name in updates[0]})
    with torch.no_grad():
        shares = module(torch.from_numpy(IDS))
    judged = torch.from_numpy(labels.astype(np.int64))
    lost = torch.nn.functional.nll_loss(shares.log().transpose(1, 2), judged, ignore_index=-100)
    found = fedcoin.shapley(made.text, (IDS, labels), updates, metric="neg_log_perplexity:8", exact=True)
    assert float(sum(found.fractions)) == pytest.approx(100 * (1 - float(lost) / 8), abs=100 * 0.5 / 4095)
    assert float(found.together.removesuffix(" perplexity")) == pytest.approx(float(lost.exp()), rel=1e-3)


@pytest.mark.parametrize(("asked", "ids"), [(TOKENS, False), (REAL, True), (Asked(Truth.labels), True)])
def test_outputs_that_are_not_judged_so_are_refused(asked: Asked, ids: bool) -> None:
    """Tokens need a row for each, all else a row an example; the hint says what to return."""
    torch = torch_parts()
    module = tagger(torch) if ids else torch.nn.Linear(5, 3)
    with pytest.raises(RoundFilesInvalid, match=r"its outputs are .*, and it is to be judged by") as caught:
        import_model(module, [IDS if ids else X], asked=asked)
    assert "(examples, tokens, classes)" in caught.value.hint


def adapted(torch: Any) -> Any:
    """A frozen layer with LoRA's factors beside it."""

    class Adapted(torch.nn.Module):  # type: ignore[misc]  # PyTorch comes in as a value
        def __init__(self) -> None:
            super().__init__()
            self.base, self.head = torch.nn.Linear(5, 6), torch.nn.Linear(6, 3)
            self.a, self.b = torch.nn.Linear(5, 2, bias=False), torch.nn.Linear(2, 6, bias=False)
            self.base.requires_grad_(requires_grad=False)

        def forward(self, x: Any) -> Any:
            return self.head(torch.relu(self.base(x) + 0.5 * self.b(self.a(x))))

    return Adapted()


def test_lora_is_imported_either_way(tmp_path: Path) -> None:
    """As factors, or as a product that the description names: outputs of one module are the same, values are not."""
    torch = torch_parts()
    torch.manual_seed(3)
    module = adapted(torch)
    named = {}
    for lora in ("factors", "products"):
        (tmp_path / lora).mkdir()
        text = fedcoin.model_of(module, X, lora=lora, to=tmp_path / lora / "model.json")
        named[lora] = '"products":["product0"]' in text
    assert named == {"factors": False, "products": True}
    with pytest.raises(SettingsError, match="no way to average") as caught:
        fedcoin.model_of(module, X, lora="sums", to=tmp_path / "model.json")
    assert caught.value.where == "lora"
    with pytest.raises(RoundFilesInvalid, match="two trained weights, one after the other"):
        fedcoin.model_of(torch.nn.Linear(5, 3), X, lora="products")


def test_the_program_says_it(tmp_path: Path) -> None:
    """Its options, and one line what, one where and a hint for what does not fit."""
    torch_parts()
    (tmp_path / "net.py").write_text(
        "import torch\nclass Net(torch.nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(torch.nn.Linear(5, 2, bias=False), torch.nn.Linear(2, 1), torch.nn.Sigmoid())\n"
    )
    np.save(tmp_path / "x.npy", X)
    line = ("model", "import", "net.py:Net", "--sample", "x.npy")
    done = program(
        *line, "--metric", "neg_mean_squared_error:1", "--lora", "products", "--json", folder=tmp_path
    )
    said = done.json
    assert (said["outputs"], said["closing"], said["products"]) == ([1], None, ["product0"])
    for option, value, what in (
        ("--metric", "token_accuracy", "and it is to be judged by a label for each token"),
        ("--metric", "neg_mean_squared_error:0", "CAP of neg_mean_squared_error is a number above 0"),
        ("--metric", "mse", "there is no metric 'mse'"),
        ("--lora", "sums", "'sums' is no way to average LoRA's factors"),
    ):
        refused = program(*line, option, value, folder=tmp_path)
        assert refused.code != 0
        assert what in refused.err
        assert "hint:" in refused.err
