"""Make the proxy file of an existing round.

What a proxy is stands in `learning.mining.proxy`.
"""

from pathlib import Path
from typing import Annotated

import typer

from fedcoin_cli.cli.options import Call

EXAMPLES = (("fedcoin proxy rounds/1", "for a round that lacks it"),)


def run(
    call: Call, round_dir: Annotated[Path, typer.Argument(metavar="ROUND_DIR", help="The round's folder.")]
) -> None:
    """Make the proxy file of an existing round.

    It holds integer logits of each client's own model on the test images, and its digest goes into the task. Miners
    use it as a control variate; it is never part of a value.
    """
    from fedcoin_cli.application.rounds.making import add_proxy

    document = add_proxy(round_dir)
    call.output.answer({"round": str(round_dir), "proxy": document["proxy"]}, [f"proxy  {document['proxy']}"])
