"""A client of a paid run, on its own host: it adds up what it did, and has that signed.

Nothing of the run decides which key signs: that is the host's business (`signers`).
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedcoin_cli.application.federation.signers import Signer
from fedcoin_cli.application.federation.telling import BEFORE, HERE, Told
from ledger_store.base.canonical import digest
from ledger_store.base.errors import RoundFilesInvalid
from ledger_store.base.names import Digest
from ledger_store.transaction import Update

if TYPE_CHECKING:
    from fedcoin_cli.learning.model.running import Layout, Tensors
    from fedcoin_cli.learning.model.weights import Weights


@dataclass(frozen=True, slots=True)
class Kept:
    """What a client keeps from round to round: its update so far and the one before, and the call they are for.

    Both are the weights that the run began with until it has signed. `names` are those of the tensors in its files,
    `order` those of all that the original model holds.
    """

    call: Digest
    model: str
    names: tuple[str, ...]
    order: tuple[str, ...]
    now: "Weights"
    before: "Weights"


@dataclass(frozen=True, slots=True)
class Trained:
    """One round of a client: what it got and what it returned, and on how many examples it trained."""

    got: "Tensors"
    returned: "Tensors"
    examples: int


def knows(told: Told, kept: Kept | None) -> bool:
    """Whether a client can go on, by what it is told and what it kept."""
    return told.begins != BEFORE or (kept is not None and kept.call == told.call.call)


def opened(told: Told, got: "Tensors", initial: "Tensors | None", kept: Kept | None) -> Kept:
    """What a client begins a round with. It can keep that even where it does not sign: a later round goes on from it.

    A task for the whole run names the weights that it began with as its baseline. They are in `initial` where a client
    comes late.

    Raises:
        RoundFilesInvalid: the server's terms do not fit what it sent.
    """
    from fedcoin_cli.learning.model.reading import read_model
    from fedcoin_cli.learning.model.running import Layout

    if told.begins == BEFORE:
        assert kept is not None, "who does not know the beginning is not asked here"
        return kept
    if digest(told.model.encode()) != told.call.model:
        raise RoundFilesInvalid("the model is not the one that the call names")
    start = got if told.begins == HERE else initial
    if start is None:
        raise RoundFilesInvalid("the weights that the run began with did not come along")
    layout = Layout.of(read_model(told.model, where="the server's model"), start, told.names)
    names = layout.model.weight_names
    weights = layout.weights(start, "the initial arrays")
    if told.call.named is not None and _digest(weights, names) != told.call.named:
        raise RoundFilesInvalid("the run did not begin with the weights that its call names")
    _check_frozen(layout, start, told.call.frozen)
    return Kept(told.call.call, told.model, names, told.names, weights, weights)


def signed(signer: Signer, told: Told, kept: Kept, trained: Trained, node: str) -> tuple[Update, Kept]:
    """What a client signs after a round, and what it keeps for the next.

    By a task for the whole run the update is what that began with and everything that the client has added since. A
    task for one round is for what the client returned.

    Raises:
        RoundFilesInvalid: these are not the model's weights, or what the model freezes has moved.
        FedCoinError: the signer refuses, or is not there.
    """
    from fedcoin_cli.learning.model.reading import read_model
    from fedcoin_cli.learning.model.running import Layout, moved

    layout = Layout.of(read_model(kept.model, where="the server's model"), trained.got, kept.order)
    _check_still(layout, trained)
    before, now = kept.now, layout.weights(trained.returned, "the returned arrays")
    if told.call.named is not None:
        before = _counted(kept, told.lost[node]) if node in told.lost else kept.now
        now = moved(before, layout.weights(trained.got, "the arrays"), now)
    update = signer.sign(told, _digest(now, kept.names), trained.examples)
    return update, replace(kept, now=now, before=before)


def _counted(kept: Kept, wanted: str) -> "Weights":
    """The update that the server counted last: the newest, or the one before where an answer was lost on its way."""
    for weights in (kept.now, kept.before):
        if _digest(weights, kept.names) == wanted:
            return weights
    raise RoundFilesInvalid("the server counts from an update that this client does not know")


def _check_frozen(layout: "Layout", start: "Tensors", named: Digest | None) -> None:
    """Refuse other frozen weights than the call names, as far as they were sent: some federations send the rest."""
    frozen = layout.all_frozen(start)
    if frozen and _digest(frozen, [one.name for one in layout.model.frozen]) != named:
        raise RoundFilesInvalid("the frozen weights are not those that the call names")


def _check_still(layout: "Layout", trained: Trained) -> None:
    """Refuse a training that moved what the model freezes: it would be judged without that (docs/adr/0046)."""
    if names := sorted(layout.stirred(trained.got, trained.returned)):
        hint = "eval() on what is frozen keeps BatchNorm's statistics where they are; or let it be trained"
        raise RoundFilesInvalid(f"training moved {names[0]!r}, which the model freezes", hint=hint)


def _digest(weights: "Weights", names: "list[str] | tuple[str, ...]") -> Digest:
    from fedcoin_cli.learning.model.weights import update_digest, update_parts

    return update_digest(update_parts(weights, names))
