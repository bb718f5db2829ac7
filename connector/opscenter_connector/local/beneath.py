"""Opens what lies beneath a folder that is held open, and nothing that a link or a race leads to.

A path that was checked and is then opened may have become another one in between. So nothing is
checked: the kernel is asked to open the path without leaving the folder, and what it has opened is
looked at by its descriptor.
"""

import ctypes
import errno
import functools
import os
import stat
import struct
import sys
from collections.abc import Sequence

OPENAT2 = 437  # the same number on every architecture that Python is built for
NO_MAGICLINKS, NO_SYMLINKS, BENEATH = 0x02, 0x04, 0x08  # of linux/openat2.h
TRIES = 16  # the kernel says EAGAIN where a rename came in between; a race loses long before this

# No terminal becomes ours, no pipe without a writer makes us wait, no child inherits it.
ALWAYS = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
# To stand in a folder one need not be able to list it. macOS has no such thing.
FOLDER = os.O_DIRECTORY | getattr(os, "O_PATH", os.O_RDONLY)


class LeftError(OSError):
    """The path leads out of the folder."""


def opened(
    folder: int, parts: Sequence[str], flags: int, *, links: bool = False, mode: int = 0
) -> int:
    """A descriptor of what `parts` name beneath `folder`. Raises OSError.

    With `links`, links that stay beneath are followed where the kernel can see to that; else a link
    anywhere on the way is ELOOP.
    """
    if has_openat2():
        resolve = BENEATH | NO_MAGICLINKS | (0 if links else NO_SYMLINKS)
        return _by_kernel(folder, "/".join(parts) or ".", flags, mode, resolve)
    return _step_by_step(folder, parts or ["."], flags, mode)


@functools.cache
def has_openat2() -> bool:
    """Whether the kernel has it, and nobody (an old container) forbids it."""
    if sys.platform != "linux":
        return False
    try:
        folder = os.open("/", FOLDER | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.close(_by_kernel(folder, ".", FOLDER, 0, BENEATH))
    except OSError:
        return False
    finally:
        os.close(folder)
    return True


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _by_kernel(folder: int, path: str, flags: int, mode: int, resolve: int) -> int:
    # With O_PATH nothing is opened, and openat2 takes none of the flags that are about that.
    flags |= os.O_CLOEXEC if flags & os.O_PATH else ALWAYS
    how = struct.pack("QQQ", flags, mode, resolve)
    for _ in range(TRIES):
        descriptor: int = _libc().syscall(
            ctypes.c_long(OPENAT2),
            ctypes.c_int(folder),
            ctypes.c_char_p(os.fsencode(path)),
            ctypes.c_char_p(how),
            ctypes.c_size_t(len(how)),
        )
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number not in {errno.EAGAIN, errno.EINTR}:
            break
    if number == errno.EXDEV:
        raise LeftError(number, "leads out of the folder", path)
    raise OSError(number, os.strerror(number), path)


def _step_by_step(folder: int, parts: Sequence[str], flags: int, mode: int) -> int:
    """Where there is no openat2: no component may be a link, so none can lead out."""
    *above, last = parts
    at = folder
    try:
        for part in above:
            below = _step(at, part, FOLDER, 0)
            _close(at, folder)
            at = below
        return _step(at, last, flags, mode)
    finally:
        _close(at, folder)


def _step(at: int, part: str, flags: int, mode: int) -> int:
    try:
        return os.open(part, flags | os.O_NOFOLLOW | ALWAYS, mode, dir_fd=at)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(part, dir_fd=at, follow_symlinks=False).st_mode):
            # Linux says that it is no folder, where openat2 says what it is.
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), part) from None
        raise


def _close(descriptor: int, but_not: int) -> None:
    if descriptor != but_not:
        os.close(descriptor)
