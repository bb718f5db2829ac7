"""Django without what costs: no thread, no signal, no temporary file, no middleware.

For /v1, and for the paths under /api/mcp that carry tool calls.

Django's stock handler starts a thread per request, sends two signals through it and spools the
body to disk before a view can look at its size. Here the body is bounded while it arrives.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from io import BytesIO
from typing import Any

import msgspec
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import get_resolver

from accounts.auth import CredentialError, ScopeError
from accounts.principal import Principal
from accounts.reads import DatabaseAwayError
from billing import ledger
from mcp.views import refusals
from opscenter import http_metrics
from opscenter.intake import ClientLeftError, Receive, Scope, Send, read_body
from proxy import edge, errors
from proxy.errors import RefusedError
from proxy.views import EventStreamResponse
from proxy.wire import sse

log = logging.getLogger(__name__)

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

STOPPING = "This gateway is restarting. Try again in a moment."
STOPPED = ("overloaded_error", STOPPING)
# Read of a body before we know who sends it: enough to answer a client that made a mistake.
STRANGER_BYTES = 64 * 1024
# For a small body, of which we may not know who sends it: whoever drips it holds a connection.
SMALL_BODY_S = 20.0


Refuse = Callable[[Exception, ledger.RecordId], HttpResponse]
Identify = Callable[[Scope], Awaitable[Principal]]


class LeanHandler(ASGIHandler):
    """Runs the views of `urls` on the event loop, for bodies of at most `most_bytes`.

    What reaches no view is answered by `refuse`, in the shape of the views' own refusals.
    """

    def __init__(
        self,
        urls: str,
        most_bytes: int,
        refuse: Refuse = edge.refusal,
        identify: Identify = edge.caller_of,
    ) -> None:
        super().__init__()
        self._urls, self._most_bytes = urls, most_bytes
        self._refusal, self._identify = refuse, identify

    def load_middleware(self, is_async: bool = False) -> None:
        """No middleware: what these views need, their own edges do."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. A client that leaves cancels it, wherever it is."""
        answer = Sending(send, self._refusal)
        try:
            await self._answer(scope, receive, answer)
        finally:
            answer.count()

    async def _answer(self, scope: Scope, receive: Receive, answer: "Sending") -> None:
        try:
            body = await _body(scope, receive, self._most_bytes, self._identify)
        except ClientLeftError:
            return
        except Exception as error:  # before any view: it is answered as the views would
            await _refuse(error, scope, answer, self._refusal)
            return
        loop = asyncio.get_running_loop()
        watch = loop.create_task(_cancel_when_gone(receive, asyncio.current_task(loop)))
        try:
            await self._work(scope, body, answer)
        except asyncio.CancelledError:
            if not watch.done():
                await answer.say_we_stop()
        finally:
            watch.cancel()

    async def _work(self, scope: Scope, body: bytes, send: "Sending") -> None:
        request = ASGIRequest(scope, BytesIO())
        request._body = body  # what HttpRequest.body keeps once it has read; it is bounded already
        match = get_resolver(self._urls).resolve(request.path_info)
        send.route = match.route
        response = await match.func(request, *match.args, **match.kwargs)
        if isinstance(response, EventStreamResponse):
            await _send_stream(response, send)
        else:
            await _send_whole(response, scope, send)


def tunnel_refusal(error: Exception, request_id: ledger.RecordId) -> HttpResponse:
    """What this handler itself refuses, in the shape of the tunnel's views."""
    if isinstance(error, RefusedError):
        error = refusals.EdgeError(error.meaning.status, str(error), error.meaning.headers)
    return refusals.refusal(error, request_id)


class Sending:
    """The server's `send`, which remembers how far the answer has come."""

    def __init__(self, send: Send, refuse: Refuse) -> None:
        self._send = send
        self._refusal = refuse
        self._started = False
        self._ended = False
        self._since = time.monotonic()
        self._status = 0
        self.route = http_metrics.UNREAD

    async def __call__(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            self._status = message["status"]
        else:
            self._ended = not message.get("more_body", False)
        await self._send(message)

    def count(self) -> None:
        """Count the answer, if there was one: a client may leave before."""
        if self._started:
            http_metrics.answered(self.route, self._status, time.monotonic() - self._since)

    async def say_we_stop(self) -> None:
        """The last words to a client whose answer is not complete when the server must stop."""
        if not self._started:
            error = RefusedError(503, "overloaded_error", STOPPING, retry_after="1")
            whole = self._refusal(error, ledger.new_id())
            await self(_start(whole) | {"headers": [*_headers(whole), _length(whole.content)]})
            await self({"type": "http.response.body", "body": whole.content})
        elif not self._ended:  # a stream: whole answers go out without a pause
            last = sse.encode("error", msgspec.json.encode(errors.envelope(*STOPPED)))
            await self({"type": "http.response.body", "body": last})


async def _body(
    scope: Scope, receive: Receive, most_bytes: int, identify: Identify = edge.caller_of
) -> bytes:
    """The body, once we know whose it is: a stranger cannot make us hold megabytes."""
    try:
        scope["caller"] = await identify(scope)
    except (CredentialError, ScopeError, DatabaseAwayError) as error:
        scope["caller"] = error  # for the view: some are open to all
        try:
            return await read_body(scope, receive, limit=STRANGER_BYTES, within_s=SMALL_BODY_S)
        except RefusedError as refusal:
            raise (error if refusal.meaning.status == 413 else refusal) from None
    return await read_body(scope, receive, limit=most_bytes)


async def within_bounds(site: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """Run Django's own handler on a body that is here already: it would spool any to disk."""
    try:
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = await read_body(scope, receive, limit=most, within_s=SMALL_BODY_S)
    except ClientLeftError:
        return
    except RefusedError as error:
        await _refuse(error, scope, send, edge.refusal)
        return
    parts: list[Mapping[str, Any]] = [{"type": "http.request", "body": body}]

    async def replay() -> Mapping[str, Any]:
        return parts.pop() if parts else await receive()

    await site(scope, replay, send)


async def _refuse(error: Exception, scope: Scope, send: Send, refuse: Refuse) -> None:
    """Answer what reached no view. The connection may hold the rest of a body, so it ends here."""
    response = refuse(error, ledger.new_id())
    response.headers["connection"] = "close"
    await _send_whole(response, scope, send)


async def _send_whole(response: HttpResponse, scope: Scope, send: Send) -> None:
    if response.status_code >= 400:
        _log(scope, response.status_code, response.headers["request-id"])
    await send(_start(response) | {"headers": [*_headers(response), _length(response.content)]})
    await send({"type": "http.response.body", "body": response.content})


async def _send_stream(response: EventStreamResponse, send: Send) -> None:
    async with aclosing(response.stream) as blocks:
        await send(_start(response) | {"headers": _headers(response)})
        async for block in blocks:
            # The server waits here while the client does not read, and so does the upstream.
            await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _start(response: HttpResponseBase) -> dict[str, Any]:
    return {"type": "http.response.start", "status": response.status_code}


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    return [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in response.items()]


def _length(content: bytes) -> tuple[bytes, bytes]:
    return b"content-length", str(len(content)).encode()


async def _cancel_when_gone(receive: Receive, work: asyncio.Task[Any] | None) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    if work is not None:
        work.cancel()


def _log(scope: Scope, status: int, request_id: str) -> None:
    # Refusals only: what was served stands in the ledger. Never the body, never a header.
    log.info("%s %s %d %s", scope["method"], ascii(scope["path"][:200]), status, request_id)
