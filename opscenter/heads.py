"""uvicorn's HTTP, with a bound on the time that the head of a request takes.

uvicorn itself waits for ever for the rest of a head, and for the first byte of a connection. Who
opens connections and says next to nothing has them all in the end.
"""

import asyncio
from typing import Any

from django.conf import settings

from opscenter.unread import ReadInTime

LATE = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n"
    b"cache-control: no-store\r\n\r\n"
)


class BoundedHead(ReadInTime):
    """One connection."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._in_head = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it so too
        """From now on it has its time to say something."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A head that comes in one piece, as nearly all do, costs no timer."""
        super().data_received(data)
        if not self._in_head:
            self._disarm()
        elif self._timer is None:
            self._arm()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """What follows is the body, which has bounds of its own."""
        self._in_head = False
        super().on_headers_complete()

    def _arm(self) -> None:
        self._timer = self.loop.call_later(settings.HEAD_S, self._give_up)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._arm()  # the answer before it is still being given
            return
        if self._in_head:
            self.transport.write(LATE)
        self.transport.close()
