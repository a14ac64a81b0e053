"""Train K simulated clients and write a round.

What a round consists of is decided in `application.round_making`.
"""

from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.new_round import new_round
from fedcoin_cli.cli.options import Call
from fedcoin_cli.cli.passphrases import PassphraseFile
from fedcoin_cli.cli.progress import progress

EXAMPLES = (
    ("fedcoin train --split mix", "one update a client of this workspace, on digits"),
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
            metavar="digits|mnist|FILE.npz",
            help="The data: embedded digits, Keras's MNIST, or a file.  [default: digits]",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="CASE",
            help="How data are divided: same, mix, weight, noisex, noisey or types.  [default: same]",
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
    epochs: Annotated[
        int | None, typer.Option(min=1, max=1_000, help="Passes of each client over its data.  [default: 10]")
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
    of them, with the keys that are made here. The round also gets the proxy file, which lets miners estimate
    values with far fewer coalitions.

    FILE.npz is a file of numpy.savez with four arrays: x_train and x_test, images (n, ...) as float or uint8, which
    means x / 255; y_train and y_test, labels (n,) as integers 0, 1, 2, ...
    """
    workspace = call.workspace(passphrase_file)
    settings = call.settings(workspace, task__clients=clients)
    # Here, because Keras takes seconds to import: a wrong option should say so at once.
    if call.output.lively:
        call.output.note("loading TensorFlow")
    from fedcoin_cli.application.rounds.making import Recipe, make_round
    from fedcoin_cli.learning.agreement import check_reading
    from fedcoin_cli.learning.datasets import load
    from fedcoin_cli.learning.model import parse_model
    from fedcoin_cli.learning.splits import SPLITS

    case = split or "same"
    if case not in SPLITS:
        raise typer.BadParameter(f"no such split: {case!r}; choose one of {', '.join(SPLITS)}")
    data, spec = load(dataset or "digits"), None
    if model is not None:
        text = model.read_bytes()
        spec = parse_model(text, where=str(model))
        data = data.reshaped(spec.input_shape)
        check_reading(text.decode(), spec, data.test, where=str(model))
    count = settings.task.clients
    recipe = Recipe(data, case, count, epochs or 10, seed or 0, settings.task.aggregation, spec)
    total = count * recipe.epochs
    title = f"training {count} clients"
    with new_round(workspace, output) as folder, progress(call.output, title, total, "epochs") as step:
        document = make_round(
            workspace, folder, recipe, lambda client, epoch: step(client * recipe.epochs + epoch)
        )
    size = sum(path.stat().st_size for path in folder.iterdir())
    examples = [update["examples"] for update in document["updates"]]
    answer = {
        "round": str(folder),
        "dataset": data.name,
        "split": case,
        "clients": count,
        "images": document["images"],
        "examples": examples,
        "bytes": size,
    }
    spread = f"{min(examples)} to {max(examples)} images each"
    lines = [
        f"round     {folder}",
        f"clients   {count}, {case} split of {data.name}, {spread}",
        f"test set  {document['images']} images",
        f"files     {size / 1e6:.1f} MB",
        "",
        "next: fedcoin mine --detach, then fedcoin publish",
    ]
    call.output.answer(answer, lines)
