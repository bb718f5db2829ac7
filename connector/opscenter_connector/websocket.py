"""A session over a WebSocket: one frame, one text."""

import asyncio
import logging
from urllib.parse import urlsplit

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from opscenter_connector import __version__, addresses, frames, keys, unreached
from opscenter_connector.outbox import Outbox
from opscenter_connector.sessions import (
    OPEN_TIMEOUT_S,
    SessionEndError,
    Take,
    read,
    refusal,
    until_one_ends,
)
from opscenter_connector.settings import Settings

log = logging.getLogger(__name__)

PING_S = 20.0  # and as long again for the answer
CLOSE_TIMEOUT_S = 3.0
MAX_MESSAGE_BYTES = 4 * 1024 * 1024  # twice what the gateway may send
NO_PONG = 1011  # with which websockets closes when a ping is not answered


class _Connect(connect):
    """Follows no redirect: the key is for the address that the user gave."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class WebSocketSession:
    """An open one."""

    transport = "websocket"

    def __init__(self, socket: ClientConnection, welcome: frames.Welcome) -> None:
        self._socket = socket
        self.welcome = welcome

    async def work(self, take: Take, outbox: Outbox) -> None:
        """Both ways until it ends: always with SessionEndError."""
        try:
            await until_one_ends(self._read(take, outbox), self._write(outbox))
        except ConnectionClosed as closed:
            raise _end(closed) from closed
        finally:
            await _left(self._socket)

    async def close(self, reason: str) -> None:
        """Say bye, if that can still be said."""
        with anyio.move_on_after(CLOSE_TIMEOUT_S):
            try:
                await self._socket.send(frames.encode(frames.Bye(reason=reason)))
            except ConnectionClosed:
                log.debug("there was nobody to say bye to")
        await _left(self._socket)

    async def _read(self, take: Take, outbox: Outbox) -> None:
        while True:
            await outbox.room()
            frame = read(await self._socket.recv())
            if isinstance(frame, frames.Bye):
                raise SessionEndError(frame.reason or "the gateway said bye", code=frame.code)
            if frame is not None:
                take(frame)

    async def _write(self, outbox: Outbox) -> None:
        while True:
            for text in await outbox.take(most=1, most_bytes=0):
                await self._socket.send(text)


class WebSocketOpener:
    """Opens them."""

    def __init__(self, settings: Settings, key: keys.Key | None = None) -> None:
        self._key = key or keys.of(settings)
        self._url = addresses.of(settings.api_url, settings.user_id).websocket
        secure = self._url.startswith("wss:")
        self._ssl = addresses.trust(settings.ca_file) if secure else None

    async def __call__(self, hello: frames.Hello) -> WebSocketSession:
        socket = await self._connected()
        try:
            with anyio.fail_after(OPEN_TIMEOUT_S):
                await socket.send(frames.encode(hello))
                return WebSocketSession(socket, await _welcome(socket))
        except TimeoutError as error:
            await _left(socket)
            reason = "connected, but the gateway's welcome does not come through"
            raise SessionEndError(reason, stalled=True, greeted=True) from error
        except ConnectionClosed as closed:
            raise _end(closed, greeted=True) from closed
        except BaseException:
            await _left(socket)
            raise

    async def _connected(self) -> ClientConnection:
        shown = await keys.shown(self._key)
        try:
            return await _Connect(
                self._url,
                additional_headers={"Authorization": shown},
                user_agent_header=f"opscenter-connector/{__version__}",
                compression=None,  # it would cost each of a thousand connections its memory
                max_size=MAX_MESSAGE_BYTES,
                open_timeout=OPEN_TIMEOUT_S,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                close_timeout=CLOSE_TIMEOUT_S,
                ssl=self._ssl,
            )
        except InvalidStatus as error:
            answer = error.response
            retry_after = answer.headers.get("Retry-After")
            body = bytes(answer.body or b"")
            raise refusal(answer.status_code, body, retry_after, upgrade=True) from error
        except (WebSocketException, EOFError) as error:
            # Neither an acceptance nor a refusal: something on the way does not speak WebSocket.
            raise SessionEndError(_words(error), refused_upgrade=True) from error
        except ImportError as error:  # of what a SOCKS proxy needs
            raise SessionEndError(_words(error), refused_upgrade=True) from error
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise SessionEndError(_words(error), stalled=True) from error
        except OSError as error:
            said = unreached.words(error, urlsplit(self._url).netloc)
            raise SessionEndError(said, unreachable=True) from error


async def _welcome(socket: ClientConnection) -> frames.Welcome:
    while True:
        frame = read(await socket.recv())
        if isinstance(frame, frames.Welcome):
            return frame
        if isinstance(frame, frames.Bye):
            raise SessionEndError(frame.reason or "the gateway said bye", code=frame.code)


async def _left(socket: ClientConnection) -> None:
    """Closed; also when the other side does not answer any more, or we are cancelled."""
    with anyio.CancelScope(shield=True):
        await socket.close()


def _end(closed: ConnectionClosed, *, greeted: bool = False) -> SessionEndError:
    if closed.rcvd is not None:
        reason = closed.rcvd.reason or f"closed with code {closed.rcvd.code}"
        return SessionEndError(reason, code=closed.rcvd.code)
    if closed.sent is not None and closed.sent.code == NO_PONG:
        return SessionEndError("the connection has stalled", stalled=True, greeted=greeted)
    return SessionEndError("the connection was cut", greeted=greeted)


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
