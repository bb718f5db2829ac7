"""The WebSocket edge of the tunnel: one connection, its frames in order, its calls as they come."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from channels.consumer import AsyncConsumer

from mcp import entry, frames
from mcp.closing import BAD_FRAME, BYE, RESTARTING, SILENT, SessionError
from mcp.entry import Entered, NoEntryError
from mcp.models import Connector
from mcp.session import Session

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

HELLO_S = 10.0  # from the handshake to the first frame
SEND_S = 20.0  # a machine that reads nothing for so long is gone, or holds our memory on purpose
WAIT_S = 3600.0  # for work; the pings tell whether anybody is there
REASON_BYTES = 120  # a close frame has room for 123
BROKEN = 1011  # a defect of ours


class GoneError(Exception):
    """Nobody is at the other end."""


class TunnelConsumer(AsyncConsumer):  # type: ignore[misc]  # Channels ships no types
    """`WebSocket /api/mcp/ws/{user_id}`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, from the handshake to its end.

        Channels would dispatch each message to a method, after a hop to Django's one thread for
        sync code: a slow page would hold up everybody's tools.
        """
        await receive()  # websocket.connect
        user = scope["url_route"]["kwargs"]["user_id"]
        try:
            entered = await entry.enter(scope, user)
        except NoEntryError as refusal:
            await refuse(scope, send, refusal)
            return
        await send({"type": "websocket.accept"})
        await Connection(entered, receive, send).serve()


async def refuse(scope: Scope, send: Send, refusal: NoEntryError) -> None:
    """An HTTP answer instead of the handshake, where the server can give one."""
    log.info("%s: refused with %d: %s", ascii(scope["path"][:200]), refusal.status, refusal)
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    body = msgspec.json.encode(
        {"type": "error", "error": {"type": refusal.kind, "message": str(refusal)}}
    )
    headers = [(b"content-type", b"application/json"), *refusal.headers]
    start = {"type": "websocket.http.response.start", "status": refusal.status}
    await send(start | {"headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


class Connection:
    """An accepted WebSocket.

    What it can hold of our memory is bounded: the server reads on only when we ask for the next
    message, and it takes the next one of ours only when less than 64 KiB of the last are unsent.
    """

    def __init__(self, entered: Entered, receive: Receive, send: Send) -> None:
        self._entered = entered
        self._receive = receive
        self._send = send
        self._one_at_a_time = asyncio.Lock()  # both halves send
        self._session: Session | None = None

    async def serve(self) -> None:
        """Until either side ends it."""
        try:
            await self._talk()
        except SessionError as end:
            await self._close(end.code, str(end))
        except GoneError:
            pass
        except OSError as error:  # how a server says that its client has left
            log.debug("a machine left: %r", error)
        except Exception:
            log.exception("the connection of user %s broke", self._entered.principal.user_id)
            await self._close(BROKEN, "The gateway has a defect.")
        finally:
            if self._session is not None:
                await self._session.close()

    async def _talk(self) -> None:
        hello = await self._hello()
        self._session, welcome = await Session.open(
            self._entered.principal, hello, Connector.Transport.WEBSOCKET, self._entered.shown
        )
        await self._say([welcome])
        halves = [
            asyncio.ensure_future(self._listen(self._session)),
            asyncio.ensure_future(self._hand_out(self._session)),
        ]
        try:
            done, _ = await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
            for half in done:
                half.result()
        finally:
            for half in halves:
                half.cancel()
            await asyncio.gather(*halves, return_exceptions=True)

    async def _hello(self) -> frames.Hello:
        try:
            async with asyncio.timeout(HELLO_S):
                frame = await self._next()
        except TimeoutError:
            text = f"No hello within {HELLO_S:.0f} seconds."
            raise SessionError(SILENT, text) from None
        if not isinstance(frame, frames.Hello):
            raise SessionError(BAD_FRAME, "The first frame must be a hello.")
        return frame

    async def _listen(self, session: Session) -> None:
        while not session.has_ended:
            await self._say(await session.take(await self._next()))
        raise SessionError(BYE, "Goodbye.")

    async def _hand_out(self, session: Session) -> None:
        while True:
            await self._say(await session.next_due(WAIT_S))

    async def _next(self) -> frames.FromConnector:
        message = await self._receive()
        if message["type"] != "websocket.receive":
            raise GoneError
        text = message.get("text")
        if text is None:
            raise SessionError(BAD_FRAME, "A frame is a text message.")
        try:
            return frames.from_connector(text)
        except frames.FrameError as error:
            raise SessionError(BAD_FRAME, str(error)) from error

    async def _say(self, said: list[frames.Frame]) -> None:
        for frame in said:
            text = frames.encode(frame).decode()
            try:
                async with asyncio.timeout(SEND_S), self._one_at_a_time:
                    await self._send({"type": "websocket.send", "text": text})
            except TimeoutError:
                raise GoneError from None

    async def _close(self, code: int, reason: str) -> None:
        """The last frame, and the close code. Whether anybody hears it makes no difference."""
        if code not in {BYE, RESTARTING}:
            log.info(
                "a machine of user %s: closed with %d: %s",
                self._entered.principal.user_id,
                code,
                ascii(reason),
            )
        cut = reason.encode()[:REASON_BYTES].decode(errors="ignore")
        with suppress(Exception):
            await self._say([frames.Bye(reason=reason, code=code)])
            async with asyncio.timeout(SEND_S):
                await self._send({"type": "websocket.close", "code": code, "reason": cut})
