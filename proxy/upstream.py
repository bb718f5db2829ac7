"""Opens an upstream's answer and maps its failures to ours. The only HTTP on the hot path."""

import asyncio
import time
from dataclasses import replace
from functools import lru_cache

import aiohttp
import msgspec
from yarl import URL

from proxy import connections, demo
from proxy.adapters.anthropic import returned_headers
from proxy.adapters.language import Asked
from proxy.answer import (
    Answer,
    Source,
    UpstreamDroppedError,
    UpstreamNonsenseError,
    UpstreamRefusedUsError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from proxy.decoded import Decoded, understood, without
from proxy.languages import signer
from proxy.routing import Target
from proxy.wire import replay

MAX_ANSWER_BYTES = 64 * 1024 * 1024  # a whole answer that is not streamed; more is a fault
DROPPED_S = 1.0  # a connection that had been closed already is found out at once
LARGE_BYTES = 512 * 1024  # a whole answer that takes tens of milliseconds to translate
EVENTS = "text/event-stream; charset=utf-8"


async def ask(
    target: Target, asked: Asked, *, within_s: float, counting: bool = False, fresh: bool = False
) -> Answer:
    """Send the call on; its answer, in the words of the Messages API, must begin in time.

    A `fresh` connection is new, so it cannot have been closed meanwhile.
    Raises UpstreamError; an upstream's own refusal is an Answer.
    """
    upstream = target.upstream
    name = upstream.name
    if upstream.kind == "demo":
        answer = demo.count_tokens(asked) if counting else await demo.ask(asked)
        is_message = answer.source is None and answer.status == 200 and not counting
        return replace(answer, body=asked.message(answer.body)) if is_message else answer
    if target.problem:
        raise UpstreamRefusedUsError(
            f"The stored credential for the upstream {name} cannot be read in this gateway."
        ) from ValueError(target.problem)
    began = time.monotonic()
    try:
        async with asyncio.timeout(within_s):
            response = await _sent(target, asked, counting=counting, fresh=fresh)
            return await _answer(target, response, asked)
    except TimeoutError as error:
        raise UpstreamTimeoutError(f"The upstream {name} did not answer in time.") from error
    except aiohttp.ClientConnectorCertificateError as error:
        raise UpstreamUnreachableError(
            f"The certificate of the upstream {name} is not trusted."
        ) from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        # Later than that it may have worked on the request, and died of it.
        if connections.was_kept.get() and time.monotonic() - began < DROPPED_S:
            raise UpstreamDroppedError(f"The upstream {name} closed a connection.") from error
        raise UpstreamUnreachableError(f"The upstream {name} cannot be reached.") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # ValueError: an address or a credential that no request can be made of.
        raise UpstreamUnreachableError(f"The upstream {name} cannot be reached.") from error


async def _sent(
    target: Target, asked: Asked, *, counting: bool, fresh: bool
) -> aiohttp.ClientResponse:
    upstream = target.upstream
    connections.was_kept.set(False)
    response = await connections.session(upstream, counting=counting, fresh=fresh).post(
        _url(upstream.base_url, asked.path, asked.query),
        data=asked.body,
        headers=asked.headers,
        allow_redirects=False,
        ssl=connections.tls(upstream),
        timeout=connections.timeouts(upstream.connect_s),
    )
    connections.was_kept.set(False)  # it has answered: what breaks now is an answer
    return response


async def _answer(target: Target, response: aiohttp.ClientResponse, asked: Asked) -> Answer:
    name = target.upstream.name
    headers = returned_headers(response.headers)
    request_id = response.headers.get("request-id", "")
    content_type = _content_type(response)
    _refuse_compressed(name, response)
    if response.status == 200 and asked.stream and content_type.startswith("text/event-stream"):
        source: Source = _HTTPSource(name, response)
        return Answer(
            status=200,
            content_type=content_type if asked.decoder is None else EVENTS,
            headers=headers,
            request_id=request_id,
            source=source
            if asked.decoder is None
            else Decoded(source, asked.decoder, target.credential),
        )
    try:
        body = await _whole(response.content)
    finally:
        if response.content.at_eof():
            response.release()
        else:
            response.close()
    _check(target, response.status, content_type, body)
    status = response.status
    if status == 200:
        body = await _message(asked, body)
        if asked.stream and asked.decoder is not None:
            source = _Told(understood(replay.told, msgspec.json.decode(body), signer))
            return Answer(status=200, content_type=EVENTS, headers=headers, source=source)
    else:
        status, body = asked.refusal(status, without(target.credential, body))
    return Answer(
        status=status,
        said_status=response.status,
        content_type=content_type if body.strip()[:1] not in {b"{", b"["} else "application/json",
        headers=headers,
        request_id=request_id,
        body=body,
    )


async def _message(asked: Asked, body: bytes) -> bytes:
    if len(body) > LARGE_BYTES:
        return await asyncio.to_thread(understood, asked.message, body)
    return understood(asked.message, body)


def _content_type(response: aiohttp.ClientResponse) -> str:
    content_type = response.headers.get("content-type", "")
    return content_type if content_type.isascii() and content_type.isprintable() else ""


def _refuse_compressed(name: str, response: aiohttp.ClientResponse) -> None:
    """A megabyte may become a terabyte, and nobody asked for it."""
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        response.close()
        raise UpstreamNonsenseError(
            f"The upstream {name} answers with content-encoding {encoding[:30]!a}, "
            "although it was asked for identity."
        )


async def _whole(content: aiohttp.StreamReader) -> bytes:
    """The body, or a little more than we take of it."""
    body = bytearray()
    while len(body) <= MAX_ANSWER_BYTES and (chunk := await content.readany()):
        body += chunk
    return bytes(body)


def _check(target: Target, status: int, content_type: str, body: bytes) -> None:
    name = target.upstream.name
    if status == 401:
        # Passed on, it would tell the user that their own key is bad.
        whose = "your organization's own" if target.is_own else "this gateway's"
        is_unset = target.upstream.credential_variable and not target.credential
        raise UpstreamRefusedUsError(
            f"The credential for the upstream {name} is not set in this gateway."
            if is_unset
            else f"The upstream {name} does not accept {whose} credential."
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


class _Told:
    """A stream whose upstream answered in one piece."""

    __slots__ = ("_events",)

    def __init__(self, events: bytes) -> None:
        self._events = events

    async def read(self) -> bytes:
        events, self._events = self._events, b""
        return events

    async def close(self) -> None:
        """There is nothing to stop."""


@lru_cache(maxsize=1024)  # a few upstreams times the few queries that clients send
def _url(base_url: str, path: str, query: str) -> URL:
    return URL(f"{base_url}{path}?{query}" if query else base_url + path, encoded=True)
