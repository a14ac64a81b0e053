"""What to do where miners are missing: it depends on whose they are and on how they ran last."""

from fedcoin_cli.application.workspace.workspace import Workspace


def start_command(workspace: Workspace) -> str:
    """The command that starts those of this workspace that do not run, the way they ran last."""
    via = f" --via {way}" if (way := _contained(workspace)) else ""
    return f"fedcoin mine{via} --detach"


def start_hint(workspace: Workspace) -> str:
    """Who starts what is missing, and how."""
    elsewhere = "peers.toml says where others' miners listen, their operators start them"
    local, all_miners = len(workspace.miners), len(workspace.genesis().roster)
    if not local:
        return f"no miner belongs here: {elsewhere}"
    here = f"{start_command(workspace)} starts this workspace's miners"
    return here if local >= all_miners else f"{here}; {elsewhere}"


def _contained(workspace: Workspace) -> str:
    """The kind of containers that miners here ran in last; empty for processes."""
    try:
        return workspace.contained.read_text("ascii").strip()
    except OSError:
        return ""
