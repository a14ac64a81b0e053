"""Work done in a child process of a test: for limits, locks and kills that must not touch the test itself."""

import ctypes
import multiprocessing
import platform
import struct
from collections.abc import Callable
from multiprocessing.connection import Connection

_FORK = multiprocessing.get_context("fork")
# The system call's number.
FSYNC_CALLS = {"x86_64": 74, "aarch64": 82}
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER_MODE = 38, 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_CALL, _FIRST_ARGUMENT = 0, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


def in_child(work: Callable[[], str]) -> str:
    """What `work` returned in a forked child, or the kind and text of the error that it raised."""
    ours, theirs = _FORK.Pipe()
    child = _FORK.Process(target=_report, args=(work, theirs))
    child.start()
    theirs.close()
    try:
        said = ours.recv()
    finally:
        child.join()
    assert isinstance(said, str)
    return said


def _report(work: Callable[[], str], pipe: Connection) -> None:
    try:
        pipe.send(work())
    except Exception as error:  # noqa: BLE001 (the test reads it)
        pipe.send(f"{type(error).__name__}: {error}")


def forbid_fsync(handle: int, errno: int) -> None:
    """From now on the kernel answers every fsync of this descriptor with `errno`; only for children of a test."""
    program = [
        (_LOAD, 0, 0, _CALL),
        (_EQUAL, 0, 3, FSYNC_CALLS[platform.machine()]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 0, 1, handle),
        (_RETURN, 0, 0, _ERRNO | errno),
        (_RETURN, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    system = ctypes.CDLL(None, use_errno=True)
    assert system.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert system.prctl(_PR_SET_SECCOMP, _FILTER_MODE, header) == 0, "the kernel takes no filter"
