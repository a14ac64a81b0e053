"""The one door to `model.json`: Keras' description of a chain, or a graph of operations."""

from fedcoin_cli.learning.model.interface import Model
from fedcoin_cli.learning.model.model import parse_model


def read_model(text: str | bytes, *, where: str = "model.json") -> Model:
    """Read a round's model, of whichever kind [P-12.1].

    Raises:
        RoundFilesInvalid: what `parse_model` refuses.
    """
    return parse_model(text, where=where)
