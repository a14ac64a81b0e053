"""Run a whole round on real data, from init to audit.

The steps are those of the commands; here they only follow each other.
"""

import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.application.workspace.workspace import REQUESTER, Workspace
from fedcoin_cli.cli.program.interrupts import Interrupts, interrupt
from fedcoin_cli.cli.program.options import Call
from ledger_store.base.words import TaskState

if TYPE_CHECKING:
    from fedcoin_cli.application.reasons.certainty import Certainty
    from fedcoin_cli.application.requester.requester import Published
    from ledger_store.audit.audit import AuditReport

_CLIENTS, _MINERS = 8, 4
_FIRST_PORT = 7460
_POLL_S = 0.1
# For the slowest miner to append the last block.
_EQUAL_S = 15.0


EXAMPLES = (("fedcoin demo show", "the whole of it, kept in the folder show"),)


def run(
    call: Call,
    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Keep the workspace here; default: a temporary one.")
    ] = None,
) -> None:
    """Run a whole round on real data, from init to audit.

    Eight clients train on parts of scikit-learn's digits, four miners on this machine agree on their Shapley
    values, the price is paid out, and the ledger is audited. The miners are stopped at the end.
    """
    start_s = time.monotonic()
    directory = directory or call.folder
    own = (f"task.clients={_CLIENTS}", f"network.miners={_MINERS}", f"network.port={_free_port(2 * _MINERS)}")
    call = replace(call, assignments=(*own, *call.assignments))
    with _folder(directory) as root:
        workspace = _found(call, root)
        ended = _settle(call, workspace)
        report = _audit(workspace)
        _answer(call, workspace, ended, report, time.monotonic() - start_s)
    if directory is not None:
        call.output.note(f"the workspace stays in {root}")


@contextlib.contextmanager
def _folder(named: Path | None) -> Iterator[Path]:
    if named is not None:
        yield named.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="fedcoin-demo-") as folder:
        yield Path(folder)


def _free_port(count: int) -> int:
    """The first of `count` consecutive ports on which nobody listens here."""
    for first in range(_FIRST_PORT, 32_768, count):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + count):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    return _FIRST_PORT  # all in use: the miners will say so


