"""A look at updates that a person has in Python: lists of arrays, or mappings of names to arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fedcoin_cli.learning.scrutiny.look import Looked, look
from ledger_store.base.errors import RoundFilesInvalid

Given = Sequence[npt.ArrayLike] | Mapping[str, npt.ArrayLike]


def look_at(updates: Sequence[Given], initial: Given | None, examples: Sequence[int] | None) -> Looked:
    """As `look`; raises `RoundFilesInvalid`."""
    if not updates:
        raise RoundFilesInvalid("there is no update", where="updates", hint="give one a client")
    if examples is not None and (len(examples) != len(updates) or min(examples) < 1):
        message = f"examples must be {len(updates)} whole numbers from 1 on, one a client"
        raise RoundFilesInvalid(message, where="examples")
    found = [_named(update, f"updates[{number}]") for number, update in enumerate(updates)]
    origin = None if initial is None else _named(initial, "initial")
    try:
        return look([update.items for update in found], origin, examples=examples)
    except ValueError as error:
        hint = "all updates, and the weights they began with, have the same names and shapes"
        raise RoundFilesInvalid(str(error), where="updates", hint=hint) from error


def _named(update: Given, where: str) -> dict[str, npt.NDArray[Any]]:
    named = (
        update if isinstance(update, Mapping) else {f"{place:03d}": one for place, one in enumerate(update)}
    )
    try:
        return {name: np.asarray(one, np.float32) for name, one in named.items()}
    # Foreign tensors refuse in ways of their own: one that needs a gradient, one that is on a GPU.
    except Exception as error:
        message = f"no array of numbers can be made of it: {str(error)[:120]}"
        hint = "give NumPy arrays; of PyTorch: tensor.detach().cpu().numpy()"
        raise RoundFilesInvalid(message, where=where, hint=hint) from error
