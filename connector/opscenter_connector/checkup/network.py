"""Proxy, name, port and TLS: whether bytes reach the gateway at all."""

import asyncio
import shlex
import socket
import ssl
import time
import urllib.request
from collections.abc import Awaitable
from typing import TypeVar
from urllib.parse import urlsplit

from opscenter_connector import addresses
from opscenter_connector.asking import base
from opscenter_connector.checkup.steps import FAILED, OK, WARNING, Finding, Patient

T = TypeVar("T")

CONNECT_S = 10.0  # a longer way to a gateway is no way to work
EXPIRES_SOON_DAYS = 14  # renewals that work come earlier than this


async def proxy(patient: Patient) -> Finding:
    """Which proxy the environment names for the gateway."""
    names = urllib.request.getproxies()
    found = names.get("https" if patient.is_tls else "http") or names.get("all")
    if not found:
        return Finding(state=OK, seen="none is set")
    if urllib.request.proxy_bypass(patient.host):
        return Finding(state=OK, seen=f"one is set, but not for {patient.host} (NO_PROXY)")
    patient.proxy = urlsplit(found if "://" in found else f"http://{found}")
    if not patient.proxy.hostname:
        return Finding(
            state=FAILED,
            seen="the address of the proxy has no host",
            why="the connector goes through the proxy that HTTPS_PROXY or HTTP_PROXY names",
            fix=("export HTTPS_PROXY=http://HOST:PORT", f"export NO_PROXY={patient.host}"),
        )
    # Without user and password, which may stand in it.
    return Finding(state=OK, seen=f"through {patient.proxy.hostname}:{_proxy_port(patient)}")


async def dns(patient: Patient) -> Finding:
    """The name of the gateway, or of the proxy."""
    host, port = _first_hop(patient)
    loop = asyncio.get_running_loop()
    began = time.monotonic()
    try:
        found = await _within(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError, asyncio.TimeoutError) as error:
        said = getattr(error, "strerror", None) or "no answer"
        return Finding(
            state=FAILED,
            seen=f"{host} has no address: {said}",
            why="without an address there is nothing to connect to",
            fix=(f"getent hosts {shlex.quote(host)}", "ops-connector doctor --api-url https://…"),
        )
    unique = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    took = time.monotonic() - began
    return Finding(state=OK, seen=f"{host} is {', '.join(unique[:4])} ({took:.2f} s)")


async def tcp(patient: Patient) -> Finding:
    """Whether something listens."""
    host, port = _first_hop(patient)
    began = time.monotonic()
    try:
        _, writer = await _within(asyncio.open_connection(host, port))
    except (OSError, asyncio.TimeoutError) as error:
        return _not_reached(patient, host, port, error)
    writer.close()
    return Finding(state=OK, seen=f"{host}:{port} answers ({time.monotonic() - began:.2f} s)")


def _not_reached(patient: Patient, host: str, port: int, error: Exception) -> Finding:
    if isinstance(error, ConnectionRefusedError):
        seen, why = f"{host}:{port} refuses", "nothing listens on this port, or a firewall says so"
    elif isinstance(error, OSError) and error.strerror:
        seen, why = f"{host}:{port}: {error.strerror}", "there is no way from here to there"
    else:
        seen, why = f"{host}:{port} does not answer", "a firewall drops packets without a word"
    fix = (
        ("make run    # on the gateway",)
        if host in {"127.0.0.1", "localhost", "::1"}
        else (
            f"curl -v {base(patient.config.settings)}/v1/health",
            "ops-connector doctor --api-url https://…",
        )
    )
    return Finding(state=FAILED, seen=seen, why=why, fix=fix)


async def tls(patient: Patient) -> Finding:
    """The gateway's certificate: who vouches for it, for which name, and for how long."""
    if not patient.is_tls:
        return Finding(state=OK, seen="not used: the address begins with http://")
    if patient.proxy is not None:
        return Finding(state=OK, seen="behind the proxy; the next step sees it")
    try:
        context = addresses.trust(patient.config.settings.ca_file)
        opening = asyncio.open_connection(patient.host, patient.port, ssl=context)
        _, writer = await _within(opening)
    except ssl.SSLError as error:
        return bad_tls(patient, error)
    except (OSError, asyncio.TimeoutError) as error:
        seen = f"the handshake broke off: {error or 'no answer'}"
        return Finding(state=FAILED, seen=seen, why=NOT_TLS, fix=_plain(patient))
    certificate = writer.get_extra_info("peercert") or {}
    version = writer.get_extra_info("ssl_object").version()
    writer.transport.abort()
    return _lasts(str(certificate.get("notAfter", "")), str(version))


def _lasts(until: str, version: str) -> Finding:
    if not until:  # where the system judges, it does not say
        return Finding(state=OK, seen=f"{version}; the certificate is trusted")
    days = int((ssl.cert_time_to_seconds(until) - time.time()) / 86400)
    seen = f"{version}; the certificate is trusted, for {days} days more"
    if days >= EXPIRES_SOON_DAYS:
        return Finding(state=OK, seen=seen)
    return Finding(
        state=WARNING,
        seen=seen,
        why="it expires soon; whoever runs the gateway should see to its renewal",
    )


NOT_TLS = "what listens there does not speak TLS, or is cut off by something in between"


def bad_tls(patient: Patient, error: ssl.SSLError) -> Finding:
    """What a failed handshake means."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        seen = f"the handshake failed: {error.reason or error}"
        return Finding(state=FAILED, seen=seen, why=NOT_TLS, fix=_plain(patient))
    look = f"openssl s_client -connect {patient.host}:{patient.port} -showcerts </dev/null"
    seen = f"the certificate is not taken: {error.verify_message}"
    if error.verify_code in {9, 10}:  # not yet valid, expired
        return Finding(
            state=FAILED,
            seen=seen,
            why="it is out of its time, or this machine's clock is wrong",
            fix=("date", look),
        )
    if error.verify_code in {62, 64}:  # another name, another address
        return Finding(
            state=FAILED,
            seen=seen,
            why="it was made for another name; use the one it was made for",
            fix=(look, "ops-connector doctor --api-url https://THAT-NAME"),
        )
    return Finding(
        state=FAILED,
        seen=seen,
        why="who signed it is not known here: a CA of your own, or somebody in between",
        fix=(look, "export SSL_CERT_FILE=/path/to/ca.pem    # or ca_file in connector.toml"),
    )


def _plain(patient: Patient) -> tuple[str, ...]:
    return (f"ops-connector doctor --api-url http://{patient.url.netloc}",)


async def _within(work: Awaitable[T]) -> T:
    return await asyncio.wait_for(work, CONNECT_S)


def _first_hop(patient: Patient) -> tuple[str, int]:
    if patient.proxy is not None:
        return patient.proxy.hostname or "", _proxy_port(patient)
    return patient.host, patient.port


def _proxy_port(patient: Patient) -> int:
    found = patient.proxy
    if found is None:
        return 0
    return found.port or {"https": 443, "socks5": 1080, "socks5h": 1080}.get(found.scheme, 80)
