"""Convert a client's weights, or a test set, to what a round takes.

What is read and refused is decided in `learning.exchange.weights`.
"""

from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.program.options import Call

EXAMPLES = (
    ("fedcoin convert mine.npz --model rounds/1/model.json", "NumPy's arrays to mine.safetensors"),
    (
        "fedcoin convert state.safetensors --model graph.json -o named.safetensors",
        "a state_dict, by its names",
    ),
    (
        "fedcoin convert test.npz --test --model rounds/1/model.json -o judged.safetensors",
        "a test set: x and y",
    ),
)


def run(
    call: Call,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="The weights: .npz, .keras, .weights.h5 or .h5; of a graph also .pt, .pth, .safetensors or .onnx.",
        ),
    ],
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The round's model.json; default: beside FILE.")
    ] = None,
    test: Annotated[
        bool,
        typer.Option("--test", help="FILE is a test set: .npz or .safetensors of inputs and y, or one .npy."),
    ] = False,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE.npy", help="test: the labels, where FILE does not hold them.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Leave out tensors that the model does not have, as 'pooler.*'."
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; default: FILE.safetensors."),
    ] = None,
) -> None:
    """Convert a client's weights, or a test set, to what a round takes.

    A client does this on its own host before fedcoin update sign; miners read nothing but safetensors. Of a chain
    of Keras' layers, weights are read from NumPy's .npz, Keras' .keras, .weights.h5 and older .h5, in their order:
    the arrays of a .npz by their numbers (arr_0, arr_1, ...), else as they stand in the file. Of a graph, as fedcoin
    model import makes it, they are read by name, from a PyTorch state_dict, safetensors, ONNX, .npz and Keras'
    files; every weight must be there, in its shape, and no other. Counters are left out, and so is what is frozen.
    No pickle is opened, and no layer or code that a file names is made: the weights are read into the round's own
    model. Keras' files need Keras, .pt and .pth PyTorch.

    With --test, images and labels become the test set of that model: uint8 means x / 255, token ids are whole
    numbers. A model of several inputs takes them by their names.
    """
    from fedcoin_cli.learning.exchange.weights import convert, convert_test

    name = source.name.removesuffix(source.suffix).removesuffix(".weights")
    written = target or source.with_name(f"{name}.safetensors")
    described = model or source.with_name("model.json")
    if test:
        images = convert_test(source, labels, described, written)
        lines = [f"test     {written}, {images:,} images"]
        next_line = f"next: fedcoin round call --model {described} --test {written}"
        call.output.answer({"test": str(written), "images": images}, [*lines, next_line])
        return
    if labels is not None:
        raise typer.BadParameter("labels belong to a test set: --test")
    count = convert(source, described, written, without or [])
    data = {"weights": str(written), "numbers": count}
    call.output.answer(
        data, [f"weights  {written}, {count:,} numbers", f"next: fedcoin update sign {written}"]
    )
