"""`ops-connector run` with a scripted connector inside, as a process for signals and screens."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress

from opscenter_connector import cli, program
from opscenter_connector.endings import Ending, ExitCode
from opscenter_connector.happenings import Connected, Connecting, Happening, Stopping
from opscenter_connector.policing.admission import Desk
from opscenter_connector.policing.questions import Question
from opscenter_connector.program import NOBODY
from opscenter_connector.settings import Settings

Told = Callable[[Happening], None]


async def until_told(settings: Settings, told: Told, stop: asyncio.Event, desk: Desk) -> Ending:
    """Stops when asked."""
    told(Connecting(transport="websocket", attempt=1))
    told(Connected(transport="websocket", connector="c", epoch=1, max_in_flight=4))
    await stop.wait()
    told(Stopping(running=0, within_s=10))
    return Ending(exit_code=ExitCode.STOPPED, reason="stopped")


async def stubborn(settings: Settings, told: Told, stop: asyncio.Event, desk: Desk) -> Ending:
    """Takes its time, even when asked."""
    told(Connected(transport="websocket", connector="c", epoch=1, max_in_flight=4))
    await stop.wait()
    told(Stopping(running=2, within_s=60))
    await asyncio.sleep(60)
    raise AssertionError


async def hangs(settings: Settings, told: Told, stop: asyncio.Event, desk: Desk) -> Ending:
    """Does not even end when it is cancelled."""
    told(Connected(transport="websocket", connector="c", epoch=1, max_in_flight=4))
    await stop.wait()
    told(Stopping(running=2, within_s=60))
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


async def asks(settings: Settings, told: Told, stop: asyncio.Event, desk: Desk) -> Ending:
    """Has a person asked twice, and ends with the answers."""
    answers: asyncio.Queue[str] = asyncio.Queue()
    desk.serve(lambda id_, digest, approve: answers.put_nowait(f"{id_} {digest} {approve}"))
    told(Connected(transport="websocket", connector="c", epoch=1, max_in_flight=4))
    command = "echo hi\n\x1b[2J\u202e" + "long " * 300 + "THE TAIL"
    for number, said in enumerate((command, "rm -r other")):
        desk.ask(
            Question(
                id=f"id-000{number}",
                fence=1,
                digest=f"digest{number}",
                server="local",
                tool="bash",
                arguments={"command": said},
                reason="no sandbox holds commands here",
            )
        )
    reason = f"{await answers.get()}, {await answers.get()}"
    return Ending(exit_code=ExitCode.STOPPED, reason=reason)


async def refused(settings: Settings, told: Told, stop: asyncio.Event, desk: Desk) -> Ending:
    """The key is not taken."""
    return Ending(exit_code=ExitCode.CREDENTIAL, reason="the gateway does not take the key")


async def broken(settings: Settings, told: Told, stop: asyncio.Event, desk: Desk) -> Ending:
    """A defect."""
    raise RuntimeError("something that cannot be")


SCRIPTS = {one.__name__: one for one in (until_told, stubborn, hangs, asks, refused, broken)}

if __name__ == "__main__":
    script = SCRIPTS[sys.argv[1]]
    program.run = lambda settings, told, stop, desk=NOBODY: script(settings, told, stop, desk)
    sys.exit(cli.main(["run", *sys.argv[2:]]))
