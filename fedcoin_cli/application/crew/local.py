"""The crew of this host's miners as a person starts it: which runtime, how many threads, and who opens sealed keys."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fedcoin_cli.application.crew.crew import Crew, posts, share_of_cores
from fedcoin_cli.application.crew.ways import refuse_others
from fedcoin_cli.application.workspace.advice import start_hint
from fedcoin_cli.application.workspace.keyring import sealed_keys
from fedcoin_cli.application.workspace.settings import Settings
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.runtime.base import Via
from fedcoin_cli.runtime.process import ProcessRuntime
from ledger_store.base.errors import NotFound

_POLL_S = 0.1


def local_numbers(workspace: Workspace) -> list[int]:
    """The numbers of the local miners; raises `NotFound` where there are none."""
    numbers = [miner.number for miner in workspace.miners]
    if not numbers:
        raise NotFound("this workspace has no miners", where=str(workspace.root), hint=start_hint(workspace))
    return numbers


def crew_of(
    workspace: Workspace,
    settings: Settings,
    numbers: Sequence[int],
    via: Via = Via.process,
    assignments: Sequence[str] = (),
    gpus: str = "",
) -> Crew:
    """The local miners of these numbers, not started; `assignments` are settings as SECTION.KEY=VALUE.

    Raises `Locked` when one of them runs another way, `KeyFailure` where a sealed key does not open.
    """
    refuse_others(workspace, settings, numbers, via)
    threads = settings.mining.threads or share_of_cores(len(numbers))
    secret = _secret(workspace, numbers)
    if via is Via.process:
        return Crew(workspace, numbers, _processes(workspace, threads, assignments, secret))
    from fedcoin_cli.application.crew.containers import Contained

    contained = Contained(workspace, settings, threads, secret, gpus)
    return Crew(workspace, numbers, contained.runtime(via))


@contextmanager
def mining(crew: Crew) -> Iterator[Crew]:
    """The crew runs while the block does, all of it from the start on; raises what keeps one from starting."""
    try:
        crew.start()
        while not crew.ready:
            for news in crew.news():
                error = crew.why_it_cannot_start(news)
                if error is not None:
                    raise error
            time.sleep(_POLL_S)
        yield crew
    finally:
        crew.stop()


def _processes(
    workspace: Workspace, threads: int, assignments: Sequence[str], secret: bytes
) -> ProcessRuntime:
    arguments = [word for assignment in assignments for word in ("--set", assignment)]
    arguments += ["--threads", str(threads)]
    if secret:
        arguments += ["--passphrase-file", "-"]
    return ProcessRuntime(workspace.root, posts(workspace), arguments, secret, kept=True)


def _secret(workspace: Workspace, numbers: Sequence[int]) -> bytes:
    """The line that opens the miners' sealed keys, tried on each; empty when none is sealed."""
    sealed = sealed_keys(workspace, [workspace.miner(number).name for number in numbers])
    if not sealed or workspace.ask is None:
        return b""
    passphrase = workspace.ask()
    for name in sealed:
        workspace.key(name)
    return passphrase.words + b"\n"
