"""Why miners that run do not vote, in words, and what their operators do about it: `status`, `doctor`, logs, errors."""

from collections.abc import Mapping

from fedcoin_cli.protocol.message import Silence

LASTING = frozenset({Silence.VOTES_LOST, Silence.CLOCK_BEHIND})
"""Those that end when somebody has acted; with a lost vote log also when the others can move on without the miner."""

_SAID: Mapping[Silence, str] = {
    Silence.VOTES_LOST: "has lost its vote log and does not vote, for fear of contradicting itself",
    Silence.CLOCK_BEHIND: "has a clock more than ten minutes behind and votes for no new block",
    Silence.RECALLING: "asks the others what it said before it was started, and votes in some seconds",
}

_REMEDIES: Mapping[Silence, str] = {
    Silence.VOTES_LOST: (
        "it votes again once the others have moved on two blocks; where they cannot without it, on its machine: "
        "fedcoin stop N (it alone), fedcoin repair --forget-log, and start it again"
    ),
    Silence.CLOCK_BEHIND: "set the clock: timedatectl set-ntp true",
}


def said(silence: Silence) -> str:
    """What is wrong with a miner, to stand behind its name."""
    return _SAID[silence]


def remedy(silence: Silence) -> str:
    """What to do on the machine of such a miner; empty where waiting helps."""
    return _REMEDIES.get(silence, "")
