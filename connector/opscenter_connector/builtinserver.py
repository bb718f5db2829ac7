"""The server `local`, kept like the others: it starts, says what it can do, and takes calls."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import anyio

from opscenter_connector import __version__, backoff, sandbox
from opscenter_connector.announcing import Announcer
from opscenter_connector.frames import Announced
from opscenter_connector.happenings import Happening, Quarantined, SandboxFound
from opscenter_connector.local import commanding
from opscenter_connector.local.builtin import TOOLS, Builtin
from opscenter_connector.local.defining import Tool
from opscenter_connector.local.roots import Roots
from opscenter_connector.localserver import Progressed
from opscenter_connector.sandbox import Layer, SandboxError, Standing, Swept
from opscenter_connector.servers import NotRunningError
from opscenter_connector.settings import AUTO, LocalSpec, ServerSpec

TITLE = "Ops-Center local tools"
TAKEN = (
    "bash is not offered: another connector works in {folder}, or below it, and each would take "
    "what the other's commands leave for its own; give each its own folders, or stop the other "
    "and start this one again"
)
MAX_TOLD = 10  # of what one command left: the rest is counted
# The tool comes back by itself before the call ends, and says what it has until then.
MARGIN_S = 1.0


class BuiltinServer:
    """Tools of this program's own, for the folders that a person allowed."""

    def __init__(
        self,
        local: LocalSpec,
        announce: Callable[[Announced], None],
        told: Callable[[Happening], None],
        *,
        alone: bool = False,
    ) -> None:
        """`alone`: it is the one that works, not a trial beside it."""
        self._alone = alone
        self.spec = ServerSpec(name=LocalSpec.NAME, call_limit_s=local.call_limit_s)
        self._local = local
        self._told = told
        self._announcer = Announcer(self.spec.name, self.spec.transport, announce, told)
        self._builtin: Builtin | None = None
        self._news = anyio.Event()

    @property
    def announced(self) -> Announced:
        return self._announcer.last

    @property
    def layer(self) -> str:
        """What holds commands here; nothing, until it has proved itself."""
        return Layer.NONE.value if self._builtin is None else self._builtin.layer

    async def run(self) -> None:
        """Hold the folders open until the scope around this is cancelled."""
        failures = 0
        while True:
            self._now("starting")
            try:
                roots = Roots.opened(self._local.allowed_paths)
            except OSError as error:
                failures += 1
                delay_s = backoff.delay_s(failures, backoff.MOST_S)
                reason = f"{error.filename} cannot be opened: {error.strerror}"
                self._now("failed", error=reason, retry_s=delay_s)
                await anyio.sleep(delay_s)
                continue
            try:
                await self._serve(roots)
            finally:
                self._builtin = None
                roots.close()

    async def _serve(self, roots: Roots) -> None:
        with ExitStack() as kept:
            shared = ""
            if self._alone and not self._local.read_only:
                shared = kept.enter_context(sandbox.claimed(roots.paths))
            await self._serve_claimed(roots, shared)

    async def _serve_claimed(self, roots: Roots, shared: str) -> None:
        if shared:
            standing, problem = None, TAKEN.format(folder=shared)
        else:
            standing, problem = await surveyed(self._local, roots)
        if not self._local.read_only:
            self._told(_found(standing, problem))
        if self._alone and standing is not None:
            self._swept(await anyio.to_thread.run_sync(sandbox.recover, standing))
        tools = offered(self._local, standing, self._swept)
        layer = Layer.NONE if standing is None else standing.layer
        self._builtin = builtin = Builtin(roots, tools, layer=layer.value)
        self._now(
            "ready",
            title=f"{TITLE} (sandbox: {layer.value})",
            version=__version__,
            error=problem,
            tools=tuple(builtin.definitions),
        )
        await anyio.sleep_forever()

    def _swept(self, found: Sequence[Swept]) -> None:
        told, more = found[:MAX_TOLD], len(found) - MAX_TOLD
        for number, one in enumerate(told, 1):
            rest = max(more, 0) if number == MAX_TOLD else 0
            self._told(Quarantined(path=one.path, place=one.place, more=rest))

    def _now(self, state: str, **known: Any) -> None:
        self._announcer.now(state, **known)
        self._news.set()
        self._news = anyio.Event()

    async def call(
        self, params: dict[str, Any], progressed: Progressed, *, start_within_s: float
    ) -> dict[str, Any]:
        """The tool's result. Raises NotRunningError."""
        builtin = await self.ready(start_within_s)
        left_s = anyio.current_effective_deadline() - anyio.current_time()
        arguments = params.get("arguments")
        arguments = {} if arguments is None else arguments
        return await builtin.call(
            str(params["name"]), arguments, within_s=max(left_s - MARGIN_S, left_s / 2)
        )

    async def ready(self, within_s: float) -> Builtin:
        """What does the work, as soon as it is there. Raises NotRunningError."""
        with anyio.move_on_after(within_s):
            while self._builtin is None and self.announced.state == "starting":
                await self._news.wait()
        if self._builtin is None:
            why = self.announced.error or "it is still starting"
            raise NotRunningError(f"the server {self.spec.name} is not running: {why}")
        return self._builtin


async def surveyed(local: LocalSpec, roots: Roots) -> tuple[Standing | None, str]:
    """What holds commands in these folders, and what a person has to know of it.

    Nothing where the layer that the person demands does not hold: then there is no shell.
    """
    if local.read_only:
        return None, ""
    try:
        standing = await sandbox.survey(
            roots.paths,
            forced=None if local.sandbox == AUTO else Layer(local.sandbox),
            at_least=Layer(local.sandbox_at_least) if local.sandbox_at_least else None,
            quarantine=local.quarantine,
        )
    except SandboxError as error:
        return None, f"bash is not offered: {error}"
    return standing, ""


async def layer_of(local: LocalSpec | None) -> str:
    """What would hold commands now, tried for real."""
    if local is None or local.read_only:
        return Layer.NONE.value
    try:
        roots = Roots.opened(local.allowed_paths)
    except OSError:
        return Layer.NONE.value
    try:
        standing, _ = await surveyed(local, roots)
    finally:
        roots.close()
    return (Layer.NONE if standing is None else standing.layer).value


def _found(standing: Standing | None, problem: str) -> SandboxFound:
    if standing is None:
        return SandboxFound(layer="", held=0, why=problem)
    held = sum(canary.held for canary in standing.canaries)
    return SandboxFound(layer=standing.layer.value, held=held, why=standing.why)


def offered(
    local: LocalSpec, standing: Standing | None, swept: Callable[[Sequence[Swept]], None]
) -> tuple[Tool, ...]:
    """The tools that this machine has for an agent."""
    if local.read_only:
        return tuple(tool for tool in TOOLS if not tool.changes)
    if standing is None:
        return TOOLS
    return (*TOOLS, commanding.tool(standing, sandbox.objection, swept))
