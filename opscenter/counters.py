"""The folder in which several workers of one server keep their counters together."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings

from opscenter import env

NEW_S = 60.0  # its server may be about to take hold of it


@contextmanager
def shared(workers: int) -> Iterator[None]:
    """Make it before the workers are started, new and empty; take it away after them.

    One worker needs none: its counters are in its memory. Each server has a folder of its own, so
    that one which takes over from another on the same host leaves the other's alone.
    """
    if workers == 1:
        yield
        return
    home = Path(settings.VAR_DIR) / "metrics"
    home.mkdir(parents=True, exist_ok=True)
    for left in home.glob("server-*"):
        _take_away(left)
    folder = Path(tempfile.mkdtemp(prefix="server-", dir=home))
    env.share_counters(folder)
    with _held(folder):
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _take_away(left: Path) -> None:
    """Unless its server lives: one that is killed cannot do it itself."""
    with suppress(OSError), _held(left):
        if time.time() - left.stat().st_mtime > NEW_S:
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """As long as the process lives. Raises BlockingIOError where another one holds it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)
