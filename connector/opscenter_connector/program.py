"""The connector as one coroutine: local servers, journal, and the session with the gateway."""

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress

from opscenter_connector import __version__, cancelling, frames, instance, keys
from opscenter_connector.addresses import BadAddressError
from opscenter_connector.builtinserver import BuiltinServer
from opscenter_connector.choosing import Choice
from opscenter_connector.endings import Ending, ExitCode
from opscenter_connector.happenings import Happening, Trouble
from opscenter_connector.journal import Journal
from opscenter_connector.link import Link
from opscenter_connector.policing import effective, inforce
from opscenter_connector.policing.admission import Admission, Desk, NoDesk
from opscenter_connector.policing.gate import Gate
from opscenter_connector.policing.pins import Pins
from opscenter_connector.policing.questions import Questions
from opscenter_connector.polling import PollingOpener
from opscenter_connector.runner import Runner
from opscenter_connector.servers import LocalServer, Server, Servers
from opscenter_connector.settings import LocalSpec, Settings
from opscenter_connector.websocket import WebSocketOpener
from opscenter_connector.work import Work

log = logging.getLogger(__name__)

STOP_WITHIN_S = 10.0  # for what runs; service managers kill after a little more
STOPPED = "stopped by its user"
NOBODY = NoDesk()


async def run(
    settings: Settings,
    told: Callable[[Happening], None],
    stop: asyncio.Event,
    desk: Desk = NOBODY,
) -> Ending:
    """Work until `stop` is set, or until there is no point in going on.

    `told` is called on the event loop and must return at once. `desk` is where a person is asked.
    """
    try:
        with instance.locked(settings.state_dir):
            journal = Journal(settings.state_dir / "journal.jsonl")
            try:
                return await _worked(settings, journal, told, stop, desk)
            finally:
                await journal.aclose()
    except (instance.StateDirError, BadAddressError) as error:
        return Ending(exit_code=ExitCode.CONFIGURATION, reason=str(error))
    except OSError as error:
        reason = f"{settings.state_dir} cannot be used: {error.strerror or error}"
        return Ending(exit_code=ExitCode.CONFIGURATION, reason=reason)


async def _worked(
    settings: Settings,
    journal: Journal,
    told: Callable[[Happening], None],
    stop: asyncio.Event,
    desk: Desk,
) -> Ending:
    questions = Questions()

    def announce(one: frames.Announced) -> None:
        if one.name == LocalSpec.NAME:  # what holds commands is known by now, or not any more
            _tell_policy(settings, gate, told)
        admission.announced(one)
        runner.send(frames.Server(server=one))

    every = fronted(settings, announce, told)
    servers = Servers(every)
    gate = _gate(settings, every, questions, desk)
    _tell_policy(settings, gate, told)
    admission = Admission(gate, questions, desk, servers, told)
    runner = Runner(Work(max_in_flight=settings.max_in_flight), journal, servers, admission, told)
    key = keys.of(settings)
    choice = Choice(settings.transport)
    link = Link(_hello(settings), _openers(settings, key), choice, key, runner, servers, told)
    kept = asyncio.create_task(servers.run())
    linked = asyncio.create_task(link.run())
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({kept, linked, stopped}, return_when="FIRST_COMPLETED")
        ending = _ending(kept, linked)
        await runner.stop(STOP_WITHIN_S)
        await link.bye(STOPPED if ending.exit_code == ExitCode.STOPPED else ending.reason)
        return ending
    finally:
        await runner.aclose()
        servers.stop()
        await asyncio.wait({kept}, timeout=cancelling.AGAIN_S)
        await cancelling.ended(kept, linked, stopped)


def _tell_policy(settings: Settings, gate: Gate, told: Callable[[Happening], None]) -> None:
    """For `status`. A disk that is full costs its answer, and nothing else."""
    try:
        inforce.write(settings.state_dir, inforce.of(settings, gate.layer))
    except OSError as error:
        with suppress(OSError):
            (settings.state_dir / inforce.FILE).unlink()  # an older one would be a lie
        told(Trouble(what="policy.json", reason=f"it cannot be written: {error.strerror}"))


def fronted(
    settings: Settings,
    announce: Callable[[frames.Announced], None],
    told: Callable[[Happening], None],
) -> list[Server]:
    """Every server of this machine, the built-in one first."""
    servers: list[Server] = [LocalServer(spec, announce, told) for spec in settings.servers]
    if settings.local is not None:
        servers.insert(0, BuiltinServer(settings.local, announce, told, alone=True))
    return servers


def _gate(settings: Settings, every: list[Server], questions: Questions, desk: Desk) -> Gate:
    def layer() -> str:
        return next((one.layer for one in every if isinstance(one, BuiltinServer)), "none")

    pins = Pins(settings.state_dir / "definitions.json")
    return Gate(effective.of(settings), pins, questions, layer=layer, attended=desk.attended)


def _ending(kept: "asyncio.Task[None]", linked: "asyncio.Task[Ending]") -> Ending:
    """As asked, as the gateway said, or because of a defect of ours."""
    for task in (kept, linked):
        if task.done() and (error := task.exception()) is not None:
            log.error("this is a defect of the connector", exc_info=error)
            return Ending(exit_code=ExitCode.FAILED, reason=f"a defect: {error!r}")
    return linked.result() if linked.done() else Ending(exit_code=ExitCode.STOPPED, reason=STOPPED)


def _hello(settings: Settings) -> frames.Hello:
    return frames.Hello(
        v=frames.VERSION,
        instance=instance.instance(settings.state_dir),
        name=settings.name,
        agent=f"opscenter-connector/{__version__}",
        platform=sys.platform,
        max_in_flight=settings.max_in_flight,
    )


def _openers(settings: Settings, key: keys.Key) -> dict[str, WebSocketOpener | PollingOpener]:
    return {"websocket": WebSocketOpener(settings, key), "polling": PollingOpener(settings, key)}
