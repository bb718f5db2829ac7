"""Opens an upstream's answer and maps its failures to ours. The only HTTP on the hot path."""

import asyncio
from functools import lru_cache

import aiohttp
from django.conf import settings
from yarl import URL

from proxy import demo
from proxy.adapters import anthropic
from proxy.adapters.anthropic import Call
from proxy.answer import (
    Answer,
    UpstreamNonsenseError,
    UpstreamRefusedUsError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from proxy.routing import Target, UpstreamConfig

MAX_ANSWER_BYTES = 64 * 1024 * 1024  # a whole answer that is not streamed; more is a fault
WHOLE_ANSWER_S = 600.0  # what the SDKs allow an answer that is not streamed


async def ask(target: Target, call: Call) -> Answer:
    """Send the call on. Raises UpstreamError; an upstream's own refusal is an Answer."""
    if target.upstream.kind == "demo":
        return await demo.ask(call)
    return await _ask_http(target, call)


async def count_tokens(target: Target, call: Call) -> Answer:
    """The call's input tokens by the upstream that would answer it. Raises UpstreamError."""
    if target.upstream.kind == "demo":
        return demo.count_tokens(call)
    return await _ask_http(target, call)


async def _ask_http(target: Target, call: Call) -> Answer:
    upstream = target.upstream
    name = upstream.name
    within_s = settings.UPSTREAM_ANSWER_S if call.stream else WHOLE_ANSWER_S
    try:
        async with asyncio.timeout(within_s):
            response = await _session().post(
                _url(target.upstream.base_url, call.path, call.query),
                data=call.body,
                headers=anthropic.outgoing_headers(call, target),
                allow_redirects=False,
            )
            return await _answer(upstream, response, call)
    except TimeoutError as error:
        raise UpstreamTimeoutError(f"The upstream {name} did not answer in time.") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # ValueError: an address or a credential that no request can be made of.
        raise UpstreamUnreachableError(f"The upstream {name} cannot be reached.") from error


async def _answer(upstream: UpstreamConfig, response: aiohttp.ClientResponse, call: Call) -> Answer:
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
            source=_HTTPSource(upstream.name, response),
        )
    try:
        body = await _whole(response.content)
    finally:
        if response.content.at_eof():
            response.release()
        else:
            response.close()
    _check(upstream, response.status, content_type, body)
    return Answer(
        status=response.status,
        content_type=content_type,
        headers=headers,
        request_id=request_id,
        body=body,
    )


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """The body, or a little more than we take of it."""
    body = bytearray()
    while len(body) <= MAX_ANSWER_BYTES and (chunk := await content.readany()):
        body += chunk
    return bytes(body)


def _check(upstream: UpstreamConfig, status: int, content_type: str, body: bytes) -> None:
    name = upstream.name
    if status == 401:
        # Passed on, it would tell the user that their own key is bad.
        is_unset = upstream.credential_variable and not upstream.credential
        raise UpstreamRefusedUsError(
            f"The credential for the upstream {name} is not set in this gateway."
            if is_unset
            else f"The upstream {name} does not accept this gateway's credential."
        )
    if len(body) > MAX_ANSWER_BYTES:
        raise UpstreamNonsenseError(
            f"The upstream {name} answered with more than {MAX_ANSWER_BYTES} bytes."
        )
    is_message = status == 200 and content_type.startswith("application/json")
    if not is_message and not 400 <= status < 600:
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
