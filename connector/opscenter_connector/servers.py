"""The local MCP servers: each is kept running, and says what it can do."""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import anyio
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED

from opscenter_connector import backoff
from opscenter_connector.announcing import Announcer
from opscenter_connector.failing import explained
from opscenter_connector.frames import Announced
from opscenter_connector.happenings import Happening, ServerBabbled, ServerSaid
from opscenter_connector.localserver import Connection, Progressed, connected
from opscenter_connector.results import sayable
from opscenter_connector.settings import ServerSpec

MAX_TOOLS = 512
MAX_DEFINITION_BYTES = 64 * 1024
MAX_ANNOUNCEMENT_BYTES = 1_900_000  # a frame has 2 MiB
MAX_LAST_WORDS = 5  # lines; what a server says before it ends is usually why
HOPELESS = 3  # failures in a row, after which a call waits for no more
CALM_S = 0.5  # between two listings, if a server changes its tools in a hurry
LOOK_EVERY_S = 30.0  # an HTTP server that is gone says nothing


class NotRunningError(Exception):
    """The server is not there, so nothing was begun. The text says why."""


class LostError(Exception):
    """The server went away while the call ran: nobody knows how it ended."""


class Server(Protocol):
    """Whatever takes calls here: a program that was started, or what this one has built in."""

    @property
    def spec(self) -> ServerSpec: ...
    @property
    def announced(self) -> Announced: ...
    async def run(self) -> None: ...
    async def ready(self, within_s: float) -> object: ...
    async def call(
        self, params: dict[str, Any], progressed: Progressed, *, start_within_s: float
    ) -> dict[str, Any]: ...


class LocalServer:
    """One of them."""

    def __init__(
        self,
        spec: ServerSpec,
        announce: Callable[[Announced], None],
        told: Callable[[Happening], None],
    ) -> None:
        self.spec = spec
        self._announcer = Announcer(spec.name, spec.transport, announce, told)
        self._told = told
        self._connection: Connection | None = None
        self._calls = 0
        self._failures = 0  # in a row
        self._news = anyio.Event()  # of its state; a new one each time

    @property
    def announced(self) -> Announced:
        return self._announcer.last

    async def run(self) -> None:
        """Start it, and again whenever it ends, until the scope around this is cancelled."""
        while True:
            self._now("starting")
            began = time.monotonic()
            error = await self._once()
            held = time.monotonic() - began > backoff.STABLE_S
            self._failures = 0 if held else self._failures + 1
            delay_s = backoff.delay_s(self._failures, backoff.MOST_S)
            self._now("failed", error=error, retry_s=delay_s)
            await anyio.sleep(delay_s)

    @property
    def _may_come(self) -> bool:
        """It is starting, or has ended just now and will be started again in no time."""
        return self.announced.state == "starting" or self._failures < HOPELESS

    async def ready(self, within_s: float) -> Connection:
        """The connection, as soon as it is there. Raises NotRunningError."""
        with anyio.move_on_after(within_s):
            while self._connection is None and self._may_come:
                await self._news.wait()
        if self._connection is None:
            why = self.announced.error or "it is still starting"
            raise NotRunningError(f"the server {self.spec.name} is not running: {why}")
        return self._connection

    async def call(
        self, params: dict[str, Any], progressed: Progressed, *, start_within_s: float
    ) -> dict[str, Any]:
        """The tool's result. Raises NotRunningError, LostError and the server's own MCPError."""
        connection = await self.ready(start_within_s)
        self._calls += 1
        try:
            return await connection.call(params, progressed)
        except MCPError as error:
            if error.code == CONNECTION_CLOSED or connection.closed.is_set():
                connection.changed.set()  # look whether it is still there
                raise LostError(f"the server {self.spec.name} ended meanwhile") from error
            raise
        finally:
            self._calls -= 1

    async def _once(self) -> str:
        """From its start to its end; why it ended."""
        last_words: list[str] = []

        def said(line: str) -> None:
            last_words.append(line)
            del last_words[:-MAX_LAST_WORDS]
            self._told(ServerSaid(server=self.spec.name, line=line))

        def babbled(lines: int) -> None:
            self._told(ServerBabbled(server=self.spec.name, lines=lines))

        met = False
        why: Exception | None = None
        try:
            async with connected(self.spec, said, babbled) as connection:
                met = True
                await self._serve(connection)
        except Exception as error:  # whatever a server does, it is reported and started again
            why = error
        finally:
            self._connection = None
        return explained(why, self.spec, last_words[-1] if last_words else "", met=met)

    async def _serve(self, connection: Connection) -> None:
        self._show(connection, await connection.tools())
        self._connection = connection
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection.listen)
            tasks.start_soon(self._keep_listed, connection)
            await connection.closed.wait()
            self._connection = None
            tasks.cancel_scope.cancel()

    async def _keep_listed(self, connection: Connection) -> None:
        """List again when it says so. Raises if an HTTP server cannot be reached any more."""
        while True:
            with anyio.move_on_after(LOOK_EVERY_S if self.spec.url else None):
                await connection.changed.wait()
            told = connection.changed.is_set()
            connection.changed.clear()
            if self._calls and not told:
                continue  # one that is busy need not be looked at
            try:
                self._show(connection, await connection.tools())
            except (MCPError, TimeoutError):
                # One that is busy may not answer, and must not be cut off for that.
                if self.spec.url and not self._calls:
                    raise
            await anyio.sleep(CALM_S)

    def _show(self, connection: Connection, tools: list[dict[str, Any]]) -> None:
        fitting, error = fitting_tools(tools)
        self._now(
            "ready",
            title=connection.title[:200],
            version=connection.version[:100],
            era=connection.era[:20],
            error=error,
            tools=fitting,
        )

    def _now(
        self, state: str, *, error: str = "", retry_s: float | None = None, **known: Any
    ) -> None:
        if self._announcer.now(state, error=error, retry_s=retry_s, **known):
            self._news.set()
            self._news = anyio.Event()


