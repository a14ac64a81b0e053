"""Train K simulated clients and write a round.

What a round consists of is decided in `application.rounds.making`, what a recipe is in `application.rounds.recipe`.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedcoin_cli.application.rounds.new_round import new_round
from fedcoin_cli.cli.program.interrupts import Interrupts, interrupt
from fedcoin_cli.cli.program.options import Call, no_nan
from fedcoin_cli.cli.program.passphrases import PassphraseFile
from fedcoin_cli.cli.program.progress import progress

if TYPE_CHECKING:
    from fedcoin_cli.application.rounds.recipe import Recipe

EXAMPLES = (
    ("fedcoin train --split mix", "one update a client of this workspace, on digits"),
    ("fedcoin train --dataset nafld --split rare", "real patients, most of the dead at one hospital"),
    (
        "fedcoin train --clients 3 --dataset data.npz --epochs 2 -o rounds/small",
        "on your own images, into a folder of that name",
    ),
)


def run(  # noqa: PLR0913, PLR0917 -- one parameter an option
    call: Call,
    clients: Annotated[str | None, typer.Option(metavar="K", help="How many clients train.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="digits|mnist|nafld|default|diamonds|FILE.npz",
            help="The data: embedded digits, Keras's MNIST, a hospital's, a bank's, prices, or a file.  "
            "[default: digits]",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="CASE",
            help="How data are divided: same, mix, weight, noisex, noisey, types, rare or dirichlet[:ALPHA].  "
            "[default: same]",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            exists=True,
            dir_okay=False,
            help="A Keras Sequential model as model.to_json() writes it; default: 128 hidden units.",
        ),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.safetensors",
            exists=True,
            dir_okay=False,
            help="Begin with these weights, as fedcoin model aggregate writes them; default: drawn.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=1_000, help="Passes of each client over its data.  [default: 10]")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=1e-9, max=1e3, callback=no_nan, help="The learning rate of SGD.  [default: 0.1]"),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, max=2**20, help="Images a step, for all clients; default: about 100 steps a pass, 8 to 32."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=2**31 - 1, help="Fixes everything that is drawn.  [default: 0]")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Where; default: the next under rounds/."),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Train K simulated clients and write a round.

    Each client starts from the same initial model and trains on its own part of the data; publish signs for all
    of them, with the keys that are made here. The same options and seed give the same bytes on one machine;
    round.json and --json hold the whole recipe, with the labels of each client.

    FILE.npz is a file of numpy.savez with four arrays: x_train and x_test, images (n, ...) as float or uint8, which
    means x / 255; y_train and y_test, labels (n,) as integers 0, 1, 2, ..., or real-valued targets as floats.
    docs/data.md tells more, and what the splits are.
    """
    from fedcoin_cli.application.rounds.recipe import EPOCHS, RATE

    workspace = call.workspace(passphrase_file)
    settings = call.settings(workspace, task__clients=clients)
    options = {"--dataset": dataset, "--model": model, "--start": start}
    recipe = _recipe(
        _files(options),
        split=split or "same",
        clients=settings.task.clients,
        aggregation=settings.task.aggregation,
        epochs=epochs or EPOCHS,
        rate=rate or RATE,
        batch=batch,
        seed=seed or 0,
    )
    # Only now, because TensorFlow takes seconds to import: what is wrong should be said at once.
    if call.output.lively:
        call.output.note("loading TensorFlow")
    from fedcoin_cli.application.rounds.making import make_round

    if model and recipe.model:
        from fedcoin_cli.learning.reference.agreement import check_reading

        check_reading(model.read_text(), recipe.model, recipe.dataset.test, where=str(model))
    title = f"training {recipe.clients} clients"
    with Interrupts() as interrupts:
        interrupts.wake = interrupt
        with (
            new_round(workspace, output) as folder,
            progress(call.output, title, recipe.clients * recipe.epochs, "epochs") as step,
        ):

            def report(client: int, epoch: int) -> None:
                interrupts.check()
                step(client * recipe.epochs + epoch)

            document = make_round(workspace, folder, recipe, report)
    size = sum(path.stat().st_size for path in folder.iterdir())
    _answer(call, folder, document, size)


def _files(options: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items() if value is not None}


def _recipe(named: dict[str, str], split: str, clients: int, **rest: Any) -> "Recipe":
    """What was asked for, once data, split, model and weights fit each other; no TensorFlow yet."""
    from fedcoin_cli.application.rounds.recipe import Recipe
    from fedcoin_cli.learning.model.model import parse_model, seed_spec
    from fedcoin_cli.learning.model.weights import read_update
    from fedcoin_cli.learning.simulation.datasets import load
    from fedcoin_cli.learning.simulation.splits import split_of

    split_of(split)
    spec = start = digest = None
    if model := named.get("--model"):
        spec = parse_model(Path(model).read_bytes(), where=model)
    data = load(named.get("--dataset", "digits"))
    data.check_clients(clients)
    if spec is not None:
        data = data.reshaped(spec.input_shape)
        data.check_labels(*spec.row)
    if weights := named.get("--start"):
        start = read_update(Path(weights), spec or seed_spec(data.input_shape, data.outputs))
        digest = hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    files = tuple(named.items())
    return Recipe(data, split, clients, model=spec, start=start, start_digest=digest, named=files, **rest)


def _answer(call: Call, folder: Path, document: dict[str, Any], size: int) -> None:
    recipe, images = document["recipe"], document["images"]
    examples = [update["examples"] for update in document["updates"]]
    answer = {"round": str(folder), "images": images, "bytes": size, "aggregation": document["aggregation"]}
    data = recipe["dataset"]["name"]
    spread = f"{min(examples)} to {max(examples)} images each"
    lines = [
        f"round     {folder}",
        f"clients   {len(examples)}, {recipe['split']} split of {data}, {spread}",
        f"training  {recipe['epochs']} epochs, rate {recipe['rate']:g}, batch {recipe['batch']}, seed {recipe['seed']}",
        f"test set  {images} images",
        f"files     {size / 1e6:.1f} MB",
        "",
        "next: fedcoin mine --detach, then fedcoin publish",
    ]
    call.output.answer({**answer, **recipe}, lines)
