"""One connection to one local MCP server, over its pipes or HTTP, in the revision it speaks."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import httpx2
import mcp_types as types
from mcp.client import Client
from mcp.client._transport import TransportStreams
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ConfigDict

from opscenter_connector import __version__
from opscenter_connector.hearing import Hearing
from opscenter_connector.settings import MAX_CALL_S, ServerSpec

LIST_TIMEOUT_S = 30.0
LISTEN_AGAIN_S = 5.0  # after a subscription was lost; the tools are listed then, too
MAX_PAGES = 100  # of tools; a server that has more is in a loop
MAX_LINE = 500  # characters of what it says on standard error
CONNECT_TIMEOUT_S = 10.0
# The gateway's deadline rules; the SDK's own timeouts only must not come first.
BEYOND_S = 60.0


class Progressed(Protocol):
    """Is told how far a call is."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


class _AsItIs(BaseModel):
    """A result of which nothing is read, so that nothing in it is lost."""

    model_config = ConfigDict(extra="allow")


@dataclass(slots=True, kw_only=True)
class Connection:
    """A server that has answered. Ends with the block that opened it."""

    client: Client
    closed: asyncio.Event
    changed: asyncio.Event

    @property
    def title(self) -> str:
        info = self.client.server_info
        return "" if info is None else info.title or info.name

    @property
    def version(self) -> str:
        info = self.client.server_info
        return "" if info is None else info.version

    @property
    def era(self) -> str:
        return str(self.client.protocol_version)

    async def tools(self) -> list[dict[str, Any]]:
        """All its tools, page by page, as MCP defines them."""
        capabilities = self.client.server_capabilities
        if capabilities is not None and capabilities.tools is None:
            return []
        tools: list[dict[str, Any]] = []
        cursor: str | None = None
        with anyio.fail_after(LIST_TIMEOUT_S):
            for _ in range(MAX_PAGES):
                page = await self.client.list_tools(cursor=cursor)
                tools += [
                    tool.model_dump(by_alias=True, mode="json", exclude_none=True)
                    for tool in page.tools
                ]
                cursor = page.next_cursor
                if not cursor:
                    break
        return tools

    async def call(self, params: dict[str, Any], progressed: Progressed) -> dict[str, Any]:
        """The result as the server wrote it. Cancelling this tells the server to stop."""
        request = types.CallToolRequest(
            params=types.CallToolRequestParams(
                name=params["name"], arguments=params.get("arguments")
            )
        )
        result = await self.client.session.send_request(
            request,
            _AsItIs,
            request_read_timeout_seconds=MAX_CALL_S + BEYOND_S,
            progress_callback=progressed,
        )
        return result.model_extra or {}

    async def listen(self) -> None:
        """In the modern revision changes are told to those who ask. Returns if it tells nothing."""
        if self.client.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            return
        with suppress(MCPError):  # it has nothing to tell
            while True:
                with suppress(SubscriptionLost):
                    async with self.client.listen(tools_list_changed=True) as subscription:
                        self.changed.set()  # what changed before this was not told
                        async for _ in subscription:
                            self.changed.set()
                await anyio.sleep(LISTEN_AGAIN_S)


@asynccontextmanager
async def connected(
    spec: ServerSpec, said: Callable[[str], None], babbled: Callable[[int], None]
) -> AsyncIterator[Connection]:
    """Start it, or reach it, and agree on a revision. Raises whatever that raises.

    `said` hears each line of its standard error, `babbled` how much of its output is no MCP.
    """
    closed, changed = asyncio.Event(), asyncio.Event()

    async def heard(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            changed.set()

    async with AsyncExitStack() as stack:
        client = Client(
            _over_http(spec) if spec.url else _over_pipes(spec, said, closed, babbled),
            message_handler=heard,
            client_info=types.Implementation(name="opscenter-connector", version=__version__),
            read_timeout_seconds=spec.start_timeout_s,
            cache=None,
        )
        await stack.enter_async_context(client)
        yield Connection(client=client, closed=closed, changed=changed)


@asynccontextmanager
async def _over_http(spec: ServerSpec) -> AsyncIterator[TransportStreams]:
    timeout = httpx2.Timeout(CONNECT_TIMEOUT_S, read=MAX_CALL_S + BEYOND_S)
    async with (
        httpx2.AsyncClient(headers=dict(spec.headers), timeout=timeout) as client,
        streamable_http_client(spec.url, http_client=client) as (read, write),
    ):
        # Its end says nothing of the server's, and what is wrong in it ends a request.
        yield Hearing(read, asyncio.Event(), _nobody), write


def _nobody(_: int) -> None:
    """Nothing is told."""


@asynccontextmanager
async def _over_pipes(
    spec: ServerSpec,
    said: Callable[[str], None],
    closed: asyncio.Event,
    babbled: Callable[[int], None],
) -> AsyncIterator[TransportStreams]:
    parameters = StdioServerParameters(
        command=spec.command, args=list(spec.args), env=dict(spec.env), cwd=spec.cwd
    )
    async with _lines(said) as errlog, stdio_client(parameters, errlog) as (read, write):
        errlog.close()  # the server has its own copy
        yield Hearing(read, closed, babbled), write


@asynccontextmanager
async def _lines(said: Callable[[str], None]) -> AsyncIterator[Any]:
    """A file whose lines, written by another process, are handed to `said`."""
    reading, writing = os.pipe()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: _Lines(said), os.fdopen(reading, "rb", buffering=0)
    )
    file = os.fdopen(writing, "w")
    try:
        yield file
    finally:
        file.close()
        transport.close()


class _Lines(asyncio.Protocol):
    def __init__(self, said: Callable[[str], None]) -> None:
        self._said = said
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            if text := line.decode("utf-8", "replace").rstrip()[:MAX_LINE]:
                self._said(text)
        self._rest = rest[: 4 * MAX_LINE]  # of a line without an end only its start is kept
