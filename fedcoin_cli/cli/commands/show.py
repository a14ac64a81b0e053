"""Show one task, block or transaction.

What an id means is decided in `application.books.lookup`, how it reads in `cli.views.ledger_lines`.
"""

from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.views.opened_books import File, open_books

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
    file: File = None,
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
    from fedcoin_cli.cli.views.ledger_lines import block_lines, identified, summary
    from fedcoin_cli.cli.views.naming import legend, told

    if proof or proof_file is not None:
        _prove(call, which, file, proof_file)
        return
    with open_books(call, file) as opened:
        books, names = opened.books, opened.names
        found = find(books, which)
        match found:
            case FoundTask(report):
                from fedcoin_cli.cli.views.task_lines import task_lines

                data, lines = told(report.to_json(), names), task_lines(report, names)
            case FoundBlock(block, signers):
                raw = {
                    "id": block.id,
                    **block.to_json(),
                    "transactions": list(map(identified, block.transactions)),
                }
                data = raw | {"certified_by": list(signers)}
                data |= {"names": legend(data, names)}
                lines = block_lines(block, signers, names)
            case _:
                one = found.transaction
                data = {"id": one.id, "height": found.height, "transaction": one.to_json()}
                data |= {"names": legend(data, names)}
                lines = [f"id      {one.id}", f"height  {found.height}", "", summary(one, names)]
        call.output.answer(data, [*lines, "", opened.source])


def _prove(call: Call, which: str, ledger: Path | None, file: Path | None) -> None:
    from fedcoin_cli.application.books.proofs import proof_of

    with open_books(call, ledger) as opened:
        proof = proof_of(opened.books, which)
    data = proof.to_bytes()
    if file is None:
        call.output.answer({"proof": proof.to_json()}, [data.decode().rstrip("\n")])
        return
    file.write_bytes(data)
    told = {"file": str(file), "bytes": len(data), "height": proof.header.height, "genesis": proof.genesis.id}
    check = f"fedcoin verify {file} --genesis {proof.genesis.id}"
    call.output.answer(told, [f"{len(data)} bytes in {file}", "", f"anybody can check it: {check}"])
