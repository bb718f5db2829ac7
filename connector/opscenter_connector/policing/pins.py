"""What each tool said of itself when it was first allowed, or last approved. On disk."""

import json
import logging
import os
from pathlib import Path

from opscenter_connector.instance import sync_directory

log = logging.getLogger(__name__)

MAX_PINS = 64 * 512  # servers and tools, as many as the gateway takes


class Pins:
    """Digests of definitions, by server and tool."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pins = _read(path)

    def of(self, server: str, tool: str) -> str | None:
        return self._pins.get(server, {}).get(tool)

    def put(self, server: str, tool: str, digest: str) -> None:
        """From now on this is what it is. A disk that is full costs a question after a restart."""
        if self.of(server, tool) == digest or sum(map(len, self._pins.values())) >= MAX_PINS:
            return
        self._pins.setdefault(server, {})[tool] = digest
        try:
            self._write()
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error.strerror)

    def _write(self) -> None:
        new = self._path.with_suffix(".new")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(self._pins, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        sync_directory(self._path.parent)


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        found = json.loads(path.read_text("utf-8"))
        return {
            str(server): {str(tool): str(digest) for tool, digest in tools.items()}
            for server, tools in found.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        log.warning("%s cannot be read, and tools are taken as they are now: %s", path, error)
        return {}
