"""Connections to one server that a user named: only to addresses that were judged, each time."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from accounts import trust
from mcp.targets import UNKNOWN_HOST, WEB_PORTS, Allowed, BadTargetError, Target, judge

CONNECT_S = 5.0  # a server that is there says so at once
MAX_ADDRESSES = 4  # of one name; each may cost CONNECT_S
RESOLVERS = 4  # names of users' servers may be slow to look up; nobody else waits behind them
MOST_CONNECTIONS = 32  # to one server: more calls than one user's connector may have at once
KEPT_S = 4.0  # an idle connection; servers close theirs after 5 s, and a call must not meet that

Resolve = Callable[[str, int], Awaitable[list[str]]]

_resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="mcp-resolver")


async def resolve(host: str, port: int) -> list[str]:
    """The addresses that a name leads to. Raises BadTargetError where it is not known."""
    look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        async with asyncio.timeout(CONNECT_S):
            found = await asyncio.get_running_loop().run_in_executor(_resolvers, look)
    except (OSError, UnicodeError) as error:  # also TimeoutError
        raise BadTargetError(UNKNOWN_HOST) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Dialing(httpx.AsyncBaseTransport):
    """Looks up the name, judges the addresses, and connects to the very ones it judged.

    A second look at the name server could lead elsewhere. The certificate and `Host` still go by
    the name.
    """

    def __init__(
        self, target: Target, allow: Allowed, resolve: Resolve, trusted: ssl.SSLContext
    ) -> None:
        self._target = target
        self._allow = allow
        self._resolve = resolve
        self._inner = httpx.AsyncHTTPTransport(
            verify=trusted,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=MOST_CONNECTIONS,
                max_keepalive_connections=2,
                keepalive_expiry=KEPT_S,
            ),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it. Raises BadTargetError besides what httpx does."""
        port = request.url.port or WEB_PORTS.get(request.url.scheme)
        asked = (request.url.scheme, request.url.raw_host.decode(), port)
        if asked != (self._target.scheme, self._target.host, self._target.port):
            raise BadTargetError("The request would go to another host.")
        addresses = await self._addresses()
        for address in addresses[:-1]:
            try:
                return await self._send(request, address)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._send(request, addresses[-1])

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    async def _addresses(self) -> list[str]:
        found = await self._resolve(self._target.host, self._target.port)
        refusal = BadTargetError(UNKNOWN_HOST)
        good = []
        for address in found[:MAX_ADDRESSES]:
            try:
                judge(self._target, address, self._allow)
            except BadTargetError as error:
                refusal = error
            else:
                good.append(address)
        if not good:
            raise refusal
        return good

    async def _send(self, request: httpx.Request, address: str) -> httpx.Response:
        return await self._inner.handle_async_request(
            httpx.Request(
                request.method,
                request.url.copy_with(host=address, port=self._target.port),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": self._target.host},
            )
        )


def client(
    target: Target,
    allow: Allowed,
    *,
    silent_s: float,
    resolve: Resolve = resolve,
    trusted: ssl.SSLContext | None = None,
) -> httpx.AsyncClient:
    """A client for this one server that follows no redirect and keeps no cookie.

    `silent_s` bounds a silence within an answer.
    """
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.AsyncClient(
        transport=Dialing(target, allow, resolve, trusted or trust.context()),
        timeout=httpx.Timeout(silent_s, connect=CONNECT_S, pool=CONNECT_S, write=CONNECT_S),
        follow_redirects=False,
        trust_env=False,
        cookies=no_cookies,
        # A small answer must not become a large one in our memory.
        headers={"accept-encoding": "identity", "user-agent": "ops-center"},
    )
