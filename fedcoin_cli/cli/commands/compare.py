"""Compare two ledgers: where they differ, and whose fault it is.

Reading and deciding are `application.books.comparison`'s.
"""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.cli.program.options import Call
from fedcoin_cli.cli.program.output import counted
from fedcoin_cli.cli.views.fork_lines import fork_data, fork_lines
from ledger_store.base.errors import LedgerInvalid, NoWorkspace

if TYPE_CHECKING:
    from fedcoin_cli.application.books.comparison import Comparison, Side


EXAMPLES = (("fedcoin compare miners/1 miners/2", "two miners' ledgers of this workspace"),)


def run(
    call: Call,
    one: Annotated[Path, typer.Argument(metavar="A", help="A workspace, a miner's folder or a ledger.")],
    other: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the proof of a fork here.")
    ] = None,
) -> None:
    """Compare two ledgers: where they differ, and whose fault it is.

    Equal ledgers, and one that is the beginning of the other, are exit code 0. Where both hold a final block of
    one height and the blocks differ, the ledgers have forked: exit code 5. Miners are then named only with two
    signatures of theirs that no honest miner gives both of, taken from the certificates and from the evidence
    files beside the ledgers. The proof that -o writes convinces whoever has it, without any ledger.
    """
    from fedcoin_cli.application.books.comparison import compare
    from fedcoin_cli.application.books.forks import write_proof

    found = compare(one, other)
    names = _names(call, one, other)
    call.output.answer(_data(found, names), _lines(found, names))
    if found.fork is not None:
        for error in found.fork.ignored:
            call.output.warn(f"{error.message} ({error.where}); judged without it")
        if output is not None:
            write_proof(output, found.sides[0].genesis, found.fork)
            call.output.note(f"the proof is in {output}")
    _refuse(found)


def _refuse(found: "Comparison") -> None:
    """A fork, and blocks that differ without being final, are not success."""
    where = " and ".join(str(side.path) for side in found.sides)
    if found.relation == "fork":
        hint = "keep both ledgers and the evidence; more than f miners have lied, so no rule can heal this"
        raise LedgerInvalid(f"the ledgers fork at height {found.common + 1}", where=where, hint=hint)
    if found.relation == "differ":
        message = f"the blocks of height {found.common + 1} differ, and not both are certified"
        lacking = " and ".join(str(path) for path in found.uncertified)
        raise LedgerInvalid(message, where=lacking, hint="put the miner's tip.json beside this ledger")


def _data(found: "Comparison", names: Names) -> dict[str, object]:
    fork = found.fork
    return {
        "relation": found.relation,
        "common": found.common,
        "head": found.sides[0].ids[found.common],
        "ledgers": [
            {"ledger": str(side.path), "height": side.height, "trailing_bytes": side.trailing_bytes}
            for side in found.sides
        ],
        "uncertified": [str(path) for path in found.uncertified],
        "fork": None if fork is None else fork_data(fork, found.sides[0].genesis, names),
    }


def _lines(found: "Comparison", names: Names) -> list[str]:
    short, long = sorted(found.sides, key=lambda side: side.height)
    head = found.sides[0].ids[found.common]
    lines = [f"{side.path}  height {side.height}" for side in found.sides]
    lines += [f"the last block in common is {head} at height {found.common}", ""]
    match found.relation:
        case "equal":
            lines.append(f"the ledgers are equal, to height {found.common}")
        case "prefix":
            more = counted(long.height - short.height, "block")
            lines.append(f"{short.path} is the beginning of {long.path}, which goes on for {more}")
        case "differ":
            lines.append(
                f"the blocks of height {found.common + 1} differ, but a certificate is missing: no fork is proven"
            )
        case _:
            lines.append(f"the ledgers fork at height {found.common + 1}: two final blocks")
    if found.fork is not None:
        lines += fork_lines(found.fork, found.sides[0].genesis, names)
    lines += [f"not certified here: the last block of {path}" for path in found.uncertified]
    return [*lines, *(_trailing(side) for side in found.sides if side.trailing_bytes)]


def _trailing(side: "Side") -> str:
    verb = "is" if side.trailing_bytes == 1 else "are"
    return (
        f"{side.path}: {counted(side.trailing_bytes, 'byte')} behind height {side.height} {verb} not a block"
    )


def _names(call: Call, *places: Path) -> Names:
    """What the workspace here, or one around what is compared, calls the miners."""
    around = (folder for place in places for folder in (place, *place.resolve().parents[:3]))
    with contextlib.suppress(NoWorkspace):
        return Names.of(call.workspace())
    for folder in around:
        with contextlib.suppress(NoWorkspace):
            return Names.of(Workspace.find(folder))
    return Names({})
