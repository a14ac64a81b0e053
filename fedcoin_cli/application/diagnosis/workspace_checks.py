"""The workspace: settings, keys' permissions, ports, ledgers, clock and disk. Each check returns one `CheckFinding`."""

import errno
import os
import shutil
import socket
import statistics
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from fedcoin_cli.application.books.books import Books, ledgers
from fedcoin_cli.application.crew.ways import running
from fedcoin_cli.application.diagnosis.finding import BAD, GOOD, NOTE, CheckFinding
from fedcoin_cli.application.node.events import DISK_LEAST_BYTES, clock_behind
from fedcoin_cli.application.node.votelog import is_whole
from fedcoin_cli.application.workspace.configuration import load
from fedcoin_cli.application.workspace.peers import read_peers
from fedcoin_cli.application.workspace.settings import Settings
from fedcoin_cli.application.workspace.silence import remedy
from fedcoin_cli.application.workspace.workspace import Workspace
from fedcoin_cli.protocol.message import Silence
from ledger_store.base.errors import ExitCode, FedCoinError, NotFound, SettingsError
from ledger_store.chain import replay, start
from ledger_store.file.chain_file import ChainReader
from ledger_store.file.snapshot import SNAPSHOT_NAME, claimed, difference

CLOCK_AHEAD_MS = 600_000
"""How far a block's time may lie before a voter's clock."""
_SLOW_FSYNC_MS = 50.0
_SYNCS = 5


def settings(workspace: Workspace) -> CheckFinding:
    """Whether every setting is known and in range."""
    try:
        load(workspace.settings_file, {})
    except SettingsError as error:
        return CheckFinding(
            "settings", BAD, f"{error.message} ({error.where})", error.hint, ExitCode.SETTINGS
        )
    return CheckFinding("settings", GOOD, str(workspace.settings_file))


def keys(workspace: Workspace) -> CheckFinding:
    """Whether secret keys are closed to other users."""
    names = workspace.key_names()
    loose = [name for name in names if workspace.key_file(name).stat().st_mode & 0o077]
    if loose:
        hint = f"chmod 600 {' '.join(str(workspace.key_file(name)) for name in loose)}"
        return CheckFinding("keys", BAD, f"others may read: {', '.join(loose)}", hint, ExitCode.KEY)
    foreign = [name for name in names if workspace.key_file(name).stat().st_uid != os.getuid()]
    if foreign and os.getuid():
        hint = "run fedcoin as their owner, or chown them"
        return CheckFinding("keys", BAD, f"somebody else owns: {', '.join(foreign)}", hint, ExitCode.KEY)
    return CheckFinding("keys", GOOD, f"{len(names)} keys, closed to others")


def ports(workspace: Workspace) -> CheckFinding:
    """Whether the ports on which the local miners will listen are free, or theirs already.

    A miner listens on `network.bind`, whatever others call this host, on the port that the peers file says.
    """
    try:
        settings = load(workspace.settings_file, {}).settings
    except SettingsError:
        settings = Settings()  # told already
    try:
        peers = {peer.address: peer for peer in read_peers(workspace.peers_file) if peer.host}
    except SettingsError as error:
        return CheckFinding("ports", BAD, f"{error.message} ({error.where})", error.hint, ExitCode.SETTINGS)
    local = {miner.number: peers.get(workspace.address(miner.name)) for miner in workspace.miners}
    if unlisted := [f"miner-{number}" for number, peer in local.items() if peer is None]:
        said, hint = f"no entry in peers.toml: {', '.join(unlisted)}", "add its address, host and port"
        return CheckFinding("ports", BAD, said, hint, ExitCode.SETTINGS)
    busy = running(workspace, settings)
    idle = [(number, peer) for number, peer in local.items() if peer is not None and number not in busy]
    bind = settings.network.bind
    if local and (why := _unusable(bind)) is not None:
        hint = "set network.bind to an address of this machine, or to 0.0.0.0 for all of them"
        return CheckFinding("ports", BAD, f"nothing can listen on {bind}: {why}", hint, ExitCode.SETTINGS)
    taken = [f"{port} (miner-{number})" for number, peer in idle for port in _taken(bind, peer.port)]
    if taken:
        hint = "end who listens there (ss -ltnp tells), or change port in peers.toml, here and for all others"
        return CheckFinding(
            "ports", BAD, f"somebody else listens on {', '.join(taken)}", hint, ExitCode.NETWORK
        )
    if not local:
        return CheckFinding("ports", GOOD, "none needed: this workspace has no miner")
    listed = ", ".join(f"{peer.port}-{peer.port + 1}" for peer in local.values() if peer is not None)
    said = f"{2 * len(idle)} free, {2 * (len(local) - len(idle))} used by running miners; {listed} on {bind}"
    return CheckFinding("ports", GOOD, said)


def ledger(workspace: Workspace) -> CheckFinding:
    """Whether a ledger can be read, and how far it is certified."""
    try:
        with closing(Books.open(workspace)) as books:
            said = f"{books.path}, certified to height {books.height}"
            ignored = len(books.ignored)
    except NotFound:
        return CheckFinding("ledger", GOOD, "none here: this workspace has no miner")
    except FedCoinError as error:
        return CheckFinding("ledger", BAD, error.message, "fedcoin repair", ExitCode.LEDGER)
    if ignored:
        return CheckFinding("ledger", BAD, f"{ignored} cannot be read", "fedcoin repair", ExitCode.LEDGER)
    return CheckFinding("ledger", GOOD, said)


