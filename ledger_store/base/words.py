"""The words of the format of which there are a few: each is a text like any other when it is written."""

from enum import StrEnum


class TaskState(StrEnum):
    """Where a task stands; `task_record` tells what leads from one to the next."""

    QUEUED = "QUEUED"
    OPEN = "OPEN"
    CLOSED = "CLOSED"
    SETTLED = "SETTLED"
    REFUNDED = "REFUNDED"
    CANCELLED = "CANCELLED"


class VoteKind(StrEnum):
    """What a miner says of a view: that it saw a block there first, that it saw none in time, that a block is final."""

    NOTAR = "notar"
    SKIP = "skip"
    FINAL = "final"
