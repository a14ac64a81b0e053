"""What a model is to whoever reads its updates and plays its game: names, shapes and what an image costs.

A chain of layers (`model.ModelSpec`) is one, a graph of operations (`graph_model.GraphModel`) the other; only what
computes them tells them apart.
"""

from typing import Protocol

from fedcoin_cli.learning.graph.graph import Input, Weight


class Model(Protocol):
    """A description that was read and checked."""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What it is given of an image, in the order of a test set's tensors."""
        ...

    @property
    def classes(self) -> int:
        """How many labels it tells apart."""
        ...

    @property
    def row(self) -> tuple[int, ...]:
        """The outputs of an example as the description gives them: (1,), (classes,) or (tokens, classes)."""
        ...

    @property
    def weight_names(self) -> tuple[str, ...]:
        """What an update's tensors are called, in order."""
        ...

    @property
    def weight_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the same."""
        ...

    @property
    def frozen(self) -> tuple[Weight, ...]:
        """The tensors that all clients share, in a file of their own."""
        ...

    @property
    def widest(self) -> int:
        """The most values that any layer gives for an image."""
        ...

    @property
    def laid_out(self) -> int:
        """The most values that the windows of a convolution or pooling hold together, for an image."""
        ...

    @property
    def values(self) -> int:
        """How many values all layers give for an image."""
        ...

    @property
    def flop_once(self) -> int:
        """The work of an image that all clients share: of what is frozen."""
        ...

    @property
    def flop_first(self) -> int:
        """The work of an image once a client, whatever the coalitions."""
        ...

    @property
    def flop_above(self) -> int:
        """The work of an image in one aggregate, without what is done once a client."""
        ...