class Servers:
    """All of them, by name."""

    def __init__(self, servers: Iterable[Server]) -> None:
        self._servers = {server.spec.name: server for server in servers}
        self._scope = anyio.CancelScope()

    @property
    def announced(self) -> list[Announced]:
        return [server.announced for server in self._servers.values()]

    async def run(self) -> None:
        """Keep all running until `stop`."""
        with self._scope:
            await self._run()

    def stop(self) -> None:
        """End all. A cancelled scope stays cancelled; a task hears of it once."""
        self._scope.cancel()

    async def _run(self) -> None:
        async with anyio.create_task_group() as tasks:
            for server in self._servers.values():
                tasks.start_soon(server.run)
            await anyio.sleep_forever()  # also where there is none: that is no reason to end

    def is_ready(self, name: str) -> bool:
        """Whether it is there and has said what it can do."""
        return any(one.name == name and one.state == "ready" for one in self.announced)

    def definition(self, server: str, tool: str) -> dict[str, Any] | None:
        """What `server` says of `tool` now; the name must be the very same."""
        for one in self.announced:
            if one.name == server:
                return next((found for found in one.tools if found.get("name") == tool), None)
        return None

    def get(self, name: str) -> Server:
        """Raises NotRunningError."""
        try:
            return self._servers[name]
        except KeyError:
            raise NotRunningError(f"this machine has no server {name}") from None


def fitting_tools(tools: list[dict[str, Any]]) -> tuple[tuple[dict[str, Any], ...], str]:
    """As many as the gateway takes, and what is said of the others."""
    fitting: list[dict[str, Any]] = []
    total = 0
    for defined in tools:
        # A picture is nothing to a model, and often large.
        tool = sayable({name: said for name, said in defined.items() if name != "icons"})
        size = len(json.dumps(tool, ensure_ascii=False).encode())
        if size > MAX_DEFINITION_BYTES or total + size > MAX_ANNOUNCEMENT_BYTES:
            continue
        if len(fitting) < MAX_TOOLS:
            fitting.append(tool)
            total += size
    left_out = len(tools) - len(fitting)
    return tuple(fitting), f"{left_out} tools are too large or too many" if left_out else ""
