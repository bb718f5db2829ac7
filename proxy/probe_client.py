"""One small request to an upstream because somebody asked, with every bound it needs."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import httpx

from accounts.networks import is_off_limits
from proxy.adapters import anthropic
from proxy.routing import UpstreamConfig

CONNECT_S = 2.0  # a server that is there says so at once
TOTAL_S = 10.0  # somebody waits at a page for the finding
MAX_BYTES = 1024 * 1024  # the longest list of models that is read; the largest hub's is half of it
MAX_ADDRESSES = 4  # of one name; each may cost CONNECT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back, with the first MAX_BYTES of its body."""

    status: int
    is_html: bool
    location: str
    body: bytes


class NoReplyError(Exception):
    """Nobody was asked, or nobody answered. `detail` is for operators alone."""

    def __init__(self, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.detail = detail


async def ask(config: UpstreamConfig, method: str, path: str, body: bytes = b"") -> Reply:
    """The reply from the first address of the name that takes a connection.

    Raises NoReplyError. Has no bound in all: give it TOTAL_S.
    """
    try:
        parts = urlsplit(config.base_url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError) as error:
        raise NoReplyError("Its address is none of an http or https server.") from error
    addresses = await _addresses(parts.hostname or "", port, config)
    async with httpx.AsyncClient(
        verify=_tls(config),
        timeout=httpx.Timeout(TOTAL_S, connect=CONNECT_S),
        follow_redirects=False,
        trust_env=False,
    ) as client:
        for number, address in enumerate(addresses, start=1):
            request = _request(client, config, (method, f"{address}:{port}", path), parts, body)
            try:
                return await _reply(client, request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if number == len(addresses):
                    raise _unconnected(error) from error
    raise AssertionError("a name has at least one address")


async def _addresses(host: str, port: int, config: UpstreamConfig) -> list[str]:
    """Where the name leads, as literals for an address. Asked once, so that no second answer of
    the name server can lead where the first was not allowed to."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NoReplyError("Its host name is not known here.", f"({host})") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))[:MAX_ADDRESSES]
    if not config.private_networks and (bad := [a for a in addresses if is_off_limits(a)]):
        raise NoReplyError(
            "Its name leads to a link-local or metadata address, which is not allowed.",
            f"({bad[0]}; --link-local allows it.)",
        )
    return [f"[{address}]" if ":" in address else address for address in addresses]


def _tls(config: UpstreamConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=config.tls_ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise NoReplyError("Its own CA cannot be read: enter certificates in PEM.") from error
    if not config.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _request(
    client: httpx.AsyncClient,
    config: UpstreamConfig,
    where: tuple[str, str, str],
    parts: SplitResult,
    body: bytes,
) -> httpx.Request:
    method, place, path = where
    try:
        named = httpx.URL(config.base_url)  # with an international name in its ASCII form
        return client.build_request(
            method,
            f"{parts.scheme}://{place}{parts.path.rstrip('/')}{path}",
            headers={
                "accept": "application/json",
                "accept-encoding": "identity",
                "anthropic-version": anthropic.DEFAULT_VERSION,
                "user-agent": "ops-center",
                **({"content-type": "application/json"} if body else {}),
                **config.headers,
                "host": named.netloc.decode(),
                **_credential(config),
            },
            content=body or None,
            # The address is a number by now; the certificate is still judged by the name.
            extensions={"sni_hostname": named.raw_host.decode()},
        )
    except (httpx.InvalidURL, UnicodeError) as error:
        raise _unsendable() from error


def _unsendable() -> NoReplyError:
    return NoReplyError("Its address, headers or credential cannot be sent.")


def _credential(config: UpstreamConfig) -> dict[str, str]:
    header = "authorization" if config.kind == "openai" else config.credential_header
    return anthropic.shown_credential(header, config.credential)


async def _reply(client: httpx.AsyncClient, request: httpx.Request) -> Reply:
    try:
        response = await client.send(request, stream=True)
        try:
            return await _read(response)
        finally:
            await response.aclose()
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise
    except (httpx.LocalProtocolError, UnicodeError) as error:
        raise _unsendable() from error
    except (httpx.HTTPError, OSError) as error:
        raise NoReplyError("It took the connection, but did not answer in HTTP.") from error


async def _read(response: httpx.Response) -> Reply:
    body = bytearray()
    if response.is_success or response.status_code == 404:  # no other body is looked at
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_BYTES:
                break
    return Reply(
        status=response.status_code,
        is_html="html" in response.headers.get("content-type", "").lower(),
        location=response.headers.get("location", ""),
        body=bytes(body[:MAX_BYTES]),
    )


def _unconnected(error: Exception) -> NoReplyError:
    """Why there was no connection, as far as it can be told."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NoReplyError("Its certificate is not trusted.", f"({cause.verify_message})")
        if isinstance(cause, ssl.SSLError):
            return NoReplyError("It does not speak TLS there: is its address http://?")
        if isinstance(cause, ConnectionRefusedError):
            return NoReplyError("Nobody listens at its address and port.")
    if isinstance(error, httpx.ConnectTimeout):
        return NoReplyError(f"It took no connection within {CONNECT_S:.0f} seconds.")
    return NoReplyError("There is no way to its address from here.")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
