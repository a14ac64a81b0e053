"""The convolutional front of a model: 2-D convolutions and poolings, channels last, that run before the Dense layers.

Shapes, what Keras' configurations may say of them, and where windows are. The slices work on NumPy arrays and on
tensors of any backend alike; what is computed with them lives in `reference.forward`, `reference.aggregates` and
`engines.convnet`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Final

MAX_FILTERS: Final = 1 << 12
MAX_FEATURES: Final = 1 << 20
# Windows are walked one place after the other.
MAX_WINDOW: Final = 1 << 12

Image = tuple[int, int, int]
"""Rows, columns and channels of one image."""
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Conv:
    """One convolution of images of `shape`, then the activation; `same` pads with zeros as TensorFlow does."""

    shape: Image
    filters: int
    kernel: Pair
    strides: Pair
    same: bool
    activation: str
    use_bias: bool

    @property
    def pads(self) -> tuple[Pair, Pair]:
        """How many rows are added above and below, how many columns left and right."""
        if not self.same:
            return (0, 0), (0, 0)
        above, left = (
            max((-(-size // stride) - 1) * stride + width - size, 0)
            for size, width, stride in zip(self.shape, self.kernel, self.strides, strict=False)
        )
        return (above // 2, above - above // 2), (left // 2, left - left // 2)

    @property
    def output_shape(self) -> Image:
        rows, columns = (
            (size + sum(pad) - width) // stride + 1
            for size, pad, width, stride in zip(
                self.shape, self.pads, self.kernel, self.strides, strict=False
            )
        )
        return rows, columns, self.filters

    @property
    def inputs(self) -> int:
        """How many values one output is summed from."""
        return prod(self.kernel) * self.shape[2]

    @property
    def laid_out(self) -> int:
        """How many values all windows of an image hold together."""
        return self.inputs * prod(self.output_shape[:2])

    @property
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        kernel = (*self.kernel, self.shape[2], self.filters)
        return (kernel, (self.filters,)) if self.use_bias else (kernel,)


@dataclass(frozen=True, slots=True)
class Pool:
    """The largest value, or the mean, of each window; windows that would reach over the edge are left out."""

    shape: Image
    size: Pair
    strides: Pair
    largest: bool

    @property
    def output_shape(self) -> Image:
        rows, columns = (
            (size - width) // stride + 1
            for size, width, stride in zip(self.shape, self.size, self.strides, strict=False)
        )
        return rows, columns, self.shape[2]

    @property
    def laid_out(self) -> int:
        """How many values all windows of an image hold together."""
        return prod(self.size) * prod(self.output_shape)

    @property
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ()


Feature = Conv | Pool


def windows(values: Any, size: Pair, strides: Pair) -> Iterator[Any]:
    """For each place of a window the values (…, rows, columns, channels) that stand there in all windows."""
    rows, columns = values.shape[-3:-1]
    for down in range(size[0]):
        for right in range(size[1]):
            last = rows - size[0] + down + 1, columns - size[1] + right + 1
            yield values[..., down : last[0] : strides[0], right : last[1] : strides[1], :]


def read_feature(class_name: str, config: Mapping[str, object], shape: Image) -> Feature | None:
    """What Keras' configuration of a layer says, activations apart; None when the layer is none of the front's.

    Raises:
        ValueError: a kind of convolution or pooling that is not allowed; the message says why.
    """
    if config.get("data_format", "channels_last") != "channels_last":
        raise ValueError("images must have their channels last")
    match class_name:
        case "Conv2D":
            feature: Feature = _conv(config, shape)
        case "MaxPooling2D" | "AveragePooling2D":
            if config.get("padding", "valid") != "valid":
                raise ValueError("poolings must not pad")
            size = _pair(config.get("pool_size", 2))
            strides = size if config.get("strides") is None else _pair(config["strides"])
            feature = Pool(shape, size, strides, class_name == "MaxPooling2D")
        case "GlobalAveragePooling2D":
            feature = Pool(shape, shape[:2], shape[:2], largest=False)
        case _:
            return None
    window = feature.kernel if isinstance(feature, Conv) else feature.size
    if prod(window) > MAX_WINDOW:
        raise ValueError(f"a {class_name} layer's window has more than {MAX_WINDOW} places")
    if min(feature.output_shape) < 1 or prod(feature.output_shape) > MAX_FEATURES:
        raise ValueError(f"a {class_name} layer leaves nothing of the image, or too much")
    return feature


def _conv(config: Mapping[str, object], shape: Image) -> Conv:
    filters, use_bias = config.get("filters"), config.get("use_bias", True)
    if type(filters) is not int or not 1 <= filters <= MAX_FILTERS or not isinstance(use_bias, bool):
        raise ValueError(f"a Conv2D layer has 1 to {MAX_FILTERS} filters")
    if config.get("groups", 1) != 1 or _pair(config.get("dilation_rate", 1)) != (1, 1):
        raise ValueError("grouped and dilated convolutions are not allowed")
    if config.get("padding", "valid") not in ("valid", "same"):
        raise ValueError("a Conv2D layer's padding is valid or same")
    kernel, strides = _pair(config.get("kernel_size")), _pair(config.get("strides", 1))
    return Conv(shape, filters, kernel, strides, config.get("padding") == "same", "linear", use_bias)


def _pair(value: object) -> Pair:
    first, second = value if isinstance(value, list) and len(value) == 2 else (value, value)
    if type(first) is not int or type(second) is not int or not (1 <= first <= 1024 and 1 <= second <= 1024):
        raise ValueError("sizes and strides are one or two whole numbers from 1 to 1024")
    return first, second
