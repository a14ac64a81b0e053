"""Miners as containers of this machine's Docker engine, on a private network of their workspace.

A container gets its files (its own key and no other) in a volume that it may only read, and writes its ledger and
the store straight into the workspace, so that everything that reads a workspace works as for processes.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from docker.types import DeviceRequest, EndpointConfig, Mount

from fedcoin_cli.runtime.container_spec import (
    HOME,
    PORT,
    ContainerSpec,
    MachineLimits,
    hand_over,
    packed,
    user_of,
)
from fedcoin_cli.runtime.docker_engine import MINER, EngineWorkspace, NotFound, connect, refusals, unless_gone
from fedcoin_cli.runtime.images import checked

_FRESH_S = 0.2
_ENDED = frozenset({"exited", "dead", "created"})
_SIGNALLED = 128
_RESTARTS = 5


class DockerRuntime:
    """The miners of one workspace in containers of `image`; see `Runtime`."""

    patience_s = 10.0

    def __init__(
        self, place: EngineWorkspace, spec: Callable[[int], ContainerSpec], image: str, limits: MachineLimits
    ) -> None:
        self._place, self._spec_of, self._image, self._limits = place, spec, image, limits
        self._engine = connect()
        self._checked = False
        self._seen_s = 0.0
        self._states: dict[int, str] = {}

    def start(self, number: int) -> None:
        """See `Runtime`; raises `MissingPart`, `NetworkFailure` or `StorageFailure`."""
        with refusals(f"miner {number}"):
            if not self._checked:
                checked(self._engine, self._image)
                self._checked = True
            network = self._network()
            self._remove(number)
            container = self._make(number, self._spec_of(number), network)
            try:
                container.start()
            except BaseException:
                container.remove(force=True)
                raise
            finally:
                self._seen_s = 0.0

    def retain(self, number: int) -> None:
        """See `Runtime`: until `fedcoin stop`, over restarts of the engine and the machine."""
        with refusals(f"miner {number}"), unless_gone():
            container = self._engine.containers.get(self._place.name(number))
            container.update(restart_policy={"Name": "unless-stopped"})

    def alive(self, number: int) -> bool:
        """See `Runtime`: one that is paused is alive."""
        return self._state(number) not in _ENDED

    def exit_code(self, number: int) -> int | None:
        """See `Runtime`."""
        with refusals(f"miner {number}"), suppress(NotFound):
            state = self._engine.containers.get(self._place.name(number)).attrs["State"]
            if state["Status"] == "exited":
                code: int = state["ExitCode"]
                return code if code <= _SIGNALLED else _SIGNALLED - code
        return None

    def terminate(self, number: int) -> None:
        """See `Runtime`."""
        self._signal(number, "SIGTERM")

    def kill(self, number: int) -> None:
        """See `Runtime`."""
        self._signal(number, "SIGKILL")

    def last_words(self, number: int) -> str:
        """See `Runtime`."""
        return f"docker logs {self._place.name(number)}"

    def prune(self) -> list[str]:
        """Remove this workspace's ended containers, its networks and volumes; returns their names."""
        removed = []
        with refusals("prune"):
            for container in self._engine.containers.list(all=True, filters=self._place.filters):
                container.remove(force=True)
                removed.append(f"container {container.name}")
            for volume in self._engine.volumes.list(filters=self._place.filters):
                volume.remove()
                removed.append(f"volume {volume.name}")
            for network in self._engine.networks.list(filters=self._place.filters):
                _empty(self._engine.networks.get(network.id))
                network.remove()
                removed.append(f"network {network.name}")
        self._seen_s = 0.0
        return removed

    def _state(self, number: int) -> str:
        """All containers are asked for at once, and not more often than anybody can see."""
        now_s = time.monotonic()
        if now_s - self._seen_s >= _FRESH_S:
            with refusals("looking for miners"):
                found = self._engine.api.containers(all=True, filters=self._place.filters)
            self._states = {
                int(one["Labels"][MINER]): one["State"] for one in found if MINER in one["Labels"]
            }
            self._seen_s = now_s
        return self._states.get(number, "exited")

    def _signal(self, number: int, name: str) -> None:
        self._seen_s = 0.0
        if not self.alive(number):
            return
        with refusals(f"miner {number}"), unless_gone():
            container = self._engine.containers.get(self._place.name(number))
            if container.status == "paused":
                container.unpause()
            if container.status == "restarting":  # no process now, but the engine will make it one
                container.stop(timeout=0)
            elif container.status not in _ENDED:
                container.kill(name)
        self._seen_s = 0.0

    def _network(self) -> str:
        """The workspace's own network; made when there is none."""
        name = self._place.stem
        if name not in [one.name for one in self._engine.networks.list(filters=self._place.filters)]:
            self._engine.networks.create(name, driver="bridge", labels=self._place.labels)
        return name

    def _remove(self, number: int) -> None:
        """What is left of an earlier life."""
        name = self._place.name(number)
        with suppress(NotFound):
            self._engine.containers.get(name).remove(force=True)
        with suppress(NotFound):
            self._engine.volumes.get(name).remove()

    def _make(self, number: int, spec: ContainerSpec, network: str) -> Any:
        user = user_of(self._place.root)
        for folder in spec.folders.values():
            hand_over(folder, user)
        name, labels = self._place.name(number), self._place.labels | {MINER: str(number)}
        self._engine.volumes.create(name, labels=self._place.labels)
        self._fill(name, packed(spec, user))
        mounts = [Mount(HOME, name, type="volume", read_only=True, no_copy=True)]
        mounts += [Mount(f"{HOME}/{at}", str(folder), type="bind") for at, folder in spec.folders.items()]
        endpoint = EndpointConfig(self._engine.api._version, aliases=[f"miner-{number}"])  # noqa: SLF001 - as the SDK's own helper does
        return self._engine.containers.create(
            self._image,
            list(spec.command),
            name=name,
            hostname=f"miner-{number}",
            labels=labels,
            user=f"{user[0]}:{user[1]}",
            network=network,
            networking_config={network: endpoint},
            ports=_published(spec),
            mounts=mounts,
            read_only=True,
            tmpfs={"/tmp": "size=256m"},  # noqa: S108 - the container's own
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            nano_cpus=int(self._limits.cpus * 1e9),
            mem_limit=self._limits.memory_bytes,
            pids_limit=self._limits.processes,
            # The engine pauses longer each time. It cannot tell a fall from a refusal to start, so it gives up, until
            # the miner has been up once: see `retain`.
            restart_policy={"Name": "on-failure", "MaximumRetryCount": _RESTARTS},
            device_requests=list(_gpus(self._limits.gpus)),
        )

    def _fill(self, volume: str, archive: bytes) -> None:
        """Put files into a volume through a container that never starts."""
        mount = Mount(HOME, volume, type="volume")
        with self._porter(mount) as porter:
            porter.put_archive(HOME, archive)

    @contextmanager
    def _porter(self, mount: Mount) -> Iterator[Any]:
        porter = self._engine.containers.create(self._image, mounts=[mount], labels=self._place.labels)
        try:
            yield porter
        finally:
            porter.remove()


def _published(spec: ContainerSpec) -> dict[str, tuple[str, int]]:
    """Where this machine answers for the container's ports."""
    ports = {f"{PORT + n}/tcp": (spec.host, spec.port + n) for n in (0, 1)}
    if spec.metrics is not None:
        ports[f"{spec.metrics[1]}/tcp"] = spec.metrics
    return ports


def _gpus(wanted: str) -> Iterable[DeviceRequest]:
    if wanted:
        count = -1 if wanted == "all" else int(wanted)
        yield DeviceRequest(count=count, capabilities=[["gpu"]])


def _empty(network: Any) -> None:
    """Let go of containers of others that joined this network: a requester's, for example."""
    for container in network.containers:
        network.disconnect(container, force=True)
