"""Strict reading of safetensors files from strangers: the header is checked before anything large is read.

A file is 8 bytes of header length, a JSON header, and the tensors' bytes without gap or remainder. Pickles and zip
archives are never opened. What the tensors mean, and which shapes are expected, lives in `learning.model.weights`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from ledger_store.base import disk
from ledger_store.base.errors import RoundFilesInvalid

MAX_HEADER_BYTES: Final = 1 << 20
MAX_FILE_BYTES: Final = 2 << 30
# More than any tensor of a round has; the product of a header's worth of axes takes seconds.
MAX_AXES: Final = 8

WEIGHTS_HINT: Final = (
    "write the file again with `fedcoin train`, or convert the weights to safetensors (float32): "
    "fedcoin convert"
)

_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "F32": np.dtype("<f4"),
    "U8": np.dtype("u1"),
    "I32": np.dtype("<i4"),
}
_FOREIGN: Final = {b"PK\x03\x04": "a zip archive", b"\x80": "a pickle", b"\x89HDF": "an HDF5 file"}


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where one tensor is: NumPy dtype, shape and the byte offset from the start of the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int


class TensorFile:
    """One safetensors file whose header has been checked; tensors are read one at a time.

    Raises:
        RoundFilesInvalid: missing, truncated, oversized, of another format, or with a header that does not
            describe exactly the bytes that follow. `owner` (say "client 3") begins the message, `hint` says how such
            a file is made.
    """

    def __init__(self, path: Path, owner: str = "", hint: str = WEIGHTS_HINT) -> None:
        self.path = path
        self.owner = owner
        self._hint = hint
        self.entries = self._entries(*self._header())

    def refuse(self, message: str, cause: Exception | None = None) -> NoReturn:
        """Raise the error that names this file and its owner."""
        text = f"{self.owner}: {message}" if self.owner else message
        raise RoundFilesInvalid(text, where=str(self.path), hint=self._hint) from cause

    def read(self, name: str) -> npt.NDArray[Any]:
        """The tensor of that name, little-endian and writable by nobody else."""
        entry = self.entries[name]
        try:
            flat = np.fromfile(self.path, entry.dtype, prod(entry.shape), offset=entry.offset)
            return flat.reshape(entry.shape)
        except (OSError, ValueError) as error:
            self.refuse("the file changed while it was read", error)

    def _header(self) -> tuple[Any, int, int]:
        """The parsed header, the offset of the first tensor byte and the number of tensor bytes."""
        try:
            with disk.open_file(self.path) as file:
                size = file.seek(0, 2)
                file.seek(0)
                length = self._header_length(file.read(8), size)
                return json.loads(file.read(length)), 8 + length, size - 8 - length
        except OSError as error:
            self.refuse(f"the file cannot be read ({error.strerror})", error)
        except (ValueError, RecursionError) as error:
            self.refuse("the header is not JSON", error)

    def _header_length(self, start: bytes, size: int) -> int:
        for magic, kind in _FOREIGN.items():
            if start.startswith(magic) and int.from_bytes(start, "little") > size:
                self.refuse(f"this is {kind}, not a safetensors file")
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length < 2 or length > size - 8:
            self.refuse("the file is truncated or no safetensors file")
        if length > MAX_HEADER_BYTES or size > MAX_FILE_BYTES:
            self.refuse("the header is larger than 1 MiB, or the file than 2 GiB")
        return length

    def _entries(self, header: Any, start: int, size: int) -> dict[str, TensorEntry]:
        if not isinstance(header, dict):
            self.refuse("the header is not JSON object")
        described = [
            (name, self._described(value)) for name, value in header.items() if name != "__metadata__"
        ]
        entries, position = {}, 0
        for name, (dtype, shape, first, last) in sorted(described, key=lambda item: item[1][2]):
            if first != position or last - first != prod(shape) * dtype.itemsize or last > size:
                self.refuse(f"the header promises bytes for tensor {name[:40]!r} that the file does not hold")
            entries[name] = TensorEntry(dtype, shape, start + first)
            position = last
        if position != size:
            self.refuse("the file holds bytes that its header does not describe")
        return entries

    def _described(self, value: Any) -> tuple[np.dtype[Any], tuple[int, ...], int, int]:
        try:
            dtype, shape, (first, last) = _DTYPES[value["dtype"]], value["shape"], value["data_offsets"]
        except (KeyError, TypeError, ValueError) as error:
            self.refuse("a tensor is not described as float32, uint8 or int32 with shape and offsets", error)
        if not isinstance(shape, list) or len(shape) > MAX_AXES:
            self.refuse(f"a tensor's shape is not a list of at most {MAX_AXES} axes")
        if any(
            type(number) is not int or not 0 <= number <= MAX_FILE_BYTES for number in (*shape, first, last)
        ):
            self.refuse("a tensor's shape or offsets are not sensible integers")
        return dtype, tuple(shape), first, last


def write_tensors(path: Path, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write tensors as safetensors; equal tensors give equal bytes."""
    path.write_bytes(tensor_bytes(tensors))


def tensor_bytes(tensors: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Tensors as safetensors; equal tensors give equal bytes."""
    from safetensors.numpy import save  # here: who only reads does without it

    return bytes(save({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}))
