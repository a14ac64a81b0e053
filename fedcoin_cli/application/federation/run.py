"""The server's side of a paid run: a call in a round's folder, and what each client has signed so far.

    rounds/N/   call.json, model.json, test.safetensors, baseline.safetensors
    rounds/N/updates/   each client's last signed update, as `fedcoin update sign` leaves it

So a run that dies leaves what `fedcoin round gather` takes. A step counts when its client has signed for everything up
to it: what was lost on the way, or signed wrongly, counts for nobody, and the client goes on from the step before.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fedcoin_cli.application.books.books import certified_tip
from fedcoin_cli.application.federation.telling import BEFORE, HERE, THERE, Told, has_forgotten, read_answer
from fedcoin_cli.application.rounds.calling import UPDATE_SUFFIX, make_call
from fedcoin_cli.application.rounds.files import (
    BASELINE_NAME,
    FROZEN_NAME,
    MODEL_NAME,
    SCHEMA,
    TEST_NAME,
    listed_round,
)
from fedcoin_cli.application.rounds.gathering import gather, leave_out, updates_in
from fedcoin_cli.application.rounds.new_round import new_round
from fedcoin_cli.application.rounds.terms import AskedTerms
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.configuration import Configuration
from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.amount import format_micro
from ledger_store.base.canonical import encode
from ledger_store.base.errors import InsufficientFunds, RoundFilesInvalid, SettingsError
from ledger_store.base.names import Address, Digest
from ledger_store.identity.keys import verify
from ledger_store.transaction import ZERO, Task, Update

if TYPE_CHECKING:
    from fedcoin_cli.learning.exchange.description import Described
    from fedcoin_cli.learning.model.arrays import Array, Images
    from fedcoin_cli.learning.model.running import Tensors
    from fedcoin_cli.learning.model.weights import Parts, TestSet, Weights

_SIGNED_BYTES: Final = 1024
"""What a signed update's file takes, blanks and all; it holds about 600."""
UPDATES: Final = "updates"
"""The folder in which a round's signed updates wait until it is gathered."""
_LEAST_CLIENTS: Final = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed before a run begins: where it is paid from and by whom, what models are and are judged by.

    With `whole`, one task pays for the run, against the model that it begins with; else each round is a task, against
    what the settings say that nobody is worth. Raises nothing: `planned` has checked it.
    """

    workspace: Workspace
    configuration: Configuration
    key: str
    model: "Described"
    test: "TestSet"
    whole: bool


def planned(
    workspace: Workspace,
    configuration: Configuration,
    *,
    key: str,
    model: "Described",
    test: "tuple[Images, Array]",
    whole: bool,
) -> Plan:
    """Check what a run is to be paid by, before anybody trains: a call like its own is written, and thrown away.

    Raises:
        RoundFilesInvalid: the model cannot be described, or the test set or the metric does not fit it.
        KeyFailure: there is no such key.
        InsufficientFunds: the key's account does not hold the price, by the ledger here.
        SettingsError: the server that is to be paid has no address, or terms that this network does not admit.
    """
    from fedcoin_cli.learning.model.arrays import as_test_set

    tests = as_test_set(*test, model.model)
    payer = workspace.address(key)
    Names.of(workspace).address(configuration.settings.task.server)
    price = configuration.settings.task.price_micro
    for setting in ("task.aggregation", *(["task.baseline"] if whole else [])):
        if (given := configuration.origin(setting)).origin == "flag":
            hint = "Flower averages by examples, and by pay='run' nobody is worth what the run begins with"
            raise SettingsError(f"{setting} is not asked for here", where=given.where, hint=hint)
    state = certified_tip(workspace).state
    # Who has no copy of the ledger yet knows no balances.
    if (state.height or payer in state.balances) and (held := state.balances.get(payer, 0)) < price:
        message = f"{key} holds {format_micro(held)} FedCoin, the price is {format_micro(price)}"
        raise InsufficientFunds(message, where="price", hint="ask for less, or pay from another key=")
    plan = Plan(workspace, configuration, key, model, tests, whole)
    with tempfile.TemporaryDirectory() as place:
        baseline = ZERO if whole else configuration.settings.task.baseline
        _called(plan, Path(place), baseline, model.frozen)
    return plan


def _called(plan: Plan, folder: Path, baseline: "str | Weights", frozen: "Weights") -> Task:
    """Write the call of a plan into an empty folder; raises as `make_call`.

    `baseline` says what nobody is worth: the weights that a run begins with, or as the setting does. `frozen` are those
    that no client trains.
    """
    from fedcoin_cli.learning.model.weights import write_test, write_update

    settings, genesis = plan.configuration.settings, plan.workspace.genesis()
    described = plan.model.model
    with tempfile.TemporaryDirectory() as place:
        model, test, begun = (Path(place) / name for name in (MODEL_NAME, TEST_NAME, BASELINE_NAME))
        model.write_text(plan.model.text, "utf-8")
        write_test(test, plan.test, [each.name for each in described.inputs])
        if frozen:
            write_update(model.with_name(FROZEN_NAME), frozen, [each.name for each in described.frozen])
        if not isinstance(baseline, str):
            write_update(begun, baseline, described.weight_names)
            baseline = str(begun)
        task = replace(settings.task, baseline=baseline, aggregation="fedavg")
        terms = AskedTerms(replace(settings, task=task), Names.of(plan.workspace).address(task.server))
        clients = (_LEAST_CLIENTS, genesis.bounds.clients)
        return make_call(folder, genesis, (model, test), terms, plan.workspace.address(plan.key), clients)


@dataclass(slots=True)
class _Client:
    """What a server knows of one node: its update so far, how many steps that holds, and what it signed last."""

    now: "Weights"
    steps: int
    signed: Update


class PaidRun:
    """One call and what its clients have signed, in the next folder of the workspace's rounds.

    `folder` is that folder and `call` what clients sign. A call for a whole run has its beginning as baseline, and an
    update is that and everything a client did since. Else the call is for one round.
    """

    def __init__(self, plan: Plan, initial: "Tensors", weigh: str) -> None:
        """Write the call; raises as `make_call`, and `RoundFilesInvalid` where the arrays are not the model's."""
        from fedcoin_cli.learning.model.running import Layout

        self._genesis = plan.workspace.genesis()
        self._plan, self._weigh, self._whole = plan, weigh, plan.whole
        self._layout = Layout.of(plan.model.model, initial, plan.model.names)
        self._initial = self._layout.weights(initial, "the initial arrays")
        # By node: those whose signature has been counted at least once.
        self._clients: dict[str, _Client] = {}
        # Clients in the order in which they first signed: the round's order.
        self._order: dict[Address, int] = {}
        # In which of its two files what each of them signed last lies, and of how many steps it is.
        self._files: dict[Address, int] = {}
        self._steps: dict[Address, int] = {}
        # What the nodes that are asked in this round got.
        self._got: dict[str, Weights] = {}
        # Nodes that were asked, and whose last answer was not counted.
        self._lost: set[str] = set()
        # Nodes that have been told how the run began, and have answered since.
        self._knowing: set[str] = set()
        # Nodes that answered without signing when they were first asked: they train on, and are not paid.
        self.unpaid: dict[str, str] = {}
        with new_round(plan.workspace, None) as folder:
            baseline = plan.configuration.settings.task.baseline
            # As the run has them, where it has them: a model that was made anew may begin with others.
            frozen = self._layout.all_frozen(initial, plan.model.frozen)
            assert frozen is not None, "the plan has them all"
            self.call: Task = _called(plan, folder, self._initial if plan.whole else baseline, frozen)
            (folder / UPDATES).mkdir()
        self.folder = folder

    def told(self, *, first: bool) -> Told:
        """What all clients are told in a round; those that must be told more are `late`."""
        begins = HERE if first or not self._whole else BEFORE
        model, names = (self._plan.model.text, self._plan.model.names) if begins == HERE else ("", ())
        lost = {node: str(self._clients[node].signed.digest) for node in sorted(self._lost)}
        return Told(self._genesis.id, self.call, begins, model, self._weigh, names, lost)

    def late(self, nodes: Iterable[str]) -> dict[str, Told]:
        """The nodes among these that do not know how the run began, and what they are told.

        Whoever has answered knows it, signed or not, unless it says that it has forgotten.
        """
        if not self._whole:
            return {}
        told = replace(
            self.told(first=False), begins=THERE, model=self._plan.model.text, names=self._plan.model.names
        )
        return {node: told for node in nodes if node not in self._knowing}

    def asked(self, groups: Iterable[tuple[Iterable[str], "Tensors"]]) -> None:
        """A round begins: these nodes are sent these tensors. Until an answer of theirs is counted, it is lost."""
        laid = [(nodes, self._layout.weights(got, "the arrays")) for nodes, got in groups]
        self._got = {node: weights for nodes, weights in laid for node in nodes}
        self._lost |= self._got.keys() & self._clients.keys()

    def answered(self, node: str, returned: "Tensors", record: object) -> str | None:
        """Count what a node did in a round; says why not, where it is not counted for the first time.

        `record` is the node's answer as `telling` writes it, None without one. An answer of a node that was not asked,
        or has answered already, counts for nobody.
        """
        if (got := self._got.pop(node, None)) is None:
            return None
        self._knowing.add(node)
        try:
            self._count(node, got, returned, record)
        except RoundFilesInvalid as error:
            told = node in self.unpaid
            if node not in self._clients:
                self.unpaid.setdefault(node, error.message)
            if has_forgotten(record):
                # It begins anew, as another node of the same client would.
                self._knowing.discard(node)
                self._lost.discard(node)
                self._clients.pop(node, None)
            return None if told else error.message
        self._lost.discard(node)
        self.unpaid.pop(node, None)
        return None

    def _count(self, node: str, got: "Weights", returned: "Tensors", record: object) -> None:
        from fedcoin_cli.learning.model.running import moved
        from fedcoin_cli.learning.model.weights import update_digest, update_parts

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
            weights = moved(before, got, weights)
        parts = update_parts(weights, self._plan.model.model.weight_names)
        if update_digest(parts) != update.digest:
            raise RoundFilesInvalid("it signed for other weights than it returned")
        if not verify(
            update.client, "update", self._genesis.id, self.call.update_terms(update), update.signature
        ):
            raise RoundFilesInvalid("its signature is wrong")
        steps = 1 if known is None else known.steps + 1
        # A SuperNode that was started anew is another node of its client, which has signed for more before.
        if steps >= self._steps.get(update.client, 0):
            self._keep(parts, update)
            self._steps[update.client] = steps
        self._clients[node] = _Client(weights, steps, update)

    def _keep(self, parts: "Parts", update: Update) -> None:
        """Replace what a client has signed: weights first, into the file that is not in force, then what names it."""
        number = self._order.setdefault(update.client, len(self._order) + 1)
        file = self._files[update.client] = 1 - self._files.get(update.client, 1)
        name = f"{number:05d}-{update.client[:16]}"
        signed = {
            "schema": SCHEMA,
            "genesis": self._genesis.id,
            "call": self.call.call,
            "file": f"{name}-{file}.safetensors",
            **update.to_json(),
        }
        folder = str(self.folder / UPDATES)
        _overwrite(f"{folder}/{signed['file']}", parts)
        # In one call, so that a process that dies leaves this one or the last one, whole. That power is cut is borne,
        # the run is lost with it anyway: to rename a new file over the old one would have some file systems wait for
        # the disk, for every client in every round.
        _overwrite(f"{folder}/{name}{UPDATE_SUFFIX}", [encode(signed).ljust(_SIGNED_BYTES - 1) + b"\n"])

    @property
    def signers(self) -> int:
        """How many clients have signed for something that counts."""
        return len(self._steps)

    def gather(self) -> None:
        """Make the folder a round that can be published; raises `RoundFilesInvalid` for fewer than two signers."""
        if self.signers < _LEAST_CLIENTS:
            if not self.signers:
                shutil.rmtree(self.folder)
            hint = "clients sign with fedcoin.flower.paid() and a key in their node's configuration"
            message = f"{self.signers} of its clients signed, and a value compares two: nobody is paid"
            raise RoundFilesInvalid(message, hint=hint)
        made = gather(self.folder, updates_in([self.folder / UPDATES]), self._genesis)
        shutil.rmtree(self.folder / UPDATES)
        if self._plan.configuration.settings.task.copies != "allow":
            first: dict[Digest, Address] = {}
            for update in made.updates:
                if (other := first.setdefault(update.digest, update.client)) != update.client:
                    self._leave_out(update.client, f"its update is the very same as that of {other}")

    def leave_out_refused(self) -> bool:
        """Take out of the gathered round a client whose update no miner admits, where there is one.

        One update that is so large that rounding matters would have the round refused for all (docs/adr/0049).
        """
        from fedcoin_cli.learning.reference.referee import reference_for
        from fedcoin_cli.learning.reference.update_admission import refused_update
        from fedcoin_cli.learning.task_game import load_game

        made = listed_round(self.folder, self._genesis)
        task = replace(self.call, updates=made.updates)
        refused = refused_update(reference_for(load_game(task, made.paths.__getitem__)), self.call.call)
        if refused is None or refused.client is None:
            return False
        self._leave_out(made.updates[refused.client].client, f"miners do not admit its update: {refused}")
        return True

    def _leave_out(self, client: Address, reason: str) -> None:
        leave_out(listed_round(self.folder, self._genesis), client, self._genesis)
        nodes = [node for node, known in self._clients.items() if known.signed.client == client]
        self.unpaid |= dict.fromkeys(nodes or [client], reason)


def _overwrite(path: str, parts: "Parts") -> None:
    """Write over a file, which was as long before where there was one."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as file:
        file.writelines(parts)
