"""Repair the local miners' ledgers; nothing is ever deleted.

What can be repaired, and how, is decided in `application.repair`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.output import counted
from fedcoin_cli.cli.program.passphrases import PassphraseFile

if TYPE_CHECKING:
    from fedcoin_cli.application.repair.forget_log import Reminded
    from fedcoin_cli.application.repair.repair import Repaired

REMINDERS_S = 20.0


EXAMPLES = (
    ("fedcoin repair", "all local ledgers, their miners stopped"),
    ("fedcoin repair --from backup/miners/1", "with another ledger to complete a damaged one from"),
)


def run(
    call: Call,
    donor: Annotated[
        Path | None,
        typer.Option("--from", metavar="FOLDER", help="Another ledger to complete a damaged one from."),
    ] = None,
    forget_log: Annotated[
        bool, typer.Option("--forget-log", help="Make a lost vote log anew from what all other miners say.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Repair the local miners' ledgers; nothing is ever deleted.

    A torn tail is moved aside. A last block or certificate that is missing is put back from the miner's vote
    log. A ledger damaged in the middle is kept as a copy and completed from another one. The miners must be
    stopped.

    A miner that lost its vote log only observes until the others have moved on, for fear of contradicting itself.
    Where the others cannot move on without it (one to three miners) --forget-log asks each of them what it and
    the lost one may have said, and completes the log so that nothing can contradict that. All other miners must
    run; the lost one must not.
    """
    from fedcoin_cli.application.repair.repair import repair

    if forget_log:
        _forget_logs(call, passphrase_file)
        return
    repaired = repair(call.workspace(passphrase_file), donor)
    data = {"miners": [_data(one) for one in repaired]}
    call.output.answer(data, [line for one in repaired for line in _lines(one)])
    for one in repaired:
        if one.problem is not None:
            raise one.problem


def _data(one: "Repaired") -> dict[str, object]:
    return {
        "miner": one.number,
        "ledger": str(one.path),
        "height": one.height,
        "certified": one.certified,
        "done": list(one.done),
        "problem": None if one.problem is None else one.problem.message,
    }


def _lines(one: "Repaired") -> list[str]:
    if one.problem is not None:
        state = f"not repaired: {one.problem.message}"
    else:
        certified = "" if one.certified else ", its certificate missing: the miner asks the others for it"
        state = f"height {one.height}{certified}" + ("" if one.done else ", nothing to repair")
    return [f"miner {one.number}  {state}", *(f"{'':9}{text}" for text in one.done)]


def _forget_logs(call: Call, passphrase_file: Path | None) -> None:
    from fedcoin_cli.application.repair.forget_log import forget_log, lost_logs

    workspace = call.workspace(passphrase_file)
    host, names = call.settings(workspace).network.bind, Names.of(workspace)
    reminded = [forget_log(workspace, miner, host, REMINDERS_S) for miner in lost_logs(workspace)]
    data = {"miners": [_reminded_data(one) for one in reminded]}
    call.output.answer(data, [line for one in reminded for line in _reminded_lines(one, names)])


def _reminded_data(one: "Reminded") -> dict[str, object]:
    return {
        "miner": one.number,
        "height": one.height,
        "silent_to_view": one.view,
        "votes": [[vote.kind, vote.to_json()] for vote in one.votes],
        "witnesses": list(one.witnesses),
    }


def _reminded_lines(one: "Reminded", names: Names) -> list[str]:
    who = ", ".join(map(names.name, one.witnesses)) or "nobody: there is no other miner"
    lines = [f"miner {one.number}  its vote log may be relied on again, by the word of {who}"]
    if one.witnesses:
        votes = counted(len(one.votes), "vote")
        lines.append(
            f"{'':9}height {one.height}: silent to view {one.view}, {votes} given anew; then it votes as ever"
        )
    return lines