def _found(call: Call, root: Path) -> Workspace:
    from fedcoin_cli.application.founding.founding import local_founding

    configuration = call.configuration(None)
    founding = local_founding(root, configuration, time.time_ns() // 10**6)
    genesis = founding.make(force=False)
    call.output.note(
        f"init     {len(genesis.roster)} miners, {configuration.settings.task.clients} clients: {root}"
    )
    return Workspace(root)


def _settle(call: Call, workspace: Workspace) -> "tuple[Published, Certainty | None]":
    """Start the miners, train while they load, publish; the miners are stopped whatever happens."""
    from fedcoin_cli.cli.commands.mine import make_crew
    from fedcoin_cli.cli.views.miner_watch import MinerWatch

    crew = make_crew(call, workspace)
    with Interrupts() as interrupts:
        watch = MinerWatch(replace(call.output, verbosity=-1), crew, interrupts, silent=True)
        try:
            watch.start()
            interrupts.wake = interrupt
            folder = _train(call, workspace)
            watch.wait()
            interrupts.check()
            call.output.note(f"mine     {len(crew.alive)} miners are ready")
            ended = _publish(call, workspace, folder)
            _await_equal_ledgers(workspace)
        finally:
            interrupts.wake = None
            heard = interrupts.count
            crew.stop(lambda: interrupts.count > heard)
    return ended


def _train(call: Call, workspace: Workspace) -> Path:
    from fedcoin_cli.application.rounds.making import make_round
    from fedcoin_cli.application.rounds.recipe import EPOCHS, Recipe
    from fedcoin_cli.cli.program.progress import progress
    from fedcoin_cli.learning.simulation.datasets import load

    task = call.settings(workspace).task
    data, folder = load("digits"), workspace.new_round()
    recipe = Recipe(data, "mix", task.clients, EPOCHS, 0, task.aggregation)
    call.output.note(f"train    {task.clients} clients on parts of {data.name}")
    with progress(call.output, "training", task.clients * recipe.epochs, "epochs") as step:
        make_round(workspace, folder, recipe, lambda client, epoch: step(client * recipe.epochs + epoch))
    return folder


def _publish(call: Call, workspace: Workspace, folder: Path) -> "tuple[Published, Certainty | None]":
    from fedcoin_cli.application.reasons.kept_tables import certainty_of
    from fedcoin_cli.application.requester.publication import wanted_of
    from fedcoin_cli.application.requester.requester import Requester
    from fedcoin_cli.cli.views.following import ProgressBars

    configuration = call.configuration(workspace.settings_file)
    wanted = wanted_of(workspace, folder, configuration)
    call.output.note(
        f"publish  {configuration.settings.task.price} FedCoin for {wanted.round.images} test images"
    )
    with ProgressBars(call.output) as bars, Requester(workspace, workspace.key(REQUESTER), bars) as requester:
        published = requester.publish(wanted)
        return published, certainty_of(workspace, *requester.ended(published.task_id))


def _await_equal_ledgers(workspace: Workspace) -> None:
    until_s = time.monotonic() + _EQUAL_S
    while len(_ledgers(workspace)) > 1 and time.monotonic() < until_s:
        time.sleep(_POLL_S)


def _ledgers(workspace: Workspace) -> set[bytes]:
    return {miner.chain.read_bytes() for miner in workspace.miners}


def _audit(workspace: Workspace) -> "AuditReport":
    from fedcoin_cli.application.books.books import ledgers
    from fedcoin_cli.contract.outcome_check import CHECKS
    from ledger_store.audit.audit import audit
    from ledger_store.base.errors import LedgerInvalid
    from ledger_store.file.chain_file import CHAIN_NAME

    path = ledgers(workspace)[0] / CHAIN_NAME
    report = audit(path, 3, CHECKS)
    if not report.ok:
        raise LedgerInvalid(f"the audit found {report.findings[0].code}", where=str(path))
    return report


def _aligned(balances: Mapping[str, str]) -> list[tuple[str, str]]:
    from fedcoin_cli.cli.views.amounts import aligned

    names = sorted(balances)
    return list(zip(names, aligned([balances[name] for name in names]), strict=True))


def _answer(
    call: Call,
    workspace: Workspace,
    ended: "tuple[Published, Certainty | None]",
    audited: "AuditReport",
    seconds: float,
) -> None:
    from fedcoin_cli.application.workspace.address_names import Names
    from fedcoin_cli.cli.program.output import counted, table
    from fedcoin_cli.cli.views.naming import told
    from fedcoin_cli.cli.views.task_lines import task_lines
    from ledger_store.base.amount import format_micro
    from ledger_store.base.errors import ConsensusFailure

    (published, certainty), names = ended, Names.of(workspace)
    report = published.report
    balances = {
        names.name(address): format_micro(micro) for address, micro in (audited.balances or {}).items()
    }
    identical = len(_ledgers(workspace)) == 1
    miners = len(workspace.miners)
    data = told(report.to_json(), names) | {
        "certainty": None if certainty is None else certainty.to_json(),
        "balances": balances,
        "ledgers": {"miners": miners, "identical": identical},
        "audit": {"ok": True, "level": audited.level, "height": audited.height, "head": audited.head},
        "seconds": Decimal(f"{published.seconds:.3f}"),
        "seconds_in_all": Decimal(f"{seconds:.3f}"),
    }
    lines = [
        *task_lines(report, names, certainty),
        "",
        *table(["account", "FedCoin"], _aligned(balances)),
        "",
        f"ledgers   {miners}, {'byte-identical' if identical else 'not yet equal'}",
        f"audit ok: {counted(audited.blocks, 'block')}, level {audited.level}, head {audited.head[:16]}",
        f"{seconds:.1f} s in all, {published.seconds:.1f} s from publish to the final block",
    ]
    call.output.answer(data, lines)
    if report.state != TaskState.SETTLED:
        raise ConsensusFailure(f"the task was {report.state.lower()}", where=f"task {report.task_id}")
