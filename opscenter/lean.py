"""Django for /v1 without what costs: no thread, no signal, no temporary file, no middleware.

Django's stock handler starts a thread per request, sends two signals through it and spools the
body to disk before a view can look at its size. Here the body is bounded while it arrives.
"""

import asyncio
import logging
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

from billing import ledger
from proxy import errors
from proxy.errors import RefusedError
from proxy.views import EventStreamResponse

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

MAX_HEADERS = 200  # Claude Code sends about 25
MAX_HEADER_BYTES = 32 * 1024  # all names and values together; the usual bound of proxies
# A client that sends too much is read on for a while: one that is cut off never sees why.
READ_ON_BYTES = 64 * 1024 * 1024


class ClientLeftError(Exception):
    """Nobody is there to answer."""


class LeanHandler(ASGIHandler):
    """Runs the views of `proxy.urls` on the event loop."""

    def load_middleware(self, is_async: bool = False) -> None:
        """No middleware: what /v1 needs, `proxy.edge` does."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. A client that leaves cancels it, wherever it is."""
        try:
            body = await read_body(scope, receive)
        except ClientLeftError:
            return
        except RefusedError as error:
            await _refuse(scope, send, error)
            return
        loop = asyncio.get_running_loop()
        watch = loop.create_task(_cancel_when_gone(receive, asyncio.current_task(loop)))
        try:
            await self._work(scope, body, send)
        except asyncio.CancelledError:
            if not watch.done():
                raise  # the server itself is stopping
        finally:
            watch.cancel()

    async def _work(self, scope: Scope, body: bytes, send: Send) -> None:
        request = ASGIRequest(scope, BytesIO())
        request._body = body  # what HttpRequest.body keeps once it has read; it is bounded already
        match = get_resolver("proxy.urls").resolve(request.path_info)
        response = await match.func(request, *match.args, **match.kwargs)
        if response.status_code >= 400:
            _log(scope, response.status_code, response.headers.get("request-id", ""))
        if isinstance(response, EventStreamResponse):
            await _send_stream(response, send)
        else:
            await _send_whole(response, send)


async def _send_whole(response: HttpResponse, send: Send) -> None:
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


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body, in memory. Raises RefusedError past a bound, ClientLeftError."""
    headers = scope["headers"]
    declared = _declared_length(headers)
    limit = settings.BODY_MAX_BYTES
    chunks: list[bytes] = []
    size = 0
    deadline = asyncio.get_running_loop().time() + settings.BODY_TOTAL_S
    more = True
    while more and size <= limit + READ_ON_BYTES and declared <= limit + READ_ON_BYTES:
        message = await _next_part(receive, deadline)
        part = message.get("body", b"")
        size += len(part)
        if size <= limit:
            chunks.append(part)
        more = message.get("more_body", False)
    if size > limit or declared > limit:
        raise RefusedError(
            413,
            "request_too_large",
            f"The request body is larger than {limit} bytes.",
            connection="close",
        )
    return b"".join(chunks)


def _declared_length(headers: list[tuple[bytes, bytes]]) -> int:
    """The content-length, 0 where there is none. Raises RefusedError for headers we do not take."""
    if len(headers) > MAX_HEADERS:
        _refuse_headers(f"The request has more than {MAX_HEADERS} headers.")
    length = total = 0
    for name, value in headers:
        total += len(name) + len(value)
        if name == b"content-length" and value.isdigit():
            length = int(value[:19])
        elif name == b"content-encoding" and value.lower() not in {b"", b"identity"}:
            coding = value[:50].decode("ascii", "replace")
            raise RefusedError(
                415,
                "invalid_request_error",
                f"content-encoding: {coding} is not supported; send plain bytes.",
            )
    if total > MAX_HEADER_BYTES:
        _refuse_headers(f"The request's headers are larger than {MAX_HEADER_BYTES} bytes together.")
    return length


def _refuse_headers(text: str) -> None:
    raise RefusedError(431, "invalid_request_error", text, connection="close")


async def _next_part(receive: Receive, deadline: float) -> Mapping[str, Any]:
    left_s = deadline - asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(min(settings.BODY_IDLE_S, left_s)):
            message = await receive()
    except TimeoutError:
        raise RefusedError(
            408,
            "timeout_error",
            "The rest of the request body did not arrive in time.",
            connection="close",
        ) from None
    if message["type"] == "http.disconnect":
        raise ClientLeftError
    return message


async def _refuse(scope: Scope, send: Send, error: RefusedError) -> None:
    """Answer what never reached a view."""
    request_id = f"req_{ledger.new_id().hex}"
    meaning = error.meaning
    _log(scope, meaning.status, request_id)
    body = msgspec.json.encode(errors.envelope(meaning.kind, str(error), request_id))
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "request-id": request_id,
        **meaning.headers,
    }
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": meaning.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _log(scope: Scope, status: int, request_id: str) -> None:
    # Refusals only: what was served stands in the ledger. Never the body, never a header.
    log.info("%s %s %d %s", scope["method"], ascii(scope["path"][:200]), status, request_id)
