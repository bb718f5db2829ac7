"""Removes what a command had for itself, whatever it made of it."""

import os
import stat
from contextlib import suppress


def tree(path: str) -> None:
    """The folder and all in it; links are removed and not followed. Nothing may run in it.

    Not by os.walk, which a folder of a thousand levels brings to its end.
    """
    emptied = []
    todo = [path]
    while todo:
        folder = todo.pop()
        emptied.append(folder)
        with suppress(OSError):  # one that was closed could not be listed
            os.chmod(folder, stat.S_IRWXU)
            todo += _emptied_of_files(folder)
    for folder in reversed(emptied):
        with suppress(OSError):
            os.rmdir(folder)


def _emptied_of_files(folder: str) -> list[str]:
    """The folders that are left in it. Raises OSError."""
    with os.scandir(folder) as found:
        entries = list(found)
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
    return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
