"""docs/errors.md: what the program says to every bad input of `bad_inputs`, as it says it.

`python tests/errors_page.py` writes the page (about half a second a case); `tests/cli/test_bad_input.py` compares each
case with its entry while it runs it anyway.
"""

import re
import shlex
import tempfile
from functools import cache
from itertools import groupby
from pathlib import Path

from bad_inputs import CASES, CLIENTS, IMAGES, Bad
from chains import ChainMaker
from generated import ROOT
from places import place
from rounds import make_round
from shell import fedcoin

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.errors import ExitCode

PAGE = ROOT / "docs" / "errors.md"
_HEAD = """# What can go wrong, and what the program says then

Made from the table in `tests/bad_inputs.py` by running every case; a test compares it. Each error says what happened,
where, and what to do. Folders are shown as `WORKSPACE`, what depends on the machine as N; keys and digests are those of
the tests.
"""


def network(root: Path, port: int = 1) -> Workspace:
    """Four miners, of whom none runs, with three blocks and one good round of three clients."""
    maker = ChainMaker(4)
    maker.add_transfers(3)
    workspace = place(root, maker, clients=CLIENTS, port=port)
    make_round(workspace, CLIENTS, IMAGES)
    return workspace


def entry(bad: Bad, said: str, root: Path) -> str:
    """A case as the page shows it: what was typed and what was said, without what differs from run to run."""
    text = said.replace(str(root.resolve()), "WORKSPACE")
    text = re.sub(r"(?<=127\.0\.0\.1:)\d+", "PORT", text)
    text = re.sub(r"(?<=about )[\d,]+(?= coalitions fit)", "N", text)
    # In the words of Typer's newest release, whatever is installed.
    text = re.sub(r"\S+ is not in the range x>=(\d+)\.", r"Input should be greater than or equal to \1", text)
    command = shlex.join(["fedcoin", *bad.command])
    return f"### {bad.case[0].upper()}{bad.case[1:]}\n\n```console\n$ {command}\n{text}```\n"


@cache
def page() -> str:
    """The page as it stands."""
    return PAGE.read_text("utf-8")


def written() -> str:
    """The page as it should stand: every case run, ordered by exit code."""
    parts = [_HEAD]
    for code, cases in groupby(sorted(CASES, key=lambda bad: bad.code), key=lambda bad: bad.code):
        meaning = ExitCode(code).meaning
        parts += [f"## Exit code {code}: {meaning}\n", *map(_run, cases)]
    return "\n".join(parts)


def _run(bad: Bad) -> str:
    with tempfile.TemporaryDirectory() as folder:
        workspace = network(Path(folder))
        bad.spoil(workspace)
        return entry(bad, fedcoin(*bad.command, folder=workspace.root).err, workspace.root)


if __name__ == "__main__":
    PAGE.write_text(written(), "utf-8")
