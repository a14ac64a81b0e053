"""A client of a paid run, on its own host: it adds up what it did, and has that signed.

Nothing of the run decides which key signs: that is the host's business (`signers`).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedcoin_cli.application.federation.signers import Signer
from fedcoin_cli.application.federation.telling import BEFORE, Told
from ledger_store.base.canonical import digest
from ledger_store.base.errors import RoundFilesInvalid
from ledger_store.base.names import Digest
from ledger_store.transaction import Update

if TYPE_CHECKING:
    from fedcoin_cli.learning.model.running import Tensors
    from fedcoin_cli.learning.model.weights import Weights


@dataclass(frozen=True, slots=True)
class Kept:
    """What a client keeps from round to round: its update so far and the one before, and the call they are for.

    `names` are those of the tensors in its files.
    """

    call: Digest
    model: str
    names: tuple[str, ...]
    now: "Weights"
    before: "Weights"


@dataclass(frozen=True, slots=True)
class Trained:
    """One round of a client: what it got, what it returned, and the weights the run began with where it was told."""

    got: "Tensors"
    returned: "Tensors"
    examples: int
    initial: "Tensors | None"


def answer(
    signer: Signer, told: Told, round_: Trained, kept: Kept | None, node: str
) -> tuple[Update, Kept | None]:
    """What a client signs after a round, and what it keeps for the next.

    A task for the whole run names the weights that it began with as its baseline: the update is these and everything
    that the client has added since. A task for one round is for what the client returned.

    Raises:
        RoundFilesInvalid: the server's terms do not fit what it sent, or these are not the model's weights.
        FedCoinError: the signer refuses, or is not there.
    """
    from fedcoin_cli.learning.model.reading import read_model
    from fedcoin_cli.learning.model.running import Layout, moved
    from fedcoin_cli.learning.model.weights import update_digest, update_parts

    begun = _begun(told, kept)
    layout = Layout.of(read_model(begun, where="the server's model"), round_.got)
    names = layout.model.weight_names
    returned = layout.weights(round_.returned, "the returned arrays")
    if told.call.named is None:
        return signer.sign(told, update_digest(update_parts(returned, names)), round_.examples), None
    if round_.initial is not None:
        before = layout.weights(round_.initial, "the initial arrays")
        if update_digest(update_parts(before, names)) != told.call.named:
            raise RoundFilesInvalid("the run did not begin with the weights that its call names")
    else:
        assert kept is not None, "who is told no beginning has one"
        before = _counted(kept, told.lost[node]) if node in told.lost else kept.now
    now = moved(before, layout.weights(round_.got, "the arrays"), returned)
    update = signer.sign(told, update_digest(update_parts(now, names)), round_.examples)
    return update, Kept(told.call.call, begun, names, now, before)


def _counted(kept: Kept, wanted: str) -> "Weights":
    """The update that the server counted last: the newest, or the one before where an answer was lost on its way."""
    from fedcoin_cli.learning.model.weights import update_digest, update_parts

    for weights in (kept.now, kept.before):
        if update_digest(update_parts(weights, kept.names)) == wanted:
            return weights
    raise RoundFilesInvalid("the server counts from an update that this client does not know")


def _begun(told: Told, kept: Kept | None) -> str:
    """The model's description, which the call names by its digest."""
    if told.begins == BEFORE:
        if kept is None or kept.call != told.call.call:
            hint = "its SuperNode was started anew: what it signed before still counts"
            raise RoundFilesInvalid("this client does not know how the run began", hint=hint)
        return kept.model
    if digest(told.model.encode()) != told.call.model:
        raise RoundFilesInvalid("the model is not the one that the call names")
    return told.model
