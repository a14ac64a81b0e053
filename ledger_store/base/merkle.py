"""RFC 6962 Merkle trees: leaves tagged 0x00, nodes 0x01, an odd node is never duplicated.

A path says on which side each sibling stands instead of the leaf's index and the tree's size: then every byte of it
counts (several sizes have the same sides), and a leaf is still told from a node by its tag.
"""

import hashlib
from collections.abc import Sequence

Step = tuple[bool, bytes]
"""One level of a path: whether the sibling stands on the left, and its hash."""


def root(leaves: Sequence[bytes]) -> bytes:
    """The tree head over `leaves` (RFC 6962, 2.1); the empty tree's is SHA-256 of nothing [P-1.14]."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return _leaf(leaves[0])
    middle = _split(len(leaves))
    return _node(root(leaves[:middle]), root(leaves[middle:]))


def path(leaves: Sequence[bytes], index: int) -> list[Step]:
    """The audit path of leaf `index` (RFC 6962, 2.1.1), from the leaf's sibling up."""
    if len(leaves) <= 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        return [*path(leaves[:middle], index), (False, root(leaves[middle:]))]
    return [*path(leaves[middle:], index - middle), (True, root(leaves[:middle]))]


def climb(leaf: bytes, steps: Sequence[Step]) -> bytes:
    """The root to which a path leads from `leaf`."""
    value = _leaf(leaf)
    for on_left, sibling in steps:
        value = _node(sibling, value) if on_left else _node(value, sibling)
    return value


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
