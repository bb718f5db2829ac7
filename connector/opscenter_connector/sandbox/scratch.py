"""A home for one command, where it cannot have one in memory."""

import shutil
import tempfile
import threading
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
        # A disk takes its time, and nobody has to wait for it; the program waits before it ends.
        threading.Thread(target=shutil.rmtree, args=(folder, True)).start()
