"""Ways below an open folder that follow no link, whoever changes what lies on them."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath

PLACE = os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)  # no O_PATH on macOS
FOLDER = PLACE | os.O_DIRECTORY


@contextmanager
def parent(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The folder that a path's last name lies in, and that name. Raises OSError."""
    *folders, name = PurePosixPath(path).parts
    at = os.dup(root)
    try:
        for folder in folders:
            below = os.open(folder, FOLDER, dir_fd=at)
            os.close(at)
            at = below
        yield at, name
    finally:
        os.close(at)


@contextmanager
def changing(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The same, where that folder may have been closed to writing. Raises OSError."""
    with parent(root, path) as (at, name):
        _open_up(at)
        yield at, name


def open_up(root: int, path: str) -> None:
    """Let a folder be listed by its owner, and those on the way be entered. Raises OSError."""
    at = os.dup(root)
    try:
        _open_up(at)
        for name in PurePosixPath(path).parts:
            below = os.open(name, PLACE, dir_fd=at)
            os.close(at)
            at = below
            _open_up(at)
    finally:
        os.close(at)


def _open_up(fd: int) -> None:
    """By way of its file: a name could be a link by now."""
    status = os.fstat(fd)
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        with suppress(OSError):  # another user's, which may be open to us all the same
            os.chmod(f"/dev/fd/{fd}", stat.S_IMODE(status.st_mode) | stat.S_IRWXU)


def place(root: int, path: str) -> int:
    """An open file that only names what lies there, a link itself if it is one. Raises OSError."""
    if not path:
        return os.dup(root)
    with parent(root, path) as (at, name):
        return os.open(name, PLACE, dir_fd=at)
