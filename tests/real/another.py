"""Another user of this computer, whose files a test must not be able to confuse with its own."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UID = 54321  # nobody has it, and it needs no entry anywhere


@contextmanager
def home() -> Iterator[Path]:
    """A folder of theirs, that ends with the test: pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="opscenter-another-"))
    try:
        given(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


def given(folder: Path) -> None:
    """All in it is theirs from now on. Only root can give anything away: else it stays our own."""
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, UID, UID)


def uid() -> int | None:
    """Who that is for a process; None where we cannot be anybody else."""
    return UID if os.geteuid() == 0 else None


def interpreter() -> Path:
    """A Python that they may start: root's own often lies in root's home."""
    own = Path(sys.executable).resolve()
    if all(folder.stat().st_mode & 0o001 for folder in own.parents):
        return own
    return Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
