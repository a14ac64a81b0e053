"""What a text or a number names: types that tell an account from a task and a file from a block.

At run time they are the plain `str` and `int` that they are made of. Readers of JSON return them (`fields`), and so do
whoever makes a key, a block or a task; nothing else needs to name a type where it is made.
"""

from typing import NewType

ADDRESS_LENGTH = 64

Address = NewType("Address", str)
"""An account: its public key as hex. A miner, a client and a requester are accounts."""

Digest = NewType("Digest", str)
"""SHA-256 as hex: a file by its bytes, or what a signature or a header names by its canonical bytes."""

TaskId = NewType("TaskId", str)
"""The id of the signed transaction that asks for Shapley values."""

BlockId = NewType("BlockId", str)
"""The id of a header; what the next block names as its parent."""

GenesisId = NewType("GenesisId", BlockId)
"""The id of a network, and the parent of its first block."""

MinerIndex = NewType("MinerIndex", int)
"""A miner by its place in the roster, from 0."""
