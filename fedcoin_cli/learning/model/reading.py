"""The one door to `model.json`: Keras' description of a chain of layers, or a graph of operations."""

import json

from fedcoin_cli.learning.graph.reader import is_graph, read_graph
from fedcoin_cli.learning.model.graph_model import GraphModel
from fedcoin_cli.learning.model.interface import Model
from fedcoin_cli.learning.model.model import MAX_MODEL_BYTES, parse_model
from ledger_store.base.errors import RoundFilesInvalid


def read_model(text: str | bytes, *, where: str = "model.json") -> Model:
    """A round's model, of whichever kind [P-12.1].

    Args:
        text: the JSON, at most `MAX_MODEL_BYTES`.
        where: the file's name for error messages.

    Raises:
        RoundFilesInvalid: what `parse_model` or `read_graph` refuses, or an input that is called as the labels are.
    """
    if not _of_graph(text):
        return parse_model(text, where=where)
    graph = read_graph(text, where=where)
    if any(one.name == "y" for one in graph.inputs):
        hint = "a test set's labels are called y: give the input another name"
        raise RoundFilesInvalid("an input is called 'y'", where=where, hint=hint)
    return GraphModel.of(graph)


def _of_graph(text: str | bytes) -> bool:
    try:
        return len(text) <= MAX_MODEL_BYTES and is_graph(json.loads(text))
    except (ValueError, RecursionError):
        return False
