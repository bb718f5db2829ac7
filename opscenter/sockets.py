"""uvicorn's WebSockets, with a bound on the frames that no application ever sees."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from mcp.allowance import Allowance, SpentError

# Pings, pongs and fragments too, which cost six bytes to send and 20 µs to read. Twice what a
# session takes of messages, and a frame of the largest size in fragments of 1 KiB.
FRAMES_PER_S = 400
FRAMES_AT_ONCE = 4000
SLICE_BYTES = 8 * 1024  # read at once; 256 KiB of tiny frames would hold up everybody for a second
TOO_OFTEN = 4429  # as docs/tunnel.md has it
LINGER_S = 1.0  # reading on after the end; with a close before that the peer may never hear why


class BoundedSocket(WebSocketsSansIOProtocol):
    """One connection."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._allowance = Allowance(per_s=FRAMES_PER_S, at_once=FRAMES_AT_ONCE)
        self._has_failed = False  # what still comes is read and thrown away

    def data_received(self, data: bytes) -> None:
        """Slice by slice, so that a flood is noticed in its first."""
        for at in range(0, len(data), SLICE_BYTES):
            if self._is_over():
                return
            super().data_received(data[at : at + SLICE_BYTES])

    def handle_text(self, event: Frame) -> None:
        """Count it."""
        if self._counted():
            super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        """Count it."""
        if self._counted():
            super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        """Count it."""
        if self._counted():
            super().handle_cont(event)

    def handle_pong(self, event: Frame) -> None:
        """Count it."""
        if self._counted():
            super().handle_pong(event)

    def handle_ping(self) -> None:
        """Answer it, unless nobody reads the answers: they would pile up here."""
        if not self._counted():
            return
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    async def send(self, message: Any) -> None:
        """A refusal is an answer too: with it the handshake is over, and no error to be logged."""
        await super().send(message)
        self.handshake_complete = self.handshake_complete or self.close_sent

    async def run_asgi(self) -> None:
        """To the end of the application; then nothing waits for a peer that does not read."""
        await super().run_asgi()
        if not self.writable.is_set():
            self.transport.abort()

    def keepalive_timeout(self) -> None:
        """No pong came in time."""
        super().keepalive_timeout()
        if not self.writable.is_set():
            self.transport.abort()

    def _counted(self) -> bool:
        """Whether the frame counts. The one that is too many ends the connection."""
        if self._is_over():
            return False
        try:
            self._allowance.spend(self.loop.time())
        except SpentError:
            self._fail()
            return False
        return True

    def _is_over(self) -> bool:
        return self._has_failed or self.transport.is_closing()

    def _fail(self) -> None:
        reason = f"More than {FRAMES_PER_S} frames in a second."
        self.logger.info("a WebSocket was closed with %d: %s", TOO_OFTEN, reason)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": TOO_OFTEN, "reason": reason})
        self.stop_keepalive()
        if not self.close_sent:
            self.conn.fail(TOO_OFTEN, reason)
            self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        if not self.writable.is_set():  # what is unsent nobody reads
            self.transport.abort()
            return
        self._has_failed = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)
