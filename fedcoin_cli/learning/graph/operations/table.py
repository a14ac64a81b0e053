"""The one table of operations, by ONNX's names."""

from collections.abc import Mapping
from typing import Final

from fedcoin_cli.learning.graph.operations.elementwise import ELEMENTWISE
from fedcoin_cli.learning.graph.operations.layout import LAYOUT
from fedcoin_cli.learning.graph.operations.normalisations import NORMALISATIONS
from fedcoin_cli.learning.graph.operations.operation import Operation
from fedcoin_cli.learning.graph.operations.products import PRODUCTS
from fedcoin_cli.learning.graph.operations.recurrent import RECURRENT
from fedcoin_cli.learning.graph.operations.reductions import REDUCTIONS
from fedcoin_cli.learning.graph.operations.windows import WINDOWS

OPERATIONS: Final[Mapping[str, Operation]] = {
    **ELEMENTWISE,
    **PRODUCTS,
    **WINDOWS,
    **NORMALISATIONS,
    **REDUCTIONS,
    **LAYOUT,
    **RECURRENT,
}
"""What a node may say; meanings are ONNX's of opset 18 [P-12.15]."""
