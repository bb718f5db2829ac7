"""The exporter of usage beside a server: a process of its own that ends with it."""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from billing import lago

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "manage.py", "exportusage", "--until-stdin-ends")
FIRST_WAIT_S = 1.0  # before it is started anew; it doubles
MOST_WAIT_S = 60.0
WELL_S = 60.0  # who ran so long was well, and is started anew at once
STOP_S = 30.0  # a batch under way is finished within its own bound


@contextmanager
def beside(wanted: bool = True) -> Iterator[None]:
    """Keep an exporter running as long as the body does, where Lago is configured."""
    if not (wanted and lago.is_configured()):
        yield
        return
    keeper = Keeper()
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()


class Keeper:
    """Starts the exporter, and again whenever it dies."""

    def __init__(self, command: tuple[str, ...] = COMMAND) -> None:
        self._command = command
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="exporter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let it finish its batch; one that does not is killed, which loses nothing."""
        with self._lock:
            self._stopping.set()
            if self._child is not None and self._child.stdin is not None:
                self._child.stdin.close()
        self._thread.join(STOP_S)
        if self._thread.is_alive() and self._child is not None:
            self._child.kill()
            self._thread.join(STOP_S)

    def _keep(self) -> None:
        failures = 0
        while (child := self._started()) is not None:
            began = time.monotonic()
            code = child.wait()
            if self._stopping.is_set():
                return
            failures = 1 if time.monotonic() - began > WELL_S else failures + 1
            wait_s = min(FIRST_WAIT_S * 2.0 ** (failures - 1), MOST_WAIT_S)
            log.error("exporter: it ended with %d; again in %.0f s", code, wait_s)
            self._stopping.wait(wait_s)

    def _started(self) -> subprocess.Popen[bytes] | None:
        """A new exporter; None once the server stops."""
        with self._lock:
            if self._stopping.is_set():
                return None
            # It reads from us until we are gone, however we go; that is how it learns of it.
            self._child = subprocess.Popen(  # noqa: S603  (a command of our own)
                self._command, cwd=settings.BASE_DIR, stdin=subprocess.PIPE
            )
            return self._child
