"""Show one task, block or transaction.

What an id means is decided in `application.lookup`, how it reads in `cli.ledger_lines`.
"""

from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.options import Call

EXAMPLES = (
    ("fedcoin show 1", "a block"),
    ("fedcoin show $TASK", "a task with values and payments"),
    ("fedcoin show --proof $TASK -o proof.json", "the proof of its payments"),
)


def run(
    call: Call,
    which: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A height, or the beginning of a task's, block's or transaction's id."
        ),
    ],
    proof: Annotated[
        bool, typer.Option("--proof", help="Give the proof that it is final, for fedcoin verify.")
    ] = False,
    proof_file: Annotated[
        Path | None, typer.Option("-o", metavar="FILE", help="Write the proof to a file.")
    ] = None,
) -> None:
    """Show one task, block or transaction.

    A settled task shows values, payments and every miner's estimate. Four characters of an id are enough where
    no other id begins with them. --proof gives one line that anybody can check without a ledger: of a transfer, or
    of what a task came to, its payments with it.
    """
    from fedcoin_cli.application.books.lookup import FoundBlock, FoundTask, find
    from fedcoin_cli.application.workspace.names import Names
    from fedcoin_cli.cli.ledger_lines import block_lines, summary
    from fedcoin_cli.cli.opened_books import open_books, source
    from fedcoin_cli.cli.task_lines import task_lines

    if proof or proof_file is not None:
        _prove(call, which, proof_file)
        return
    names = Names.of(call.workspace())
    with open_books(call) as books:
        found = find(books, which)
        match found:
            case FoundTask(report):
                data, lines = report.to_json(), task_lines(report, names)
            case FoundBlock(block, signers):
                data = {"id": block.id, **block.to_json(), "certified_by": list(signers)}
                lines = block_lines(block, signers, names)
            case _:
                one = found.transaction
                data = {"id": one.id, "height": found.height, "transaction": one.to_json()}
                lines = [f"id      {one.id}", f"height  {found.height}", "", summary(one, names)]
        call.output.answer(data, [*lines, "", source(books)])


def _prove(call: Call, which: str, file: Path | None) -> None:
    from fedcoin_cli.application.books.proofs import proof_of
    from fedcoin_cli.cli.opened_books import open_books

    with open_books(call) as books:
        proof = proof_of(books, which)
    data = proof.to_bytes()
    if file is None:
        call.output.answer({"proof": proof.to_json()}, [data.decode().rstrip("\n")])
        return
    file.write_bytes(data)
    told = {"file": str(file), "bytes": len(data), "height": proof.header.height, "genesis": proof.genesis.id}
    check = f"fedcoin verify {file} --genesis {proof.genesis.id}"
    call.output.answer(told, [f"{len(data)} bytes in {file}", "", f"anybody can check it: {check}"])
