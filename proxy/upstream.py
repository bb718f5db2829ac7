"""Opens an upstream's answer and maps its failures to ours. The only HTTP on the hot path."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import aiohttp
import msgspec
from django.conf import settings
from yarl import URL

from proxy.adapters import anthropic, demo
from proxy.adapters.anthropic import Call
from proxy.routing import Target
from proxy.wire import message, sse
from proxy.wire.body import JSONObject

MAX_ANSWER_BYTES = 64 * 1024 * 1024  # a whole answer that is not streamed; more is a fault
DEMO_BYTES = 4 * 1024 * 1024  # it reads the whole body on the event loop
WHOLE_ANSWER_S = 600.0  # what the SDKs allow an answer that is not streamed


class UpstreamError(Exception):
    """The upstream gave no answer. The text names the upstream and may go to the client."""


class UpstreamUnreachableError(UpstreamError):
    """No connection, or it broke."""


class UpstreamTimeoutError(UpstreamError):
    """Connected, but silent for too long."""


class UpstreamRefusedUsError(UpstreamError):
    """It does not accept the operator's credential. Trying again does not help."""


class UpstreamNonsenseError(UpstreamError):
    """What it answered is no answer of the Messages API."""


class Source(Protocol):
    """Where the chunks of a stream come from."""

    async def read(self) -> bytes:
        """The next chunk; empty at the end. Cancelled, it loses nothing. Raises UpstreamError."""

    async def close(self) -> None:
        """Stop the upstream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An upstream's answer: a whole body, or a stream of which nothing is read yet."""

    status: int
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    body: bytes = b""
    source: Source | None = None


async def ask(target: Target, call: Call) -> Answer:
    """Send the call on. Raises UpstreamError; an upstream's own refusal is an Answer."""
    if target.upstream.kind == "demo":
        return await _ask_demo(call)
    return await _ask_http(target, call)


async def count_tokens(target: Target, call: Call) -> Answer:
    """The call's input tokens by the upstream that would answer it. Raises UpstreamError."""
    if target.upstream.kind == "demo":
        if len(call.body) > DEMO_BYTES:
            return _error(413, "request_too_large", f"The demo takes at most {DEMO_BYTES} bytes.")
        counted = {"input_tokens": demo.count_tokens(JSONObject.parse(call.body).decoded())}
        return Answer(status=200, body=msgspec.json.encode(counted))
    return await _ask_http(target, call)


async def _ask_http(target: Target, call: Call) -> Answer:
    name = target.upstream.name
    within_s = settings.UPSTREAM_ANSWER_S if call.stream else WHOLE_ANSWER_S
    try:
        async with asyncio.timeout(within_s):
            response = await _session().post(
                _url(target.upstream.base_url, call.path, call.query),
                data=call.body,
                headers=anthropic.outgoing_headers(call, target),
                allow_redirects=False,
            )
            return await _answer(name, response, call)
    except TimeoutError as error:
        raise UpstreamTimeoutError(f"The upstream {name} did not answer in time.") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # ValueError: an address or a credential that no request can be made of.
        raise UpstreamUnreachableError(f"The upstream {name} cannot be reached.") from error


async def _answer(name: str, response: aiohttp.ClientResponse, call: Call) -> Answer:
    headers = anthropic.returned_headers(response.headers)
    request_id = response.headers.get("request-id", "")
    content_type = response.headers.get("content-type", "")
    if not content_type.isascii():
        content_type = ""
    is_stream = call.stream and content_type.startswith("text/event-stream")
    if response.status == 200 and is_stream:
        return Answer(
            status=200,
            content_type=content_type,
            headers=headers,
            request_id=request_id,
            source=_HTTPSource(name, response),
        )
    try:
        body = await response.content.read(MAX_ANSWER_BYTES + 1)
        while chunk := await response.content.read(MAX_ANSWER_BYTES + 1 - len(body)):
            body += chunk
    finally:
        response.release() if response.content.at_eof() else response.close()
    _check(name, response.status, content_type, body)
    return Answer(
        status=response.status,
        content_type=content_type,
        headers=headers,
        request_id=request_id,
        body=body,
    )


