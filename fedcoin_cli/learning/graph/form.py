"""What `model.json` of schema 2 holds: every key and what it means. The reader takes these, the manual lists them."""

from collections.abc import Mapping
from typing import Final

OPTIONAL: Final = "products"
"""The one key that is left out where it says nothing, so that descriptions without it keep their bytes."""

DESCRIPTION: Final[Mapping[str, str]] = {
    "schema": "2.",
    "inputs": "What the model is given of an example, in the order of a test set's tensors, 1 to 16.",
    "weights": "What clients train, in the order of an update's tensors, 1 to 4,096.",
    "frozen": "What no client trains: tensors of the file that a task names as `frozen`.",
    "constants": "Small tensors whose values stand here, 65,536 values in all.",
    "nodes": "The operations, at most 4,096, each name defined once and before it is used.",
    "output": "The name of the outputs, float32: (examples, outputs) or (examples, tokens, classes), before a closing "
    "softmax or sigmoid where labels are judged by.",
    OPTIONAL: "Names of products of weights that are averaged as such, as B · A of LoRA; left out where there is none.",
}
INPUT: Final[Mapping[str, str]] = {
    "name": "Up to 256 printable characters.",
    "dtype": "`float32` or `int32`.",
    "shape": "The sizes of an example; the axis of examples comes first and is left out.",
}
WEIGHT: Final[Mapping[str, str]] = {
    "name": "As the tensor is called in an update; float32.",
    "shape": "Its sizes.",
}
FROZEN: Final[Mapping[str, str]] = {
    "name": "As the tensor is called in the file of frozen weights.",
    "shape": "Its sizes.",
    "dtype": "`float32`.",
}
CONSTANT: Final[Mapping[str, str]] = {
    "name": "Up to 256 printable characters.",
    "dtype": "`float32`, `int32` or `bool`.",
    "shape": "Its sizes.",
    "values": "Its numbers in row-major order.",
}
NODE: Final[Mapping[str, str]] = {
    "op": "The operation, with the name and meaning that it has in ONNX.",
    "inputs": "Names of what it reads; an empty one is left out.",
    "outputs": "Names of what it makes; an empty one is not needed.",
    "attributes": "Its settings by name, without those that have their default.",
}

FORMS: Final[Mapping[str, Mapping[str, str]]] = {
    "description": DESCRIPTION,
    "input": INPUT,
    "weight": WEIGHT,
    "frozen": FROZEN,
    "constant": CONSTANT,
    "node": NODE,
}
