"""Miners as services of a Docker Swarm, one replica each: the engine places them and starts them again.

Keys are Swarm secrets, everything else that is read are Swarm configs. Ledger and store are folders of the workspace,
so a service may be placed only where the workspace is: on this node, unless another constraint is named.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from docker.types import (
    ConfigReference,
    EndpointSpec,
    Healthcheck,
    Mount,
    NetworkAttachmentConfig,
    Resources,
    RestartPolicy,
    SecretReference,
)

from fedcoin_cli.runtime.container_spec import HOME, PORT, ContainerSpec, MachineLimits, hand_over, user_of
from fedcoin_cli.runtime.docker_engine import MINER, EngineWorkspace, NotFound, connect, refusals, unless_gone
from fedcoin_cli.runtime.images import checked
from ledger_store.base.errors import MissingPart

_FRESH_S = 0.5
_LIVING = frozenset({"new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"})
# Between two lives a service may have no task for a moment.
_BETWEEN_S = 5.0
_SECOND_NS = 10**9
_GRACE_S = 10
# A swarm tells nobody a container's name before it was found healthy once, and first looks after this long. The image's
# own half minute would keep miners apart for as long after every start.
_LOOK_S = 5
# Who cannot start at all shall not be started for ever.
_RESTARTS, _WINDOW_S = 10, 120


def is_manager(engine: Any = None) -> bool:
    """Whether the engine (None: this machine's) may say what runs in a swarm."""
    with refusals("swarm"):
        return bool((engine or connect()).info()["Swarm"].get("ControlAvailable"))


class SwarmRuntime:
    """The miners of one workspace as services of `image`; see `Runtime`. `constraint` says on which nodes.

    Raises `MissingPart` where no engine answers, or one that manages no swarm.
    """

    # A swarm's managers take their time to order and to notice.
    patience_s = 20.0

    def __init__(
        self,
        place: EngineWorkspace,
        spec: Callable[[int], ContainerSpec],
        image: str,
        limits: MachineLimits,
        constraint: str = "",
    ) -> None:
        self._place, self._spec_of, self._image, self._limits = place, spec, image, limits
        self._engine = connect()
        if not is_manager(self._engine):
            hint = "docker swarm init makes a swarm of this machine alone"
            raise MissingPart("this Docker engine manages no swarm", where="docker info", hint=hint)
        self._constraint = constraint
        self._checked = False
        self._seen_s = 0.0
        self._tasks: dict[int, list[Mapping[str, Any]]] = {}
        self._wanted: set[int] = set()
        self._alive_s: dict[int, float] = {}

    def start(self, number: int) -> None:
        """See `Runtime`; raises `MissingPart` or `NetworkFailure`."""
        if not self._checked:
            checked(self._engine, self._image)
            self._checked = True
        with refusals(f"miner {number}"):
            network = self._network()
            self._remove(number)
            self._make(number, self._spec_of(number), network)
        self._seen_s, self._alive_s[number] = 0.0, time.monotonic()

    def retain(self, number: int) -> None:
        """See `Runtime`: a service is brought back from the start."""

    def alive(self, number: int) -> bool:
        """See `Runtime`: one that Swarm is about to start, or to start again, is alive."""
        now_s = time.monotonic()
        if any(task["Status"]["State"] in _LIVING for task in self._tasks_of(number)):
            self._alive_s[number] = now_s
            return True
        return number in self._wanted and now_s - self._alive_s.get(number, -_BETWEEN_S) < _BETWEEN_S

    def exit_code(self, number: int) -> int | None:
        """See `Runtime`."""
        tasks = sorted(self._tasks_of(number), key=lambda task: str(task["CreatedAt"]))
        code: int | None = tasks[-1]["Status"].get("ContainerStatus", {}).get("ExitCode") if tasks else None
        return code

    def terminate(self, number: int) -> None:
        """See `Runtime`: Swarm shall run none of it, which it then asks to end."""
        with refusals(f"miner {number}"), suppress(NotFound):
            self._engine.services.get(self._place.name(number)).scale(0)
        self._seen_s = 0.0

    def kill(self, number: int) -> None:
        """See `Runtime`; those on other machines have some seconds left."""
        self.terminate(number)
        service = {"label": f"com.docker.swarm.service.name={self._place.name(number)}"}
        with refusals(f"miner {number}"):
            for container in self._engine.containers.list(filters=service):
                with unless_gone():
                    container.kill()

    def last_words(self, number: int) -> str:
        """See `Runtime`."""
        return f"docker service logs {self._place.name(number)}"

    def prune(self) -> list[str]:
        """Remove this workspace's services, secrets, configs and networks; returns their names."""
        removed = []
        with refusals("prune"):
            for service in self._engine.services.list(filters=self._place.filters):
                service.remove()
                removed.append(f"service {service.name}")
            for kind in (self._engine.secrets, self._engine.configs):
                for one in kind.list(filters=self._place.filters):
                    one.remove()
            self._gone()
        self._seen_s = 0.0
        return removed

    def _gone(self) -> None:
        """Wait until no container of the removed services is left: the network is theirs until then."""
        of_services = {"label": [*self._place.filters["label"], "com.docker.swarm.service.name"]}
        until_s = time.monotonic() + 2 * _GRACE_S
        while self._engine.api.containers(all=True, filters=of_services) and time.monotonic() < until_s:
            time.sleep(_FRESH_S)

    def _tasks_of(self, number: int) -> list[Mapping[str, Any]]:
        now_s = time.monotonic()
        if now_s - self._seen_s >= _FRESH_S:
            with refusals("looking for miners"):
                services = self._engine.api.services(filters=self._place.filters)
                numbers = {one["ID"]: int(one["Spec"]["Labels"][MINER]) for one in services}
                found = self._engine.api.tasks(filters={"service": list(numbers)}) if numbers else []
            self._tasks = {number: [] for number in numbers.values()}
            self._wanted = {
                numbers[one["ID"]] for one in services if one["Spec"]["Mode"]["Replicated"]["Replicas"]
            }
            for task in found:
                self._tasks[numbers[task["ServiceID"]]].append(task)
            self._seen_s = now_s
        return self._tasks.get(number, [])

    def _network(self) -> str:
        """The workspace's own network in the swarm; made when there is none."""
        name = f"{self._place.stem}-swarm"
        if name not in [one.name for one in self._engine.networks.list(filters=self._place.filters)]:
            self._engine.networks.create(name, driver="overlay", attachable=True, labels=self._place.labels)
        return name

    def _remove(self, number: int) -> None:
        """What is left of an earlier life; secrets and configs can be replaced only when nobody uses them."""
        with suppress(NotFound):
            self._engine.services.get(self._place.name(number)).remove()
        mine = {"label": [*self._place.filters["label"], f"{MINER}={number}"]}
        for kind in (self._engine.secrets, self._engine.configs):
            for one in kind.list(filters=mine):
                one.remove()

    def _make(self, number: int, spec: ContainerSpec, network: str) -> None:
        user = user_of(self._place.root)
        for folder in spec.folders.values():
            hand_over(folder, user)
        mounts = [Mount(f"{HOME}/{at}", str(folder), type="bind") for at, folder in spec.folders.items()]
        mounts.append(Mount("/tmp", None, type="tmpfs", tmpfs_size=2**28))  # noqa: S108 - the container's own
        secrets, configs = self._files(number, spec, user)
        labels = self._place.labels | {MINER: str(number)}
        ports = [
            {"TargetPort": PORT + n, "PublishedPort": spec.port + n, "PublishMode": "host"} for n in (0, 1)
        ]
        self._engine.services.create(
            self._image,
            args=list(spec.command),
            name=self._place.name(number),
            hostname=f"miner-{number}",
            labels=labels,
            container_labels=labels,
            user=f"{user[0]}:{user[1]}",
            networks=[NetworkAttachmentConfig(network, aliases=[f"miner-{number}"])],
            endpoint_spec=EndpointSpec(mode="dnsrr", ports=ports),
            mounts=mounts,
            secrets=secrets,
            configs=configs,
            read_only=True,
            cap_drop=["ALL"],
            healthcheck=Healthcheck(interval=_LOOK_S * _SECOND_NS),
            stop_grace_period=_GRACE_S * _SECOND_NS,
            constraints=[self._constraint or f"node.id=={self._engine.info()['Swarm']['NodeID']}"],
            resources=Resources(
                cpu_limit=int(self._limits.cpus * _SECOND_NS), mem_limit=self._limits.memory_bytes
            ),
            restart_policy=RestartPolicy("any", _SECOND_NS, _RESTARTS, _WINDOW_S * _SECOND_NS),
        )

    def _files(
        self, number: int, spec: ContainerSpec, user: tuple[int, int]
    ) -> tuple[list[SecretReference], list[ConfigReference]]:
        secrets, configs = [], []
        labels = self._place.labels | {MINER: str(number)}
        for index, (at, data) in enumerate(spec.files.items()):
            name = f"{self._place.name(number)}-{index}"
            target = {"filename": f"{HOME}/{at}", "uid": str(user[0]), "gid": str(user[1])}
            if at in spec.secrets:
                made = self._engine.secrets.create(name=name, data=data, labels=labels)
                secrets.append(SecretReference(made.id, name, **target, mode=0o400))
            else:
                made = self._engine.configs.create(name=name, data=data, labels=labels)
                configs.append(ConfigReference(made.id, name, **target, mode=0o444))
        return secrets, configs
