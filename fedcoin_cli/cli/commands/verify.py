"""Check a proof of payment; no ledger is needed.

What a proof holds and how it is checked is `ledger_store.audit.inclusion`; `fedcoin show --proof` writes one.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.views.genesis_id import checked_genesis

if TYPE_CHECKING:
    from fedcoin_cli.application.workspace.address_names import Names
    from fedcoin_cli.application.workspace.workspace import Workspace
    from ledger_store.audit.inclusion import Inclusion

NOT_PROVEN = (
    "that the amounts follow from what the miners revealed: fedcoin audit computes that from a ledger",
    "that the coins are still there: later blocks may have spent them",
    "that there is no second history: for that more than f miners must lie, and both would carry certificates",
)


EXAMPLES = (
    ("fedcoin verify proof.json", "in a workspace of the network"),
    ("fedcoin verify proof.json --genesis $GENESIS", "anywhere else"),
)


def run(
    call: Call,
    proof: Annotated[Path, typer.Argument(metavar="PROOF", help="The proof's file; - reads it from stdin.")],
    genesis: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The network's genesis id; default: the workspace's."),
    ] = None,
) -> None:
    """Check a proof of payment; no ledger is needed.

    A proof shows that miners of one network made a transaction final; which network must be known beforehand: the
    genesis id comes from --genesis, or from the workspace. `fedcoin show --proof ID` writes proofs. The proof of a
    fork that `fedcoin compare -o` writes is checked as well: who is named in it has lied. The exit code is 5 for a
    proof that does not hold.
    """
    from fedcoin_cli.application.books.forks import looks_like_a_fork
    from fedcoin_cli.application.workspace.address_names import Names
    from ledger_store.audit.inclusion import read_inclusion

    names, genesis = Names({}), checked_genesis(genesis)
    if genesis is None:
        workspace = _workspace(call)
        genesis, names = workspace.genesis().id, Names.of(workspace)
    data = _read(proof)
    if looks_like_a_fork(data):
        _verify_fork(call, data, str(proof), genesis, names)
        return
    inclusion = read_inclusion(data)
    inclusion.check(genesis)
    call.output.answer(_data(inclusion), _lines(inclusion, names))


def _workspace(call: Call) -> "Workspace":
    """The workspace that tells which network is meant."""
    from ledger_store.base.errors import NoWorkspace

    try:
        return call.workspace()
    except NoWorkspace as error:
        if call.folder is not None:
            raise
        hint = "--genesis ID names it: every member's fedcoin status --json tells the id; -C DIR names a workspace"
        message = "which network is meant? no workspace is here to tell its genesis id"
        raise NoWorkspace(message, where=error.where, hint=hint) from error


def _verify_fork(call: Call, data: bytes, where: str, genesis_id: str, names: "Names") -> None:
    from fedcoin_cli.application.books.forks import read_proof
    from fedcoin_cli.cli.views.fork_lines import fork_data, fork_lines
    from ledger_store.base.errors import LedgerInvalid

    network, fork = read_proof(data, where)
    if network.id != genesis_id:
        hint = "name the network that you mean: --genesis ID"
        raise LedgerInvalid("the proof is of another network", where=where, hint=hint)
    lines = [f"the network {network.network} has forked at height {fork.height}: two final blocks"]
    answer = {"ok": True, "genesis": network.id, "fork": fork_data(fork, network, names)}
    call.output.answer(answer, [*lines, *fork_lines(fork, network, names)])


def _read(path: Path) -> bytes:
    from ledger_store.audit.inclusion import PROOF_BYTES_MAX
    from ledger_store.base import disk
    from ledger_store.base.errors import NotFound

    if str(path) == "-":
        return sys.stdin.buffer.read(PROOF_BYTES_MAX + 1)
    try:
        with disk.open_file(path) as file:
            return file.read(PROOF_BYTES_MAX + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        hint = "fedcoin show --proof ID -o FILE writes one"
        raise NotFound("no such proof", where=str(path), hint=hint) from error


def _signers(inclusion: "Inclusion") -> list[str]:
    return [inclusion.genesis.roster[index] for index, _ in inclusion.certificate.signatures]


def _proven(inclusion: "Inclusion") -> str:
    signers, roster = len(inclusion.certificate.signatures), len(inclusion.genesis.roster)
    return (
        f"{signers} of the {roster} miners that this genesis names signed that block {inclusion.header.height}"
        " is final, and this transaction is in it"
    )


def _data(inclusion: "Inclusion") -> dict[str, object]:
    from ledger_store.base.amount import format_micro

    return {
        "ok": True,
        "genesis": inclusion.genesis.id,
        "network": inclusion.genesis.network,
        "height": inclusion.header.height,
        "block": inclusion.header.id,
        "time_ms": inclusion.header.time_ms,
        "certified_by": _signers(inclusion),
        "transaction": inclusion.transaction.to_json(),
        "payments": [
            {"purpose": one.purpose, "to": one.to, "amount": format_micro(one.micro)}
            for one in inclusion.payments()
        ],
        "proven": _proven(inclusion),
        "not_proven": list(NOT_PROVEN),
    }


def _lines(inclusion: "Inclusion", names: "Names") -> list[str]:
    from fedcoin_cli.cli.program.output import table
    from fedcoin_cli.cli.views.amounts import aligned
    from fedcoin_cli.cli.views.ledger_lines import date, summary
    from ledger_store.base.amount import format_micro

    payments = inclusion.payments()
    coins = aligned([format_micro(one.micro) for one in payments])
    rows = [
        (one.to, names.known(one.to) or "", one.purpose, amount)
        for one, amount in zip(payments, coins, strict=True)
    ]
    return [
        f"network      {inclusion.genesis.network}, genesis {inclusion.genesis.id}",
        f"block        {inclusion.header.height}, {inclusion.header.id}",
        f"time         {date(inclusion.header.time_ms)}",
        f"certified    {', '.join(map(names.name, _signers(inclusion)))}",
        f"transaction  {summary(inclusion.transaction, names)}",
        "",
        *([*table(["paid to", "", "as", "FedCoin"], rows), ""] if rows else []),
        f"proven: {_proven(inclusion)}",
        *(f"not proven: {text}" for text in NOT_PROVEN),
    ]
