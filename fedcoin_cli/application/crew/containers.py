"""Miners of a workspace in containers: the part of the workspace that each gets, and the runtimes that they run in.

In a container a miner listens on all addresses of its own, its companions are called `miner-N`, and the settings in
force were written down for it. Towards the outside nothing changes: `peers.toml` holds for everybody on this host.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedcoin_cli.application.workspace.configuration import render
from fedcoin_cli.application.workspace.peers import Peer, read_peers, render_peers
from fedcoin_cli.application.workspace.settings import RULES, Settings
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.runtime.base import PrunableRuntime, Via
from fedcoin_cli.runtime.container_spec import HOME, PORT, ContainerSpec, MachineLimits
from ledger_store.base.disk import refusals
from ledger_store.base.errors import SettingsError
from ledger_store.base.names import Address

if TYPE_CHECKING:
    from fedcoin_cli.runtime.images import Told

_OWN = "0.0.0.0"  # noqa: S104 - a container's own address
_PASSPHRASE = "passphrase"  # noqa: S105 - the name of a file


@dataclass(frozen=True, slots=True)
class Contained:
    """How a workspace's miners shall run in containers; `secret` is the line that opens sealed keys."""

    workspace: Workspace
    settings: Settings
    threads: int
    secret: bytes = b""
    gpus: str = ""

    def runtime(self, via: Via) -> PrunableRuntime:
        """Miners in containers of that engine; the workspace remembers which it had last.

        Raises `MissingPart` where there is no engine.
        """
        runtime = self.seen(via)
        with refusals(self.workspace.contained):
            self.workspace.contained.write_text(f"{via}\n", "ascii")
        return runtime

    def seen(self, via: Via) -> PrunableRuntime:
        """The same to look at and to end; nothing is remembered."""
        from fedcoin_cli.runtime.docker import DockerRuntime
        from fedcoin_cli.runtime.docker_engine import EngineWorkspace
        from fedcoin_cli.runtime.swarm import SwarmRuntime

        place, wanted = EngineWorkspace(self.workspace.root), self.settings.containers
        if via is Via.swarm:
            return SwarmRuntime(place, self.spec, wanted.image, self._limits, wanted.constraint)
        return DockerRuntime(place, self.spec, wanted.image, self._limits)

    def spec(self, number: int) -> ContainerSpec:
        """What miner `number` gets; raises `SettingsError` when the peers file does not know it."""
        workspace, folder = self.workspace, self.workspace.miner(number)
        own = self._peer(workspace.address(folder.name))
        key = workspace.key_file(folder.name)
        files = {
            workspace.genesis_file.name: workspace.genesis_file.read_bytes(),
            workspace.settings_file.name: self._settings_inside().encode(),
            workspace.peers_file.name: self._peers_inside().encode(),
            f"{workspace.keys.name}/{key.name}": key.read_bytes(),
        }
        command = ["node", str(number), "-vv", "--json"]
        if self.secret:
            files[_PASSPHRASE] = self.secret
            command += ["--passphrase-file", f"{HOME}/{_PASSPHRASE}"]
        metrics = self.settings.metrics
        places = (folder.path, workspace.store)
        return ContainerSpec(
            command=command,
            files=files,
            secrets=frozenset({f"{workspace.keys.name}/{key.name}", _PASSPHRASE}),
            folders={str(path.relative_to(workspace.root)): path for path in places},
            host=self.settings.network.bind,
            port=own.port,
            metrics=(metrics.bind, metrics.port + number - 1) if metrics.port else None,
        )

    def _peers_inside(self) -> str:
        """The peers as a container sees them: those of this workspace by their names on the private network."""
        local = {self.workspace.address(one.name): one.number for one in self.workspace.miners}
        return render_peers(
            replace(peer, host=f"miner-{local[peer.address]}", port=PORT) if peer.address in local else peer
            for peer in read_peers(self.workspace.peers_file)
        )

    def _settings_inside(self) -> str:
        values = {key: self.settings.value(key) for key in RULES}
        values |= {"network.bind": _OWN, "metrics.bind": _OWN, "mining.threads": self.threads}
        return render(values, defaults=True)

    def _peer(self, address: Address) -> Peer:
        where = self.workspace.peers_file
        for peer in read_peers(where):
            if peer.address == address and peer.host:
                return peer
        hint = "add its address, host and port"
        raise SettingsError(
            "a miner of this workspace has no entry among the peers", where=str(where), hint=hint
        )

    @property
    def _limits(self) -> MachineLimits:
        wanted = self.settings.containers
        cores = len(os.sched_getaffinity(0))
        return MachineLimits(
            cpus=min(cores, float(wanted.cpus) or self.threads + 1.0),
            memory_bytes=wanted.memory * 2**20,
            gpus=self.gpus,
        )


def stages(workspace: Workspace, settings: Settings) -> dict[Via, PrunableRuntime]:
    """Where containers of this workspace may be, the swarm first; nowhere when it never had any."""
    if not workspace.contained.exists():
        return {}
    from fedcoin_cli.runtime.swarm import is_manager

    contained = Contained(workspace, settings, threads=1)
    kinds = (Via.swarm, Via.docker) if is_manager() else (Via.docker,)
    return {kind: contained.seen(kind) for kind in kinds}


def prune(workspace: Workspace, stages: Iterable[PrunableRuntime]) -> list[str]:
    """Remove what a workspace's containers have left, and this project's images without a name; what it was.

    The miners must have ended.
    """
    from fedcoin_cli.runtime import images

    removed = [name for stage in stages for name in stage.prune()]
    workspace.contained.unlink(missing_ok=True)
    return [*removed, *images.prune()]


def build(settings: Settings, told: "Told") -> list[str]:
    """Build the images that are not there or are of other code; returns their names."""
    from fedcoin_cli.runtime import images

    return images.build(settings.containers.base, told)
