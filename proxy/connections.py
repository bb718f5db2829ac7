"""Connections to upstreams: pools, TLS, and names that lead where nobody should go."""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.resolver import ThreadedResolver
from django.conf import settings

from accounts.networks import is_off_limits
from proxy.addresses import literal_off_limits
from proxy.routing import UpstreamConfig

MOST_INFORMATIONAL = 20  # 100 Continue, 103 Early Hints and their like before one answer
LOOK_BYTES = 4096  # of an answer that is only looked at
COUNTING = 100  # connections that count tokens at once; they wait for no message

# Whether the connection of this task's request had served another one before.
was_kept: ContextVar[bool] = ContextVar("was_kept", default=False)


class OffLimitsError(OSError):
    """The upstream's name leads to a link-local or metadata address."""


class _GuardedResolver(AbstractResolver):
    """Looks at what a name leads to at the very moment of connecting: it may have changed."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if any(is_off_limits(each["host"]) for each in found):
            raise OffLimitsError(f"{host} leads to a link-local or metadata address")
        return found

    async def close(self) -> None:
        await self._resolver.close()


class _Protocol(ResponseHandler):
    """Reads answers; an endless row of 1xx, which say nothing, is none."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._informational = 0

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take the head of an answer."""
        self._informational = self._informational + 1 if data[0].code < 200 else 0
        if self._informational <= MOST_INFORMATIONAL:
            super().feed_data(data, size)
        elif self._informational == MOST_INFORMATIONAL + 1:
            self.close()
            self.set_exception(aiohttp.ClientPayloadError("more 1xx than anybody needs"))


class _Connector(aiohttp.TCPConnector):
    """Remembers which connections are not new: only these may be gone without being asked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        factory: Any = partial(_Protocol, loop=self._loop)
        self._factory = factory
        self._seen: WeakSet[Any] = WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        connection = await super().connect(req, traces, timeout)
        protocol = connection.protocol
        is_kept = protocol in self._seen
        was_kept.set(is_kept)
        if not is_kept:
            self._seen.add(protocol)
        return connection


Lane = tuple[asyncio.AbstractEventLoop, bool, bool, bool]
_sessions: dict[Lane, aiohttp.ClientSession] = {}  # until `shutdown`


def session(upstream: UpstreamConfig, *, counting: bool, fresh: bool) -> aiohttp.ClientSession:
    """The running loop's connections for such a call. Bounds are per phase, set by each call.

    A `fresh` connection has served nobody before. Raises OffLimitsError.
    """
    if not upstream.private_networks and literal_off_limits(upstream.base_url):
        raise OffLimitsError(f"{upstream.base_url} is a link-local or metadata address")
    lane = (asyncio.get_running_loop(), upstream.private_networks, counting, fresh)
    found = _sessions.get(lane)
    if found is None:
        found = _sessions[lane] = aiohttp.ClientSession(
            connector=_Connector(
                limit=COUNTING if counting else settings.UPSTREAM_CONNECTIONS,
                force_close=fresh,
                resolver=None if upstream.private_networks else _GuardedResolver(),
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("user-agent",),
            auto_decompress=False,  # a small answer must not become a large one in our memory
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was found at one of an upstream's paths: a status, and what the body begins with."""

    status: int
    body: bytes


async def answers(upstream: UpstreamConfig) -> bool:
    """Whether something answers at its address, whatever it says. The demo always does."""
    return not upstream.base_url or await look(upstream, "") is not None


async def look(
    upstream: UpstreamConfig,
    path: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Look | None:
    """What answers at one path, to a GET or to a POST of `body`; None where nothing does."""
    try:
        response = await session(upstream, counting=True, fresh=True).request(
            "GET" if body is None else "POST",
            upstream.base_url + path,
            data=body,
            headers=headers,
            allow_redirects=False,
            ssl=tls(upstream),
            timeout=timeouts(upstream.connect_s),
        )
        try:
            # A few bytes are enough: a body may have no end. Of a GET the status is.
            begun = b"" if body is None else await response.content.read(LOOK_BYTES)
        finally:
            response.close()
    except (aiohttp.ClientError, OSError, ValueError):
        return None
    return Look(status=response.status, body=begun)


def tls(upstream: UpstreamConfig) -> ssl.SSLContext | bool:
    """What to trust when talking to this upstream. Raises ssl.SSLError for a bad certificate."""
    if not upstream.tls_verify:
        return False
    return _trusting(upstream.tls_ca) if upstream.tls_ca else True


@lru_cache(maxsize=64)
def _trusting(ca: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=ca)


@lru_cache(maxsize=64)
def timeouts(connect_s: float | None) -> aiohttp.ClientTimeout:
    """The bound of connecting; those of the later phases are the caller's own."""
    seconds = settings.UPSTREAM_CONNECT_S if connect_s is None else connect_s
    return aiohttp.ClientTimeout(total=None, connect=seconds, sock_connect=seconds)


async def shutdown() -> None:
    """Close the running loop's connections, if it has any."""
    loop = asyncio.get_running_loop()
    for lane in [lane for lane in _sessions if lane[0] is loop]:
        await _sessions.pop(lane).close()
