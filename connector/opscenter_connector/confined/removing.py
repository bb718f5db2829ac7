"""Removes what a command had for itself, whatever it made of it."""

import os
import stat
from contextlib import suppress


def tree(path: str) -> None:
    """The folder and all in it; links are removed and not followed. Nothing may run in it."""
    with suppress(OSError):
        os.chmod(path, stat.S_IRWXU)
    for folder, folders, _ in os.walk(path):
        for name in folders:
            inner = os.path.join(folder, name)
            if not os.path.islink(inner):
                with suppress(OSError):  # one that was closed could not be listed
                    os.chmod(inner, stat.S_IRWXU)
    for folder, folders, files in os.walk(path, topdown=False):
        for name in (*files, *folders):
            with suppress(OSError):
                _one(os.path.join(folder, name))
    with suppress(OSError):
        os.rmdir(path)


def _one(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        os.rmdir(path)
    else:
        os.unlink(path)
