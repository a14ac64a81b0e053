"""The server's side of a paid run: a call in a round's folder, and what each client has signed so far.

    rounds/N/   call.json, model.json, test.safetensors, baseline.safetensors
    rounds/N/updates/   each client's last signed update, as `fedcoin update sign` leaves it

So a run that dies leaves what `fedcoin round gather` takes. A step counts when its client has signed for everything up
to it: what was lost on the way, or signed wrongly, counts for nobody, and the client goes on from the step before.
"""

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fedcoin_cli.application.books.books import certified_tip
from fedcoin_cli.application.federation.telling import BEFORE, HERE, THERE, Told, read_answer
from fedcoin_cli.application.rounds.calling import UPDATE_SUFFIX, make_call
from fedcoin_cli.application.rounds.files import BASELINE_NAME, MODEL_NAME, SCHEMA, TEST_NAME
from fedcoin_cli.application.rounds.gathering import gather, updates_in
from fedcoin_cli.application.rounds.new_round import new_round
from fedcoin_cli.application.rounds.terms import AskedTerms
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.configuration import Configuration
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.amount import format_micro
from ledger_store.base.canonical import digest, encode
from ledger_store.base.errors import InsufficientFunds, RoundFilesInvalid, SettingsError
from ledger_store.base.names import Address
from ledger_store.identity.keys import verify
from ledger_store.transaction import ZERO, Task, Update

if TYPE_CHECKING:
    from fedcoin_cli.learning.model.arrays import Array
    from fedcoin_cli.learning.model.interface import Model
    from fedcoin_cli.learning.model.running import Tensors
    from fedcoin_cli.learning.model.weights import TestSet, Weights

