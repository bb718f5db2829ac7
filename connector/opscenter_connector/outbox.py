"""The frames that wait to be sent in one session. A new session says all again in a new one."""

import asyncio
import logging
from collections import deque

from opscenter_connector import frames

log = logging.getLogger(__name__)

MAX_WAITING = 1024  # frames; who does not read what was said is not read either
MAX_PROGRESS = 64  # waiting frames, from which on progress is not worth more of them


class Outbox:
    """First in, first out."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque()
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    def put(self, frame: frames.FromConnector) -> None:
        if isinstance(frame, frames.Progress) and len(self._texts) >= MAX_PROGRESS:
            return
        try:
            text = frames.encode(frame)
            text.encode()
        except ValueError:
            log.exception("a frame cannot be written and is left out")
            return
        self._texts.append(text)
        self._filled.set()
        if len(self._texts) >= MAX_WAITING:
            self._drained.clear()

    async def room(self) -> None:
        """Wait until there is some."""
        await self._drained.wait()

    async def take(self, *, most: int, most_bytes: int) -> list[str]:
        """Wait for frames; then as many as fit, and one at least."""
        await self._filled.wait()
        taken: list[str] = []
        size = 0
        while self._texts and len(taken) < most:
            size += len(self._texts[0].encode()) + 1
            if taken and size > most_bytes:
                break
            taken.append(self._texts.popleft())
        if not self._texts:
            self._filled.clear()
        if len(self._texts) < MAX_WAITING:
            self._drained.set()
        return taken
