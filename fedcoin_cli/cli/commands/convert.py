"""Convert a client's weights to what a round takes.

What is read and refused is decided in `learning.model.conversion`.
"""

from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.program.options import Call

EXAMPLES = (("fedcoin convert mine.npz --model rounds/1/model.json", "NumPy's arrays to mine.safetensors"),)


def run(
    call: Call,
    source: Annotated[
        Path, typer.Argument(metavar="FILE", help="The weights: .npz, .keras, .weights.h5 or .h5.")
    ],
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The round's model.json; default: beside the weights.")
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; default: FILE.safetensors."),
    ] = None,
) -> None:
    """Convert a client's weights to what a round takes.

    From NumPy's .npz, Keras' .keras, .weights.h5 and older .h5 to safetensors. A client does this on its own host
    before fedcoin update sign; miners read nothing but safetensors. No pickle is opened, and no layer or code that a
    file names is made: the weights are read into the round's own model. The arrays of a .npz are taken by their
    numbers (arr_0, arr_1, ...), else as they stand in the file. Keras' files need Keras.
    """
    from fedcoin_cli.learning.model.conversion import convert

    name = source.name.removesuffix(source.suffix).removesuffix(".weights")
    written = target or source.with_name(f"{name}.safetensors")
    count = convert(source, model or source.with_name("model.json"), written)
    data = {"weights": str(written), "numbers": count}
    call.output.answer(
        data, [f"weights  {written}, {count:,} numbers", f"next: fedcoin update sign {written}"]
    )
