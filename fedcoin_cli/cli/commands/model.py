"""Import a model, or write the one that clients make together.

What is understood of a model is decided in `learning.exchange`, how updates become one in
`application.rounds.aggregating`.
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedcoin_cli.cli.program.options import Call

if TYPE_CHECKING:
    from fedcoin_cli.learning.exchange.importing import Made

EXAMPLES = (
    ("fedcoin model import net.onnx -o net.json", "what miners read of a model of PyTorch"),
    ("fedcoin model import net.keras --frozen 'conv2d/*' -o part.json", "of Keras, one layer of it frozen"),
    ("fedcoin model aggregate", "the average of the newest round's updates, in its folder"),
    ("fedcoin model aggregate --clients 1,2 -o pair.safetensors", "of two clients only"),
)


class Action(StrEnum):
    """What to do with a model."""

    aggregate = "aggregate"
    importing = "import"


def run(  # noqa: PLR0913, PLR0917 -- one parameter an option
    call: Call,
    action: Annotated[
        Action,
        typer.Argument(help="import describes a model for miners, aggregate averages a round's updates."),
    ],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE|ROUND_DIR",
            help="import: .onnx, .keras, .h5, Keras' .json, or FILE.py:NAME; aggregate: the round's folder; default: "
            "the newest under rounds/.",
        ),
    ] = None,
    clients: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...", help="aggregate: only these clients, by their numbers; default: all."
        ),
    ] = None,
    samples: Annotated[
        list[Path] | None,
        typer.Option(
            "--sample",
            metavar="FILE.npy",
            help="import: example inputs, one file an input; a PyTorch module needs them.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="import: the model's state_dict; of ONNX, each of its tensors must have kept its name.",
        ),
    ] = None,
    frozen: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="import: weights that no client trains, as 'encoder.*'."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC",
            help="import: what models will be judged by; by real-valued targets a closing sigmoid or softmax stays.",
        ),
    ] = None,
    lora: Annotated[
        str | None,
        typer.Option(
            metavar="factors|products",
            help="import: how LoRA's factors are averaged, each by itself or as B * A; default: factors.",
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="import: default model.json; aggregate: a .safetensors or .keras file, default "
            "aggregate.safetensors in the round's folder.",
        ),
    ] = None,
) -> None:
    """Import a model, or write the one that clients make together.

    import writes the description that a round's miners read. A chain of Keras' plain layers stays one, anything
    else becomes a graph of operations with the weights' own names. It is compared with the original on the samples,
    or on random numbers. What is not understood is refused by name, and so is a weight that an exporter renamed or
    folded into another; the hint says how to export. FILE.py:NAME runs that file, which is the importer's own.
    Parameters that ask for no gradient, layers that are not trainable and names that match --frozen are frozen:
    they go into frozen.safetensors beside the description.

    aggregate writes the average that miners judge, weighted as the round says. fedcoin train --start
    FILE.safetensors goes on from it; a .keras file, which needs Keras, is what keras.models.load_model reads.
    """
    if action is Action.importing:
        if clients is not None:
            raise typer.BadParameter("import takes no clients: aggregate does")
        if source is None:
            raise typer.BadParameter("import needs the model's file")
        _import(
            call, source, samples or [], weights, frozen or [], (metric, lora), target or Path("model.json")
        )
    else:
        if samples or weights or frozen or metric or lora:
            raise typer.BadParameter("aggregate takes --clients and --output; the other options are import's")
        _aggregate(call, None if source is None else Path(source), _numbers(clients), target)


def _import(
    call: Call,
    source: str,
    samples: list[Path],
    weights: Path | None,
    frozen: list[str],
    asked: tuple[str | None, str | None],
    target: Path,
) -> None:
    from fedcoin_cli.learning.exchange.description import asked_metric, asked_products
    from fedcoin_cli.learning.exchange.importing import Asked, import_file, read_sample
    from ledger_store.base.disk import refusals

    inputs = [read_sample(path) for path in samples]
    metric, lora = asked
    truth = None if metric is None else asked_metric(metric).truth
    wanted = Asked(truth, asked_products(lora or "factors"))
    made = import_file(source, inputs=inputs, weights=weights, frozen=frozen, asked=wanted)
    with refusals(target):
        beside = made.write(target)
    data, lines = _told(made)
    for name in () if made.imported is None else made.imported.unused:
        call.output.note(f"left out: no output depends on {name}")
    if beside is not None:
        data["frozen_file"] = str(beside)
        lines.append(f"frozen   {beside}, {len(made.model.frozen)} tensors that no client trains")
    lines += ["", f"next: fedcoin convert WEIGHTS --model {target}, which each client does with its own"]
    call.output.answer({"model": str(target)} | data, [f"model    {target}", *lines])


def _told(made: "Made") -> tuple[dict[str, Any], list[str]]:
    """What a person wants to know of an imported model, as data and as lines."""
    from math import prod

    model, imported = made.model, made.imported
    numbers = sum(map(prod, model.weight_shapes))
    kind = "a chain of layers" if imported is None else f"a graph of {len(imported.graph.nodes)} operations"
    inputs = ", ".join(f"{one.name} {one.kind} (n, {', '.join(map(str, one.shape))})" for one in model.inputs)
    closing = imported.closing if imported is not None else ""
    data: dict[str, Any] = {
        "kind": "chain" if imported is None else "graph",
        "inputs": {one.name: [one.kind, *one.shape] for one in model.inputs},
        "classes": model.classes,
        "outputs": list(model.row),
        "weights": list(model.weight_names),
        "numbers": numbers,
        "frozen": [one.name for one in model.frozen],
        "closing": closing or None,
    }
    lines = [
        f"is       {kind}, {_outputs(model.row)}"
        + (f"; the closing {closing} is left out" if closing else ""),
        f"reads    {inputs}",
        f"weights  {len(model.weight_names)} tensors, {numbers:,} numbers",
    ]
    if imported is not None:
        data["apart"] = made.apart
        data["products"] = list(imported.graph.products)
        if imported.graph.products:
            lines.append(f"averages {len(imported.graph.products)} products of low-rank factors as such")
        lines.append(f"agrees   with the original within {made.apart:.1e} on samples")
    return data, lines


def _outputs(row: tuple[int, ...]) -> str:
    """What a model gives for an example, in words."""
    if row == (1,):
        return "one output"
    return f"{row[0]} outputs" if len(row) == 1 else f"{row[1]} outputs for each of {row[0]} tokens"


def _aggregate(call: Call, round_dir: Path | None, members: list[int], target: Path | None) -> None:
    from fedcoin_cli.application.rounds.aggregating import AGGREGATE_NAME, aggregate, write_aggregate
    from fedcoin_cli.application.rounds.files import read_round
    from ledger_store.base.disk import refusals

    workspace = call.workspace()
    made = read_round(round_dir or workspace.latest_round(), workspace.genesis())
    found = aggregate(made, members)
    written = target or made.folder / AGGREGATE_NAME
    with refusals(written):
        write_aggregate(found, written)
    data = {
        "file": str(written),
        "clients": list(found.members),
    }
    name, measure = found.measure
    lines = [
        f"model    {written}, of {len(found.members)} clients",
        f"alone    {found.words} on the test set",
        "",
        f"next: fedcoin train --model {made.folder / 'model.json'} --start {written}",
    ]
    call.output.answer(data | {name: measure}, lines[: 4 if written.suffix == ".safetensors" else 2])


def _numbers(text: str | None) -> list[int]:
    words = [] if text is None else text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise typer.BadParameter(f"{text!r} are not numbers of clients: 1,2,5", param_hint="--clients")
    return [int(word) for word in words]
