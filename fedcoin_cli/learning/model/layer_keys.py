"""Which keys of a layer's configuration this program understands: any other is refused, never read over.

A setting that is overlooked gives every miner and every auditor the same wrong values. So each key is either read by
`model` and `features`, or it is here with the values by which it changes nothing; and what only training looks at
(initialisers, regularisers, constraints) is named as such.
"""

from collections.abc import Mapping
from typing import Final

_TRAINING: Final = frozenset(
    {
        "activity_regularizer",
        "bias_constraint",
        "bias_initializer",
        "bias_regularizer",
        "kernel_constraint",
        "kernel_initializer",
        "kernel_regularizer",
        "trainable",
    }
)
_NAMES: Final = frozenset({"name", "dtype"})  # a dtype is judged wherever it occurs
_WEIGHTED: Final = frozenset({"lora_rank", "quantization_config"}) | _TRAINING | _NAMES
_POOL: Final = frozenset({"data_format", "padding", "pool_size", "strides", "trainable"}) | _NAMES

_READ: Final[Mapping[str, frozenset[str]]] = {
    "Sequential": frozenset({"layers", "trainable"}) | _NAMES,
    "InputLayer": frozenset({"batch_shape"}) | _NAMES,
    "Dense": frozenset({"activation", "units", "use_bias"}) | _WEIGHTED,
    "Conv2D": frozenset(
        {
            "activation",
            "data_format",
            "dilation_rate",
            "filters",
            "groups",
            "kernel_size",
            "padding",
            "strides",
            "use_bias",
        }
    )
    | _WEIGHTED,
    "MaxPooling2D": _POOL,
    "AveragePooling2D": _POOL,
    "GlobalAveragePooling2D": frozenset({"data_format", "trainable"}) | _NAMES,
    "Flatten": frozenset({"trainable"}) | _NAMES,
    "Activation": frozenset({"activation", "trainable"}) | _NAMES,
    "ReLU": frozenset({"max_value", "negative_slope", "threshold", "trainable"}) | _NAMES,
}
"""What is read of each class, or changes no output whatever it says."""

_NO_CHANGE: Final[Mapping[str, Mapping[str, tuple[object, ...]]]] = {
    "Sequential": {"build_input_shape": ()},
    "InputLayer": {"optional": (False,), "ragged": (False,), "sparse": (False,)},
    "Dense": {"lora_alpha": (None,)},
    "Conv2D": {"lora_alpha": (None,)},
    "GlobalAveragePooling2D": {"keepdims": (False,)},
    "Flatten": {"data_format": ("channels_last",)},
}
"""Keys with the values that they may have; an empty tuple admits any: the shapes that it names are checked anyway."""

_ENTRY: Final = frozenset(
    {
        "module",
        "class_name",
        "config",
        "registered_name",
        "build_config",
        "compile_config",
        "shared_object_id",
    }
)
# compile_config speaks of training; what wrote the description is not asked.
_DOCUMENT: Final = _ENTRY | {"backend", "keras_version"}


def odd_key(class_name: str, config: Mapping[str, object]) -> str | None:
    """The first key of a known class's configuration that is not understood, with its value; None when all are."""
    read, admitted = _READ.get(class_name), _NO_CHANGE.get(class_name, {})
    if read is None:
        return None  # the class itself is refused, in words of its own
    for key, value in config.items():
        if key in read:
            continue
        values = admitted.get(key)
        if values is None or (values and not any(value is one or value == one for one in values)):
            return f"{key} = {str(value)[:40]}"
    return None


def odd_entry(entry: Mapping[str, object], *, outermost: bool) -> str | None:
    """A key of a layer's entry, or of the whole document, that is not understood; None when all are."""
    known = _DOCUMENT if outermost else _ENTRY
    return next((key for key in entry if key not in known), None)
