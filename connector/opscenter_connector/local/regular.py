"""Opens regular files and folders, and refuses everything else before a byte of it is read."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from opscenter_connector.local.mistakes import ToolError, explained
from opscenter_connector.local.roots import Spot

_KINDS = {
    stat.S_IFDIR: "a folder. List it with list_directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}


@contextmanager
def read(spot: Spot) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """The file, for reading. Links that stay in the folder are followed. Raises ToolError."""
    try:
        descriptor = spot.opened(os.O_RDONLY, links=True)
    except OSError as error:
        raise explained(error, spot.shown) from None
    with os.fdopen(descriptor, "rb") as file:
        yield file, checked(descriptor, spot)


def checked(descriptor: int, spot: Spot) -> os.stat_result:
    """The status of what is open, which must be a regular file. Raises ToolError."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "something else")
        said = kind if "folder" in kind else f"{kind}. Only regular files are read and written"
        raise ToolError(f"{spot.shown} is {said}")
    return found


def is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


def is_folder(spot: Spot) -> bool:
    """What it is at this moment; whoever opens it next has to look again. Raises ToolError."""
    try:
        descriptor = spot.opened(os.O_RDONLY, links=True)
    except OSError as error:
        raise explained(error, spot.shown) from None
    try:
        return stat.S_ISDIR(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


@contextmanager
def folder(spot: Spot, *, links: bool = True) -> Iterator[int]:
    """A descriptor of the folder, for listing it. Raises ToolError."""
    try:
        descriptor = spot.opened(os.O_RDONLY | os.O_DIRECTORY, links=links)
    except OSError as error:
        raise explained(error, spot.shown) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
