"""One question to an upstream, because somebody asked: whether it is there and knows us."""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx

from proxy.adapters import anthropic
from proxy.addresses import is_off_limits
from proxy.routing import UpstreamConfig

CONNECT_S = 2.0  # a server that is there says so at once
TOTAL_S = 10.0  # somebody waits at a page for the finding
MAX_BYTES = 1024 * 1024  # the longest list of models that is read; the largest hub's is half of it
MAX_ADDRESSES = 4  # of one name; each may cost CONNECT_S
SHOWN = 5  # so many models are named; the rest are counted
MODEL_CHARS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of asking.

    `text` names no address, so a tenant may read it; `detail` is for operators alone.
    """

    ok: bool
    reachable: bool
    text: str
    detail: str = ""
    credential: str = "unknown"  # accepted, refused, none or unknown
    models: tuple[str, ...] = ()  # the first SHOWN
    count: int = 0
    ms: int = 0

    def __str__(self) -> str:
        return f"{self.text} {self.detail}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reply:
    status: int
    is_html: bool
    location: str
    body: bytes


class _NoReplyError(Exception):
    """Nobody was asked, or nobody answered. `detail` is for operators alone."""

    def __init__(self, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.detail = detail


async def tested(config: UpstreamConfig) -> Finding:
    """Ask an upstream for its models. It is given TOTAL_S."""
    if config.kind == "demo":
        return Finding(ok=True, reachable=True, text="It is built in.", credential="none")
    if config.problem:
        return Finding(ok=False, reachable=False, text=config.problem)
    started = time.monotonic()
    try:
        async with asyncio.timeout(TOTAL_S):
            finding = _found(config, await _asked(config))
    except TimeoutError:
        finding = _away(f"It did not answer within {TOTAL_S:.0f} seconds.")
    except _NoReplyError as error:
        finding = _away(str(error), error.detail)
    if config.credential_variable and not config.credential:
        unset = f"(${config.credential_variable} is not set in this gateway.)"
        finding = replace(finding, detail=f"{finding.detail} {unset}".strip())
    return replace(finding, ms=round((time.monotonic() - started) * 1000))


def _away(text: str, detail: str = "") -> Finding:
    return Finding(ok=False, reachable=False, text=text, detail=detail)


async def _asked(config: UpstreamConfig) -> _Reply:
    """The reply from the first address of the name that takes a connection."""
    try:
        parts = urlsplit(config.base_url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError) as error:
        raise _NoReplyError("Its address is none of an http or https server.") from error
    addresses = await _addresses(parts.hostname or "", port, config)
    async with httpx.AsyncClient(
        verify=_tls(config),
        timeout=httpx.Timeout(TOTAL_S, connect=CONNECT_S),
        follow_redirects=False,
        trust_env=False,
    ) as client:
        for number, address in enumerate(addresses, start=1):
            try:
                return await _reply(client, config, parts, f"{address}:{port}")
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
        raise _NoReplyError("Its host name is not known here.", f"({host})") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))[:MAX_ADDRESSES]
    if not config.private_networks and (bad := [a for a in addresses if is_off_limits(a)]):
        raise _NoReplyError(
            "Its name leads to a link-local or metadata address, which is not allowed.",
            f"({bad[0]})",
        )
    return [f"[{address}]" if ":" in address else address for address in addresses]


def _tls(config: UpstreamConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=config.tls_ca or None)
    except (ssl.SSLError, ValueError) as error:
        raise _NoReplyError("Its own CA cannot be read: enter certificates in PEM.") from error
    if not config.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _reply(
    client: httpx.AsyncClient, config: UpstreamConfig, parts: SplitResult, place: str
) -> _Reply:
    try:
        named = httpx.URL(config.base_url)  # with an international name in its ASCII form
        headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "anthropic-version": anthropic.DEFAULT_VERSION,
            "user-agent": "ops-center",
            **config.headers,
            "host": named.netloc.decode(),
            **_credential(config),
        }
        request = client.build_request(
            "GET",
            f"{parts.scheme}://{place}{parts.path.rstrip('/')}/v1/models",
            headers=headers,
            # The address is a number by now; the certificate is still judged by the name.
            extensions={"sni_hostname": named.raw_host.decode()},
        )
        response = await client.send(request, stream=True)
        try:
            return await _read(response)
        finally:
            await response.aclose()
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise
    except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError) as error:
        raise _NoReplyError("Its address, headers or credential cannot be sent.") from error
    except (httpx.HTTPError, OSError) as error:
        text = "It took the connection, but did not answer in HTTP."
        raise _NoReplyError(text) from error


def _credential(config: UpstreamConfig) -> dict[str, str]:
    header = "authorization" if config.kind == "openai" else config.credential_header
    return anthropic.shown_credential(header, config.credential)


async def _read(response: httpx.Response) -> _Reply:
    body = bytearray()
    if response.is_success:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_BYTES:
                break
    return _Reply(
        status=response.status_code,
        is_html="html" in response.headers.get("content-type", "").lower(),
        location=response.headers.get("location", ""),
        body=bytes(body),
    )


def _unconnected(error: Exception) -> _NoReplyError:
    """Why there was no connection, as far as it can be told."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _NoReplyError("Its certificate is not trusted.", f"({cause.verify_message})")
        if isinstance(cause, ssl.SSLError):
            return _NoReplyError("It does not speak TLS there: is its address http://?")
        if isinstance(cause, ConnectionRefusedError):
            return _NoReplyError("Nobody listens at its address and port.")
    if isinstance(error, httpx.ConnectTimeout):
        return _NoReplyError(f"It took no connection within {CONNECT_S:.0f} seconds.")
    return _NoReplyError("There is no way to its address from here.")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _found(config: UpstreamConfig, reply: _Reply) -> Finding:
    status = reply.status
    if 200 <= status < 300:
        return _listed(config, reply)
    if 300 <= status < 400:
        text = f"It redirects elsewhere ({status}): enter the address where it is."
        return Finding(ok=False, reachable=True, text=text, detail=_place(reply.location))
    if status in {401, 403}:
        return _refused(config, status)
    if status in {404, 405, 501}:
        text = f"It is there, but has no list of models ({status})."
        return Finding(ok=True, reachable=True, text=text)
    if status == 429:
        return Finding(ok=True, reachable=True, text="It is there, but asks to wait (429).")
    text = f"Something is there, but answers with status {status}."
    return Finding(ok=False, reachable=True, text=text)


