"""Landlock: which files, ports and processes a command may reach, set by itself for itself."""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from opscenter_connector.confined import kernel

CREATE, ADD, RESTRICT = 444, 445, 446  # the same numbers on every architecture
VERSION = 1  # a flag of CREATE: tell the ABI

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK = 1 << 6, 1 << 11
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
FIRST = (1 << 13) - 1  # the rights of the first ABI
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = EXECUTE | READ_FILE | READ_DIR
TCP = 3  # bind, connect
SCOPES = 3  # abstract sockets, signals
# In the order they came: from which ABI on there is what.
SINCE = {"refer": 2, "truncate": 3, "network": 4, "devices": 5, "scopes": 6}


def abi() -> int:
    """The kernel's version of it, or 0."""
    try:
        return kernel.syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION))
    except OSError:
        return 0


def _governed(version: int) -> int:
    rights = FIRST
    for name, right in (("refer", REFER), ("truncate", TRUNCATE), ("devices", IOCTL_DEV)):
        if version >= SINCE[name]:
            rights |= right
    return rights


def restrict(
    version: int, *, read: Iterable[int], write: Iterable[int], devices: Iterable[int]
) -> None:
    """From now on only what lies below these open files; the rest is refused. Raises OSError."""
    rights = _governed(version)
    network = TCP if version >= SINCE["network"] else 0
    scopes = SCOPES if version >= SINCE["scopes"] else 0
    size = 8 if not network else 16 if not scopes else 24
    given = struct.pack("QQQ", rights, network, scopes)[:size]
    rules = kernel.syscall(
        CREATE, ctypes.c_char_p(given), ctypes.c_size_t(size), ctypes.c_uint32(0)
    )
    everything = rights & ~MAKE_CHAR & ~MAKE_BLOCK
    for files, allowed in (
        (read, READ),
        (write, everything),
        (devices, READ_FILE | WRITE_FILE | TRUNCATE),
    ):
        for fd in files:
            _allow(rules, fd, allowed & rights)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.syscall(RESTRICT, ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)


def _allow(rules: int, fd: int, rights: int) -> None:
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        rights &= ON_FILES
    rule = ctypes.c_char_p(struct.pack("=Qi", rights, fd))
    kernel.syscall(ADD, ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint32(0))


def opened(paths: Iterable[str]) -> list[int]:
    """Those that are there, as files that only name a place."""
    found = []
    for path in paths:
        try:
            found.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
        except OSError:
            continue  # a machine without it needs no rule for it
    return found
