"""A home for one command, where it cannot have one in memory."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opscenter_connector.sandbox import shell


@contextmanager
def home() -> Iterator[Path]:
    """An unguessable folder for this user alone; gone afterwards, whatever was put there."""
    folder = Path(tempfile.mkdtemp(prefix="opscenter-"))
    try:
        (folder / "tmp").mkdir()
        (folder / ".gitconfig").write_bytes(shell.GIT_CONFIG)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
