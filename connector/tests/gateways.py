"""Gateways that are well, broken, or something else, on real sockets in the test's own loop."""

import asyncio
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.utils import accept_key

KEY = "sk-uc-0123456789ab-" + "k" * 43


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request, as far as tests look at it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is written back."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)


Answers = Callable[[Asked], Answer | None]  # None: say nothing, ever


def said(code: int = 200, /, **fields: Any) -> Answer:
    """A JSON answer."""
    return Answer(
        status=code,
        body=json.dumps(fields).encode(),
        headers={"content-type": "application/json"},
    )


def well(asked: Asked) -> Answer | None:
    """A gateway that takes the key."""
    now = {"date": format_datetime(datetime.now(timezone.utc), usegmt=True)}
    if asked.path == "/v1/health":
        found = said(status="healthy", database="ok")
    elif asked.headers.get("authorization") != f"Bearer {KEY}":
        found = said(401, detail="There is no such key.")
    elif "upgrade" in asked.headers:
        accept = accept_key(asked.headers["sec-websocket-key"])
        upgrade = {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": accept}
        found = Answer(status=101, body=b"", headers=upgrade)
    elif asked.path == "/api/mcp/poll":
        found = said(408, detail="There is no such session.")
    elif asked.path == "/api/mcp/status":
        found = said(websocket_connections=1, polling_queues=0, pending_calls=2, pending_results=1)
    else:
        found = said(servers=[], count=0)
    return Answer(status=found.status, body=found.body, headers=found.headers | now)


@asynccontextmanager
async def gateway(answers: Answers, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that answers so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await _read(reader)
            answer = answers(asked)
            if answer is None:
                await reader.read()
                return
            writer.write(_written(answer))
            await writer.drain()
            if answer.status == 101:
                await reader.read(2)  # the client's close
                writer.write(b"\x88\x02\x03\xe8")
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Asked(method=method, path=path, headers=headers, body=body)


def _written(answer: Answer) -> bytes:
    headers = answer.headers
    if answer.status != 101:
        headers = headers | {"content-length": str(len(answer.body)), "connection": "close"}
    lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    return f"HTTP/1.1 {answer.status} Whatever\r\n{lines}\r\n".encode() + answer.body


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """A self-signed certificate: the context that serves it, and the file to trust it by."""

    served: ssl.SSLContext
    file: Path


def certificate(folder: Path, *, name: str = "127.0.0.1", days: int = 30) -> Certificate:
    """One for the address `name`, which ends in so many days, or has ended."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a gateway of a test")])
    ends = datetime.now(timezone.utc) + timedelta(days=days, hours=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=400))
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = folder / "secret.pem"
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, secret)
    return Certificate(served=context, file=file)
