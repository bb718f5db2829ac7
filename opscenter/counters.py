"""The folder in which several workers of one server keep their counters together."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from opscenter import env


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
    folder = Path(tempfile.mkdtemp(prefix="server-", dir=home))
    env.share_counters(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
