"""Where the gateway listens, and whom to trust there."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import truststore


class BadAddressError(ValueError):
    """The address of the gateway is not one. The text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The three doors of one gateway."""

    websocket: str
    poll: str
    submit: str


def of(api_url: str, user_id: str = "me") -> Addresses:
    """The doors behind `api_url`, which may stand with or without `/api` or a slash at its end."""
    parts = urlsplit(api_url if "://" in api_url else f"https://{api_url}")
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise BadAddressError(f"{api_url!r} is not the address of a gateway; write https://HOST")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise BadAddressError("the address of the gateway has no user, query or fragment")
    path = parts.path.rstrip("/").removesuffix("/api") + "/api/mcp"
    secure = parts.scheme in ("https", "wss")
    http = urlunsplit(("https" if secure else "http", parts.netloc, path, "", ""))
    socket = urlunsplit(("wss" if secure else "ws", parts.netloc, path, "", ""))
    return Addresses(
        websocket=f"{socket}/ws/{quote(user_id, safe='')}",
        poll=f"{http}/poll",
        submit=f"{http}/submit",
    )


def trust(ca_file: Path | None = None) -> ssl.SSLContext:
    """What the system trusts (on macOS its keychain), and `ca_file` besides."""
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file is not None:
        context.load_verify_locations(cafile=str(ca_file))
    return context