UPDATES: Final = "updates"
"""The folder in which a round's signed updates wait until it is gathered."""
_LEAST_CLIENTS: Final = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed before a run begins: where it is paid from and by whom, what models are and are judged by.

    Raises nothing: `planned` has checked it.
    """

    workspace: Workspace
    configuration: Configuration
    key: str
    model: str
    described: "Model"
    test: "TestSet"


def planned(
    workspace: Workspace, configuration: Configuration, key: str, model: str, test: "tuple[Array, Array]"
) -> Plan:
    """Check what a run is to be paid by, before anybody trains.

    Raises:
        RoundFilesInvalid: the model cannot be described, or the test set is not one of its.
        KeyFailure: there is no such key.
        InsufficientFunds: the key's account does not hold the price, by the ledger here.
        SettingsError: the server that is to be paid has no address.
    """
    from fedcoin_cli.learning.model.arrays import as_test_set
    from fedcoin_cli.learning.model.reading import read_model

    described = read_model(model, where="model")
    tests = as_test_set(*test, described)
    payer = workspace.address(key)
    Names.of(workspace).address(configuration.settings.task.server)
    price = configuration.settings.task.price_micro
    for setting in ("task.baseline", "task.aggregation"):
        if (given := configuration.origin(setting)).origin == "flag":
            hint = "what nobody is worth follows from pay=, and Flower averages by examples"
            raise SettingsError(f"{setting} is not asked for here", where=given.where, hint=hint)
    state = certified_tip(workspace).state
    if state.height and (held := state.balances.get(payer, 0)) < price:
        message = f"{key} holds {format_micro(held)} FedCoin, the price is {format_micro(price)}"
        raise InsufficientFunds(message, where="price", hint="ask for less, or pay from another key=")
    return Plan(workspace, configuration, key, model, described, tests)


@dataclass(slots=True)
class _Client:
    """What a server knows of one node: its update so far, how many steps that holds, and what it signed last."""

    now: "Weights"
    steps: int
    signed: Update


class PaidRun:
    """One call and what its clients have signed, in the next folder of the workspace's rounds.

    `folder` is that folder and `call` what clients sign. With `whole`, the call is for the run: its baseline is where
    it began, and an update is that and everything a client did since. Else it is for one round.
    """

    def __init__(self, plan: Plan, initial: "Tensors", weigh: str, *, whole: bool) -> None:
        """Write the call; raises as `make_call`, and `RoundFilesInvalid` where the arrays are not the model's."""
        from fedcoin_cli.learning.model.running import Layout
        from fedcoin_cli.learning.model.weights import update_bytes, write_test

        self._genesis = plan.workspace.genesis()
        self._plan, self._weigh, self._whole = plan, weigh, whole
        self._layout = Layout.of(plan.described, initial)
        self._initial = self._layout.weights(initial, "the initial arrays")
        # By node: those whose signature has been counted at least once.
        self._clients: dict[str, _Client] = {}
        # Clients in the order in which they first signed: the round's order.
        self._order: dict[Address, int] = {}
        # Where what each of them signed last lies.
        self._files: dict[Address, Path] = {}
        # Nodes that were asked, and whose last answer was not counted.
        self._lost: set[str] = set()
        # Nodes that answered without signing when they were first asked: they train on, and are not paid.
        self.unpaid: dict[str, str] = {}
        with tempfile.TemporaryDirectory() as place, new_round(plan.workspace, None) as folder:
            model, test, begun = (Path(place) / name for name in (MODEL_NAME, TEST_NAME, BASELINE_NAME))
            model.write_text(plan.model, "utf-8")
            write_test(test, plan.test, [each.name for each in plan.described.inputs])
            begun.write_bytes(update_bytes(self._initial, plan.described.weight_names))
            terms = _terms(plan, str(begun) if whole else ZERO)
            sender = plan.workspace.address(plan.key)
            most = self._genesis.bounds.clients
            self.call: Task = make_call(
                folder, self._genesis, (model, test), terms, sender, (_LEAST_CLIENTS, most)
            )
            (folder / UPDATES).mkdir()
        self.folder = folder

    def told(self, *, first: bool) -> Told:
        """What all clients are told in a round; those that must be told more are `late`."""
        begins = HERE if first or not self._whole else BEFORE
        model = self._plan.model if begins == HERE else ""
        lost = {node: str(self._clients[node].signed.digest) for node in sorted(self._lost)}
        return Told(self._genesis.id, self.call, begins, model, self._weigh, lost)

    def late(self, nodes: Iterable[str]) -> dict[str, Told]:
        """The nodes among these that do not know how the run began, and what they are told."""
        if not self._whole:
            return {}
        told = replace(self.told(first=False), begins=THERE, model=self._plan.model)
        return {node: told for node in nodes if node not in self._clients and node not in self.unpaid}

    def asked(self, nodes: Iterable[str]) -> None:
        """These nodes were sent a round: until an answer of theirs is counted, it is lost."""
        self._lost |= {node for node in nodes if node in self._clients}

    def answered(self, node: str, got: "Tensors", returned: "Tensors", record: object) -> str | None:
        """Count what a node did in a round; says why not, where it is not counted for the first time.

        `record` is the node's answer as `telling` writes it, None without one.
        """
        try:
            self._count(node, got, returned, record)
        except RoundFilesInvalid as error:
            told = node in self.unpaid
            if node not in self._clients:
                self.unpaid.setdefault(node, error.message)
            return None if told else error.message
        self._lost.discard(node)
        self.unpaid.pop(node, None)
        return None

    def _count(self, node: str, got: "Tensors", returned: "Tensors", record: object) -> None:
        from fedcoin_cli.learning.model.running import moved
        from fedcoin_cli.learning.model.weights import update_bytes

        if not isinstance(record, dict):
            raise RoundFilesInvalid("it runs without fedcoin.flower.paid()")
        if isinstance(update := read_answer(record, self._genesis), str):
            raise RoundFilesInvalid(update)
        known = self._clients.get(node)
        if known is not None and known.signed.client != update.client:
            raise RoundFilesInvalid(f"it signed with another key than before: {update.client}")
        weights = self._layout.weights(returned, "the returned arrays")
        if self._whole:
            before = self._initial if known is None else known.now
            weights = moved(before, self._layout.weights(got, "the arrays"), weights)
        data = update_bytes(weights, self._plan.described.weight_names)
        if digest(data) != update.digest:
            raise RoundFilesInvalid("it signed for other weights than it returned")
        if not verify(
            update.client, "update", self._genesis.id, self.call.update_terms(update), update.signature
        ):
            raise RoundFilesInvalid("its signature is wrong")
        steps = 1 if known is None else known.steps + 1
        if all(other.steps <= steps for other in self._others(node, update.client)):
            self._keep(data, update)
        self._clients[node] = _Client(weights, steps, update)

    def _others(self, node: str, client: Address) -> list[_Client]:
        """Other nodes of one client: those it had before its SuperNode was started anew."""
        return [one for name, one in self._clients.items() if name != node and one.signed.client == client]

    def _keep(self, data: bytes, update: Update) -> None:
        """Replace what a client has signed: weights first, under a name of their own, then what names them."""
        folder = self.folder / UPDATES
        number = self._order.setdefault(update.client, len(self._order) + 1)
        name = f"{number:05d}-{update.client[:16]}"
        weights = folder / f"{name}-{update.digest[:16]}.safetensors"
        weights.write_bytes(data)
        signed = {
            "schema": SCHEMA,
            "genesis": self._genesis.id,
            "call": self.call.call,
            "file": weights.name,
            **update.to_json(),
        }
        place = folder / f"{name}{UPDATE_SUFFIX}"
        # A process that dies must not leave half of it; that power is cut is borne, the run is lost with it anyway.
        staged = place.with_suffix(".new")
        staged.write_bytes(encode(signed) + b"\n")
        staged.replace(place)
        old = self._files.get(update.client, weights)
        self._files[update.client] = weights
        if old != weights:
            old.unlink()

    @property
    def signers(self) -> int:
        """How many clients have signed for something that counts."""
        return len({one.signed.client for one in self._clients.values()})

    def gather(self) -> None:
        """Make the folder a round that can be published; raises `RoundFilesInvalid` for fewer than two signers."""
        if self.signers < _LEAST_CLIENTS:
            if not self.signers:
                shutil.rmtree(self.folder)
            hint = "clients sign with fedcoin.flower.paid() and a key in their node's configuration"
            message = f"{self.signers} of its clients signed, and a value compares two: nobody is paid"
            raise RoundFilesInvalid(message, hint=hint)
        gather(self.folder, updates_in([self.folder / UPDATES]), self._genesis)
        shutil.rmtree(self.folder / UPDATES)


def _terms(plan: Plan, baseline: str) -> AskedTerms:
    """The settings in force, with the baseline that paying by runs or rounds asks for."""
    settings = plan.configuration.settings
    task = replace(settings.task, baseline=baseline, aggregation="fedavg")
    server = Names.of(plan.workspace).address(task.server)
    return AskedTerms(replace(settings, task=task), server)
