"""Servers that the gateway reaches itself: registered by a URL, asked for their tools."""

import asyncio
import logging
import re

from django.conf import settings

from accounts import sealed
from accounts.principal import Principal
from accounts.sealed import SealedError
from mcp import dialing, direct_rows, targets
from mcp.direct_rows import NoRoomError, Reached
from mcp.exchange import AnsweredError, Exchange, RemoteError
from mcp.frames import Announced
from mcp.models import McpServer
from mcp.remote import Remote
from mcp.targets import BadTargetError
from mcp.threads import off_loop

log = logging.getLogger(__name__)

REGISTER_S = 20.0  # somebody waits; a server asleep needs some seconds to wake
LIST_S = 20.0  # nobody waits, but others are next
SILENT_S = 600.0  # in an answer: as long as the longest call may take
MAX_CREDENTIAL_CHARS = 4096

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)  # as in frames


class NotRegisteredError(Exception):
    """The server is not taken. The text says why and may be shown; `field` is what to change."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field  # "name", "url" or "credential"


async def register(principal: Principal, name: str, url: str, credential: str = "") -> McpServer:
    """Look at the server, ask it for its tools and keep it; one of this name is replaced.

    `credential` is shown to it as `Authorization: Bearer` and stored encrypted. It takes at most
    REGISTER_S. Raises NotRegisteredError, and accounts.reads.DatabaseAwayError.
    """
    if not settings.MCP_HTTP:
        raise NotRegisteredError("url", "This gateway calls no MCP servers; a connector does.")
    if not _NAME.fullmatch(name):
        raise NotRegisteredError("name", "A name has 1 to 64 of A-Z, a-z, 0-9, _, . and -.")
    credential_sealed = _sealed(credential)
    try:
        target = targets.checked(url, settings.MCP_HTTP_ALLOW)
        announced = await _announced(name, target.url, credential, REGISTER_S)
    except BadTargetError as error:
        raise NotRegisteredError("url", str(error)) from error
    except (RemoteError, AnsweredError) as error:
        field = "credential" if error.status in {401, 403} else "url"
        raise NotRegisteredError(field, _told(error)) from error
    try:
        return await off_loop(direct_rows.keep)(principal, announced, target.url, credential_sealed)
    except NoRoomError as error:
        raise NotRegisteredError("name", str(error)) from error


async def list_anew(server: Reached) -> None:
    """Ask a server for its tools again and write down what it says, or why it says nothing."""
    try:
        credential = opened(server.credential_sealed)
        announced = await _announced(server.name, server.url, credential, LIST_S)
    except (BadTargetError, RemoteError, AnsweredError) as error:
        await off_loop(direct_rows.failed)(server, _told(error))
    else:
        await off_loop(direct_rows.described)(server, announced)


def client(url: str, credential: str) -> Remote:
    """A client of the server at this URL. Raises BadTargetError."""
    target = targets.checked(url, settings.MCP_HTTP_ALLOW)
    http = dialing.client(target, settings.MCP_HTTP_ALLOW, silent_s=SILENT_S)
    return Remote(Exchange(http, target.url, credential))


def opened(credential_sealed: str) -> str:
    """The credential to show. Raises RemoteError where it cannot be read any more."""
    try:
        return sealed.opened(credential_sealed) if credential_sealed else ""
    except SealedError as error:
        log.error("the credential of an MCP server cannot be read: %s", error)
        raise RemoteError("Its credential cannot be read: register it again.") from error


async def _announced(name: str, url: str, credential: str, within_s: float) -> Announced:
    remote = client(url, credential)
    try:
        async with asyncio.timeout(within_s):
            peer = await remote.peer()
            tools = await remote.tools()
    except TimeoutError as error:
        raise RemoteError(f"It did not answer within {within_s:.0f} seconds.") from error
    finally:
        await remote.close()
    return Announced(
        name=name,
        transport="http",
        state="ready",
        title=peer.title,
        version=peer.release,
        era=peer.version,
        tools=tools,
    )


def _sealed(credential: str) -> str:
    if not credential:
        return ""
    is_sendable = credential.isascii() and credential.isprintable() and credential.strip()
    if not is_sendable or credential != credential.strip():
        raise NotRegisteredError("credential", "It holds what no header may hold.")
    if len(credential) > MAX_CREDENTIAL_CHARS:
        raise NotRegisteredError("credential", f"More than {MAX_CREDENTIAL_CHARS} characters.")
    try:
        return sealed.seal(credential)
    except SealedError as error:
        raise NotRegisteredError("credential", str(error)) from error


def _told(error: Exception) -> str:
    """What may be shown of a failure. Of what the server itself says only a number."""
    if isinstance(error, AnsweredError):
        return f"It answered with the error {error.failure.code} of JSON-RPC."
    return str(error)
