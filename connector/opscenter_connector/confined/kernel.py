"""The few calls to the kernel that Python has no name for (Linux)."""

import ctypes
import os
import struct

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
PR_SET_DUMPABLE = 4
SECCOMP_MODE_FILTER = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_void_p)]


def prctl(option: int, *arguments: object) -> None:
    """Raises OSError."""
    given = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    given += [ctypes.c_ulong(0)] * (4 - len(given))
    if _libc.prctl(ctypes.c_int(option), *given) != 0:
        raise _failed("prctl")


def syscall(number: int, *arguments: object) -> int:
    """Raises OSError."""
    found = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if found < 0:
        raise _failed(f"system call {number}")
    return found


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def filter_calls(program: bytes) -> None:
    """This thread, and all that it starts, may do only what the program allows."""
    kept = ctypes.create_string_buffer(program, len(program))
    length = len(program) // struct.calcsize("HBBI")
    given = _Filter(length, ctypes.cast(kept, ctypes.c_void_p))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(given))
