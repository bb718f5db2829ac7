"""uvicorn's HTTP connections, with a bound on the time that an answer waits for its reader.

uvicorn itself waits for ever for a client that does not read, or one that reads a byte now and
then, also when it has closed the connection: the answer stays in memory, and so does the upstream's
connection that the rest of it comes from.
"""

import asyncio
import fcntl
import struct
import termios
from contextlib import suppress
from typing import Any

from django.conf import settings

from opscenter.lingering import LingeringHttp

LEAST_BYTES_PER_S = 1024  # the slowest telephone takes more


class ReadInTime(LingeringHttp):
    """One connection."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it so too
        """Nothing may wait here unnoticed: the kernel holds megabytes for a reader as it is."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits any more."""
        self._look_away()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The kernel takes no more: the client does not read as fast as it is told."""
        super().pause_writing()
        self._look_again()

    def handle_websocket_upgrade(self) -> None:
        """What follows has bounds of its own, for the usual limits: opscenter/sockets.py."""
        self._look_away()
        self.transport.set_write_buffer_limits()
        super().handle_websocket_upgrade()

    def _look_again(self) -> None:
        self._look_away()
        self._watch = self.loop.call_later(settings.SEND_S, self._judge, unread(self.transport))

    def _look_away(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _judge(self, before: int) -> None:
        self._watch = None
        if not self.transport.get_write_buffer_size():
            return  # the rest is the kernel's to send
        if before - unread(self.transport) < LEAST_BYTES_PER_S * settings.SEND_S:
            self.transport.abort()
        else:
            self._look_again()


def unread(transport: asyncio.Transport) -> int:
    """How many bytes the client has not acknowledged, here and in the kernel.

    The kernel asks for more only when a good part of its megabytes is free again, which takes a
    slow reader longer than it has here.
    """
    queued = b"\0" * 4
    with suppress(OSError):  # a system that does not tell, or a socket that is gone
        queued = fcntl.ioctl(transport.get_extra_info("socket"), termios.TIOCOUTQ, queued)
    return transport.get_write_buffer_size() + int(struct.unpack("i", queued)[0])