def _place(location: str) -> str:
    """Where a redirect leads, without what may be secret in it."""
    try:
        parts = urlsplit(location)
        there = f"({parts.scheme}://{parts.hostname}{parts.path})"[:200]
        return there if parts.hostname and there.isprintable() else ""
    except ValueError:
        return ""


def _refused(config: UpstreamConfig, status: int) -> Finding:
    if config.credential:
        text = f"It is there, but refuses the credential ({status})."
        return Finding(ok=False, reachable=True, text=text, credential="refused")
    text = f"It is there, but wants a credential ({status})."
    return Finding(ok=False, reachable=True, text=text, credential="none")


def _listed(config: UpstreamConfig, reply: _Reply) -> Finding:
    if reply.is_html:
        text = "Something is there, but answers with a web page: is the address right?"
        return Finding(ok=False, reachable=True, text=text)
    credential = "accepted" if config.credential else "none"
    names = _names(reply.body)
    if names is None:
        text = "It is there, but lists its models in no shape that is known."
        return Finding(ok=True, reachable=True, text=text, credential=credential)
    accepted = " and takes the credential" if config.credential else ""
    more = ", …" if len(names) > SHOWN else ""
    shown = tuple(name[:MODEL_CHARS] for name in names[:SHOWN])
    count = f"{len(names)} model{'s' * (len(names) != 1)}"
    listed = f": {', '.join(shown)}{more}" if names else ""
    return Finding(
        ok=True,
        reachable=True,
        text=f"It is there{accepted}. It lists {count}{listed}.",
        credential=credential,
        models=shown,
        count=len(names),
    )


def _names(body: bytes) -> list[str] | None:
    """The models of a list in the shape of OpenAI's or Anthropic's; None for any other shape."""
    try:
        parsed: Any = json.loads(body)
        entries = parsed["data"]
        names = [entry["id"] for entry in entries]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    # They are printed to terminals and pages.
    return [name for name in names if isinstance(name, str) and name.isprintable()]
