"""A fork and its culprits, as lines for people and as JSON; shared by the commands that find one and that check one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.cli.program.output import counted

if TYPE_CHECKING:
    from fedcoin_cli.application.books.forks import Fork
    from ledger_store.genesis import Genesis

_MORE = (
    "the other miners' folders hold more evidence: copy their evidence/*.jsonl beside one of these ledgers"
)


def fork_data(fork: "Fork", genesis: "Genesis", names: Names) -> dict[str, object]:
    """A fork for --json."""
    return {
        "height": fork.height,
        "blocks": [final.block for final in fork.finals],
        "views": [final.certificate.view for final in fork.finals],
        "least": fork.least,
        "complete": fork.complete,
        "culprits": [
            {
                "miner": genesis.roster[guilt.index],
                "name": names.known(genesis.roster[guilt.index]),
                "charge": guilt.charge,
                "votes": [[vote.kind, vote.to_json()] for vote in guilt.votes],
            }
            for guilt in fork.culprits
        ],
    }


def fork_lines(fork: "Fork", genesis: "Genesis", names: Names) -> Iterator[str]:
    """A fork in sentences."""
    for final in fork.finals:
        signers = ", ".join(names.name(genesis.roster[index]) for index, _ in final.certificate.signatures)
        yield f"block {final.block} is final by view {final.certificate.view}, signed by {signers}"
    yield ""
    for guilt in fork.culprits:
        yield f"{names.name(genesis.roster[guilt.index])} lied: it signed {guilt.charge}"
    missing = fork.least - len(fork.culprits)
    if missing > 0:
        proven = "" if not fork.culprits else f"{counted(missing, 'culprit')} of at least {fork.least} "
        yield f"{proven or 'the culprits '}cannot be determined from what is here, at least {fork.least} miners lied:"
        yield "what was said in the views between the two certificates is in neither side's evidence"
        yield _MORE
