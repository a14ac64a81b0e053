"""Hosts of their own on one machine: a network namespace each, all on one switch, where every host knows every name.

The machine's own network is left as it is, since the switch is in a namespace, too. It takes root and `ip`.
"""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

_SWITCH, _PORT = "switch", "cable"
# Each command has a mount namespace of its own, in which the names are known.
_KNOWING = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'


@dataclass(frozen=True, slots=True)
class Hosts:
    """Hosts by their short names; ben is ben.example to all of them."""

    mark: str
    known: Path

    def inside(self, name: str) -> tuple[str, ...]:
        """The words before a command that is to run on a host."""
        return ("ip", "netns", "exec", f"{self.mark}-{name}", "sh", "-ec", _KNOWING, "-", str(self.known))

    def unplug(self, name: str) -> None:
        """Pull a host's cable out: nothing is refused, nothing arrives."""
        _ip("-n", f"{self.mark}-{_SWITCH}", "link", "set", name, "down")

    def plug(self, name: str) -> None:
        """Put it back."""
        _ip("-n", f"{self.mark}-{_SWITCH}", "link", "set", name, "up")


@contextmanager
def hosts(root: Path, *names: str) -> Iterator[Hosts]:
    """So many hosts; whatever runs on them must have ended with the block. Skips where there can be none."""
    made = Hosts(f"fc{uuid4().hex[:8]}", root / "hosts")
    addresses = {name: f"10.20.30.{number}" for number, name in enumerate(names, 1)}
    lines = [
        "127.0.0.1 localhost",
        *(f"{address} {name}.example" for name, address in addresses.items()),
    ]
    made.known.write_text("\n".join(lines) + "\n")
    with ExitStack() as stack:
        for name in (_SWITCH, *names):
            try:
                _ip("netns", "add", f"{made.mark}-{name}")
            except (OSError, subprocess.CalledProcessError):
                pytest.skip("hosts of their own: no network namespaces here (they take root and iproute2)")
            stack.callback(_ip, "netns", "delete", f"{made.mark}-{name}")
        switch = ("-n", f"{made.mark}-{_SWITCH}")
        _ip(*switch, "link", "add", _SWITCH, "type", "bridge")
        _ip(*switch, "link", "set", _SWITCH, "up")
        for name, address in addresses.items():
            host = f"{made.mark}-{name}"
            _ip(*switch, "link", "add", name, "type", "veth", "peer", "name", _PORT, "netns", host)
            _ip(*switch, "link", "set", name, "master", _SWITCH, "up")
            _ip("-n", host, "address", "add", f"{address}/24", "dev", _PORT)
            for device in ("lo", _PORT):
                _ip("-n", host, "link", "set", device, "up")
        yield made


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
