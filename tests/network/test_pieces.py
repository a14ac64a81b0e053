"""The frames of the file channel."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fedcoin_cli.network.files.pieces import (
    CHUNK_BYTES,
    PIECE_BYTES_MAX,
    Chunk,
    Have,
    Lack,
    Offer,
    Piece,
    Want,
    from_bytes,
    to_bytes,
)
from ledger_store.base.errors import Malformed
from ledger_store.base.names import Digest

DIGEST = Digest("ab" * 32)


@pytest.mark.parametrize(
    "piece",
    [
        Offer(DIGEST, 0),
        Offer(DIGEST, 2**53 - 1),
        Want(DIGEST, 7),
        Lack(DIGEST),
        Have(DIGEST),
        Chunk(DIGEST, 0, 3, b"abc"),
        Chunk(DIGEST, CHUNK_BYTES, 2 * CHUNK_BYTES, bytes(CHUNK_BYTES)),
        Chunk(DIGEST, 5, 5, b""),
    ],
)
def test_every_piece_comes_back(piece: Piece) -> None:
    """Writing and reading are inverse, and no frame exceeds the channel's bound [P-11.24]."""
    frame = to_bytes(piece)
    assert from_bytes(frame) == piece
    assert len(frame) <= PIECE_BYTES_MAX


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        to_bytes(Lack(DIGEST))[:-1],
        to_bytes(Lack(DIGEST)) + b"x",
        b"\x09" + to_bytes(Lack(DIGEST))[1:],
        to_bytes(Want(DIGEST, 2**53)),
        to_bytes(Chunk(DIGEST, 0, 4, b"abc")),
        to_bytes(Chunk(DIGEST, 0, 2, b"abc")),
        to_bytes(Chunk(DIGEST, 9, 5, b"")),
        to_bytes(Chunk(DIGEST, 0, 2 * CHUNK_BYTES, bytes(CHUNK_BYTES - 1))),
        to_bytes(Chunk(DIGEST, 0, 2 * CHUNK_BYTES, bytes(CHUNK_BYTES + 1))),
    ],
)
def test_malformed_frames_are_refused(frame: bytes) -> None:
    """Wrong lengths, kinds, sizes, and chunks that are not what was due are a peer's fault [P-11.24]."""
    with pytest.raises(Malformed):
        from_bytes(frame)


@given(some.binary(max_size=120))
def test_any_bytes_are_a_piece_or_malformed(frame: bytes) -> None:
    """No input does anything but parse to what would be written the same, or raise `Malformed`."""
    try:
        piece = from_bytes(frame)
    except Malformed:
        return
    assert to_bytes(piece) == frame
