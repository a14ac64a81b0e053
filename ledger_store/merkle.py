"""RFC 6962 Merkle trees: leaves tagged 0x00, nodes 0x01, an odd node is never duplicated."""

import hashlib
from collections.abc import Sequence


def root(leaves: Sequence[bytes]) -> bytes:
    """The tree head over `leaves` (RFC 6962, 2.1); the empty tree's is SHA-256 of nothing."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return _leaf(leaves[0])
    middle = _split(len(leaves))
    return _node(root(leaves[:middle]), root(leaves[middle:]))


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index` (RFC 6962, 2.1.1), from the leaf's sibling up."""
    if len(leaves) <= 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        return [*path(leaves[:middle], index), root(leaves[middle:])]
    return [*path(leaves[middle:], index - middle), root(leaves[:middle])]


def root_from_path(leaf: bytes, index: int, size: int, siblings: Sequence[bytes]) -> bytes | None:
    """The root that `siblings` lead to from `leaf`, `index` of `size`; None for a path of a wrong length."""
    if not 0 <= index < size or len(siblings) != len(_sides(index, size)):
        return None
    value = _leaf(leaf)
    for sibling, from_left in zip(siblings, _sides(index, size), strict=True):
        value = _node(sibling, value) if from_left else _node(value, sibling)
    return value


def _sides(index: int, size: int) -> list[bool]:
    """For each step up: whether the sibling stands on the left."""
    if size <= 1:
        return []
    middle = _split(size)
    if index < middle:
        return [*_sides(index, middle), False]
    return [*_sides(index - middle, size - middle), True]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\0" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()