def _check(name: str, status: int, content_type: str, body: bytes) -> None:
    if status == 401:
        # Passed on, it would tell the user that their own key is bad.
        raise UpstreamRefusedUsError(
            f"The upstream {name} does not accept this gateway's credential."
        )
    if len(body) > MAX_ANSWER_BYTES:
        raise UpstreamNonsenseError(
            f"The upstream {name} answered with more than {MAX_ANSWER_BYTES} bytes."
        )
    is_json = content_type.startswith("application/json")
    if not 200 <= status < 600 or 300 <= status < 400 or (status < 300 and not is_json):
        raise UpstreamNonsenseError(
            f"The upstream {name} answered {status} with {content_type[:50] or 'nothing'}."
        )


class _HTTPSource:
    """The chunks of an HTTP answer."""

    __slots__ = ("_name", "_response")

    def __init__(self, name: str, response: aiohttp.ClientResponse) -> None:
        self._name = name
        self._response = response

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise UpstreamUnreachableError(f"The upstream {self._name} broke off.") from error

    async def close(self) -> None:
        # Mid-stream this cuts the connection, which is how the upstream learns to stop.
        self._response.close()


async def _ask_demo(call: Call) -> Answer:
    if len(call.body) > DEMO_BYTES:
        return _error(413, "request_too_large", f"The demo takes at most {DEMO_BYTES} bytes.")
    events = demo.answer(JSONObject.parse(call.body).decoded())
    try:
        first = await anext(events, b"")
    except demo.Failure as failure:
        headers = {} if failure.retry_after is None else {"retry-after": str(failure.retry_after)}
        return _error(failure.status, failure.type, failure.message, headers)
    source = _DemoSource(first, events)
    if call.stream:
        return Answer(status=200, content_type="text/event-stream; charset=utf-8", source=source)
    return await _whole_demo(source)


async def _whole_demo(source: Source) -> Answer:
    """The demo's events as one message, or as the error that one of them is."""
    decoded = []
    while block := await source.read():
        decoded += [msgspec.json.decode(event.data) for event in sse.events(block)]
    try:
        return Answer(status=200, body=msgspec.json.encode(message.assemble(decoded)))
    except message.FailedStreamError as failure:
        return _error(500, failure.kind, failure.message)


def _error(status: int, kind: str, text: str, headers: Mapping[str, str] | None = None) -> Answer:
    body = {"type": "error", "error": {"type": kind, "message": text}}
    return Answer(status=status, headers=headers or {}, body=msgspec.json.encode(body))


class _DemoSource:
    """The events of the built-in demo."""

    def __init__(self, first: bytes, events: AsyncGenerator[bytes, None]) -> None:
        self._first = first
        self._events = events
        self._next: asyncio.Task[bytes] | None = None

    async def read(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._events, b""))
        # Whoever waits may be called away for a ping; the demo goes on.
        block = await asyncio.shield(self._next)
        self._next = None
        return block

    async def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])
        await self._events.aclose()


@lru_cache(maxsize=1024)  # a few upstreams times the few queries that clients send
def _url(base_url: str, path: str, query: str) -> URL:
    return URL(f"{base_url}{path}?{query}" if query else base_url + path, encoded=True)


_sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}  # until `shutdown`


def _session() -> aiohttp.ClientSession:
    """The running loop's connections. Bounds are per phase: a long answer may be long."""
    loop = asyncio.get_running_loop()
    session = _sessions.get(loop)
    if session is None:
        session = _sessions[loop] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=settings.UPSTREAM_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(
                total=None,
                connect=settings.UPSTREAM_CONNECT_S,
                sock_connect=settings.UPSTREAM_CONNECT_S,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("user-agent",),
        )
    return session


async def shutdown() -> None:
    """Close the running loop's connections, if it has any."""
    session = _sessions.pop(asyncio.get_running_loop(), None)
    if session is not None:
        await session.close()
