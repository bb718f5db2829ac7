"""Starts a local server, has it list its tools, and stops it."""

import logging

import anyio

from opscenter_connector.builtinserver import BuiltinServer
from opscenter_connector.frames import Announced
from opscenter_connector.happenings import Happening
from opscenter_connector.servers import LocalServer, Server
from opscenter_connector.settings import LocalSpec, ServerSpec, Settings

# The SDK logs tracebacks about servers that are broken; here the reason is the answer.
SILENT = logging.NullHandler()
SURVEY_S = 60.0  # the self-test of the sandbox takes a second; this machine may be busy
LISTING_S = 35.0  # after its start; the listing has a bound of 30 s of its own


def fronted(settings: Settings) -> tuple[LocalSpec | ServerSpec, ...]:
    """All that can be tried, the built-in server first."""
    builtin = () if settings.local is None else (settings.local,)
    return (*builtin, *settings.servers)


def bound_s(spec: LocalSpec | ServerSpec) -> float:
    """How long a trial of `spec` takes at most."""
    start_s = SURVEY_S if isinstance(spec, LocalSpec) else spec.start_timeout_s
    return start_s + LISTING_S


async def tried(spec: LocalSpec | ServerSpec) -> Announced:
    """What would be announced of it: ready with its tools, or failed with the reason."""
    logging.getLogger("mcp").addHandler(SILENT)
    found: list[Announced] = []
    settled = anyio.Event()

    def announce(announced: Announced) -> None:
        if announced.state != "starting":
            found.append(announced)
            settled.set()

    server: Server
    if isinstance(spec, LocalSpec):
        server = BuiltinServer(spec, announce, _nobody)
    else:
        server = LocalServer(spec, announce, _nobody)
    with anyio.move_on_after(bound_s(spec)):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.run)
            await settled.wait()
            tasks.cancel_scope.cancel()
    if found:
        return found[0]
    late = f"it was not ready within {bound_s(spec):.0f} s"
    known = server.announced
    return Announced(name=known.name, transport=known.transport, state="failed", error=late)


def _nobody(_: Happening) -> None:
    """Its last words are in the reason."""