def votes(workspace: Workspace) -> CheckFinding:
    """Whether every local miner still knows what it has said: one that does not votes for nothing."""
    local, genesis = workspace.miners, workspace.genesis()
    try:
        lost = [miner for miner in local if not is_whole(miner.votes)]
    except FedCoinError as error:
        hint = f"move it away, start the miner and run fedcoin doctor again: {error.where}"
        return CheckFinding("votes", BAD, error.message, hint, ExitCode.STORAGE)
    if not lost:
        said = f"{len(local)} whole" if local else "none here: this workspace has no miner"
        return CheckFinding("votes", GOOD, said)
    names = ", ".join(miner.name for miner in lost)
    said = f"{names}: vote log lost, votes for nothing for fear of contradicting itself"
    state = BAD if len(genesis.roster) - len(lost) < genesis.quorum else NOTE
    return CheckFinding("votes", state, said, remedy(Silence.VOTES_LOST), ExitCode.CONSENSUS)


def snapshots(workspace: Workspace) -> CheckFinding:
    """Whether what ledgers are said to come to is what their blocks come to."""
    seen = 0
    try:
        for folder in ledgers(workspace):
            with ChainReader(folder) as reader:
                claim = claimed(folder, reader.tip.genesis)
                if claim is None or claim.state.height > reader.height:
                    continue
                tip = start(reader.tip.genesis)
                for height in range(1, claim.state.height + 1):
                    tip = replay(tip, reader.block(height))
            if (said := difference(claim, tip.state)) is not None:
                hint = f"somebody has edited it; delete it: {folder / SNAPSHOT_NAME}"
                return CheckFinding("snapshots", BAD, f"{folder}: {said}", hint, ExitCode.LEDGER)
            seen += 1
    except FedCoinError as error:
        return CheckFinding("snapshots", NOTE, f"not compared: {error.message}")
    return CheckFinding("snapshots", GOOD, f"{seen} compared with all blocks")


def clock(workspace: Workspace) -> CheckFinding:
    """Whether the time of day fits the newest block here: a voter refuses blocks from far ahead of its clock."""
    now_ms = time.time_ns() // 10**6
    try:
        with closing(Books.open(workspace)) as books:
            block_ms = books.state.time_ms
    except FedCoinError:
        block_ms = workspace.genesis().time_ms
    said = f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if block_ms > now_ms + CLOCK_AHEAD_MS:
        behind_s = (block_ms - now_ms) // 1000
        hint = remedy(Silence.CLOCK_BEHIND)
        return CheckFinding(
            "clock", BAD, f"{said}, {behind_s} s behind the newest block", hint, ExitCode.NETWORK
        )
    for miner in workspace.miners:
        if (told := clock_behind(miner.log)) is not None:
            hint = remedy(Silence.CLOCK_BEHIND)
            return CheckFinding("clock", BAD, f"{said}; {miner.name}: {told}", hint, ExitCode.NETWORK)
    return CheckFinding("clock", GOOD, said)


def disk(workspace: Workspace) -> CheckFinding:
    """Whether there is room for a round's files, and how long a durable write takes."""
    free = shutil.disk_usage(workspace.root).free
    try:
        sync_ms = _sync_ms(workspace.root)
    except OSError as error:
        said = f"{workspace.root} cannot be written: {error.strerror}"
        return CheckFinding("disk", BAD, said, "check free space and permissions", ExitCode.STORAGE)
    said = f"{free / 1e9:.1f} GB free, a durable write takes {sync_ms:.1f} ms"
    if free < DISK_LEAST_BYTES:
        hint = f"free some space: below {DISK_LEAST_BYTES / 1e6:.0f} MB a miner takes no new task"
        return CheckFinding("disk", BAD, said, hint, ExitCode.STORAGE)
    if sync_ms > _SLOW_FSYNC_MS:
        return CheckFinding("disk", NOTE, said, "every vote waits for such a write: a faster disk helps")
    return CheckFinding("disk", GOOD, said)


def _unusable(host: str) -> str | None:
    """Why nobody on this machine can listen under this address; None: somebody can."""
    try:
        with socket.socket() as probe:
            probe.bind((host, 0))
    except OSError as error:
        return error.strerror
    return None


def _taken(host: str, port: int) -> list[int]:
    """Those of a miner's two ports that somebody else has bound."""
    taken = []
    for number in (port, port + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, number))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    taken.append(number)
    return taken


def _sync_ms(folder: Path) -> float:
    """The median time of a few small durable writes."""
    times = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(_SYNCS):
            start_s = time.perf_counter()
            file.write(b"\0" * 4096)
            os.fsync(file.fileno())
            times.append(1000 * (time.perf_counter() - start_s))
    return statistics.median(times)


CHECKS = (settings, keys, ports, ledger, votes, snapshots, clock, disk)
