"""systemd units for the miners of a workspace, as text: a template with an instance a miner, and a target for all.

A unit gets what a miner needs and no more: its own key, its own ledger, the store. Nothing is installed here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedcoin_cli.application.workspace.workspace import Workspace
from ledger_store.base.errors import ExitCode, NotFound, SettingsError

_SAFE = re.compile(r"[^\x00-\x1f\x7f\"'\\$]+")
# Whoever must mend something is not helped by a new start every few seconds; all else is tried again for ever.
_STAYS_DOWN = (
    ExitCode.USAGE,
    ExitCode.SETTINGS,
    ExitCode.NO_WORKSPACE,
    ExitCode.LEDGER,
    ExitCode.MISSING,
    ExitCode.KEY,
    ExitCode.NOT_FOUND,
)
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 -- nothing is made there
# ZeroMQ asks the kernel for its interfaces over AF_NETLINK, and aborts when it may not.
_HARDENING = """
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
LimitCORE=0
"""


@dataclass(frozen=True, slots=True)
class Service:
    """How miners shall run under systemd.

    `program` are the words that start fedcoin, `arguments` what is added to each miner's command line. `user` and
    `group` run it, None in a user's own systemd. `passphrase` is the file that opens sealed keys. `devices`: GPUs are
    wanted, so devices are not hidden.
    """

    workspace: Workspace
    name: str
    program: Sequence[str]
    arguments: Sequence[str] = ()
    user: tuple[str, str] | None = None
    passphrase: Path | None = None
    devices: bool = False

    def files(self) -> dict[str, str]:
        """The units' text by file name; raises `NotFound` without a local miner, `SettingsError` for odd paths."""
        workspace = self.workspace
        numbers = [miner.number for miner in workspace.miners]
        if not numbers:
            raise NotFound("this workspace has no miners", where=str(workspace.root))
        if not _SAFE.fullmatch(str(workspace.root)):
            hint = "move the workspace to a folder without quotes, $ and backslashes in its path"
            raise SettingsError("systemd cannot name this folder", where=str(workspace.root), hint=hint)
        return {f"{self.name}@.service": self._template(), f"{self.target}": self._target(numbers)}

    @property
    def target(self) -> str:
        """The unit that stands for all miners."""
        return f"{self.name}.target"

    def _target(self, numbers: Sequence[int]) -> str:
        wanted = " ".join(f"{self.name}@{number}.service" for number in numbers)
        return (
            f"[Unit]\nDescription=FedCoin miners of {_plain(self.workspace.root)}\n"
            f"Documentation=man:fedcoin-service(1)\nWants={wanted}\n\n"
            f"[Install]\nWantedBy={'multi-user' if self.user else 'default'}.target\n"
        )

    def _template(self) -> str:
        root = self.workspace.root
        online = (
            "Wants=network-online.target\nAfter=network-online.target time-sync.target\n" if self.user else ""
        )
        identity = f"User={self.user[0]}\nGroup={self.user[1]}\n" if self.user else ""
        secret = f"LoadCredential=passphrase:{_path(self.passphrase)}\n" if self.passphrase else ""
        cache = f"CacheDirectory={self.name}\nEnvironment=XDG_CACHE_HOME=%C/{self.name}\n"
        devices = "" if self.devices else "PrivateDevices=yes\n"
        # A workspace or a program that lies there would be hidden, too.
        needed = (root, Path(self.program[0]), Path(__file__))
        hidden = any(path.is_relative_to(folder) for path in needed for folder in _TEMPORARY)
        tmp = f"Environment=TMPDIR=%C/{self.name}\n" if hidden else "PrivateTmp=yes\n"
        stays_down = " ".join(str(int(code)) for code in _STAYS_DOWN)
        return (
            f"[Unit]\nDescription=FedCoin miner %i of {_plain(root)}\nDocumentation=man:fedcoin-node(1)\n"
            f"PartOf={self.target}\n{online}StartLimitIntervalSec=0\n\n"
            f"[Service]\nType=exec\nExecStart={self._command()}\nWorkingDirectory={_plain(root)}\n{identity}"
            f"{secret}{cache}SyslogIdentifier={self.name}-%i\n"
            f"Restart=on-failure\nRestartSec=5\nRestartPreventExitStatus={stays_down}\n"
            "KillMode=mixed\nTimeoutStopSec=30\n\n"
            "# Its own ledger and the store may be written; of the keys only its own is there.\n"
            f'ReadWritePaths="{_path(root)}/miners/%i" "{_path(root)}/store"\n'
            f'TemporaryFileSystem="{_path(root, colons=True)}/keys:ro"\n'
            f'BindReadOnlyPaths="{_path(root, colons=True)}/keys/miner-%i.key"\n'
            f"{devices}{tmp}{_HARDENING.lstrip()}"
        )

    def _command(self) -> str:
        words = [
            *map(_word, self.program),
            "node",
            "%i",
            "-q",
            "--json",
            "-C",
            _word(str(self.workspace.root)),
        ]
        words += map(_word, self.arguments)
        return " ".join([*words, "--passphrase-file", "%d/passphrase"] if self.passphrase else words)


def service_name(root: Path) -> str:
    """What the units of the workspace in this folder are called unless somebody says otherwise."""
    return "fedcoin-" + (re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")[:32] or "miners")


def _plain(path: Path) -> str:
    """A path where systemd reads the rest of the line."""
    return str(path).replace("%", "%%")


def _path(path: Path, *, colons: bool = False) -> str:
    """A path within a list of them; `colons` part it from options there."""
    text = _plain(path)
    return text.replace(":", "\\:") if colons else text


def _word(text: str) -> str:
    """A word of a command line."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if re.fullmatch(r"[-\w./=:,%@+]+", escaped) else f'"{escaped}"'
