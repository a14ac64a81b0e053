"""`fedcoin node` that also writes down what it hears: `python tests/recording.py FILE node N …`.

A line of the file is milliseconds of the monotonic clock, sender and frame, separated by blanks; each is written at
once, so a kill loses none that the miner acted on. Only what miners say for the agreement is kept.
"""

import os
import sys
import time

from fedcoin_cli.application.node.node import Node
from fedcoin_cli.cli.main import main
from ledger_store.base.names import Address

KEPT = (b"proposal", b"notar", b"skip", b"final", b"certified", b"commit", b"reveal", b"recalled")


def record(path: str) -> None:
    """From now on every frame of these kinds that a node takes is a line of the file."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    take = Node._take

    def recording(node: Node, sender: Address, frame: bytes) -> None:
        if any(b'"type":"%s"' % kind in frame for kind in KEPT):
            os.write(handle, b"%d %s %s\n" % (time.monotonic_ns() // 10**6, sender.encode(), frame))
        take(node, sender, frame)

    Node._take = recording  # type: ignore[method-assign, assignment]  # this program is for listening in


if __name__ == "__main__":
    _, file, *arguments = sys.argv
    record(file)
    sys.argv = ["fedcoin", *arguments]
    sys.exit(main())
