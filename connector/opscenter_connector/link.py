"""Keeps a session with the gateway: opens it again, over whichever transport works."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio

from opscenter_connector import cancelling, frames, happenings, limits
from opscenter_connector.choosing import Choice
from opscenter_connector.endings import Ending, ExitCode
from opscenter_connector.happenings import Happening
from opscenter_connector.keys import Key
from opscenter_connector.outbox import Outbox
from opscenter_connector.runner import Runner
from opscenter_connector.servers import Servers
from opscenter_connector.sessions import Meaning, Opener, Session, SessionEndError

log = logging.getLogger(__name__)

STRAY_S = 60.0  # a hello without an answer may still open a session, and fence ours
DRAIN_S = 2.0  # for what the older session still brings after a newer one has taken over

FINAL = {
    Meaning.CREDENTIAL: ExitCode.CREDENTIAL,
    Meaning.VERSION: ExitCode.VERSION,
    Meaning.DEFECT: ExitCode.VERSION,
    Meaning.FENCED: ExitCode.FENCED,
}
FENCED = "another connector with this machine's identity has taken over; is its state copied?"


@dataclass(slots=True)
class Ended:
    """The end of a session, and how long it held."""

    end: SessionEndError
    held_s: float


class Link:
    """The session, or the way to the next."""

    def __init__(
        self,
        hello: frames.Hello,
        openers: Mapping[str, Opener],
        choice: Choice,
        key: Key,
        runner: Runner,
        servers: Servers,
        told: Callable[[Happening], None],
    ) -> None:
        self._hello = hello
        self._openers = openers
        self._choice = choice
        self._key = key
        self._runner = runner
        self._servers = servers
        self._told = told
        self._session: Session | None = None
        self._renewals: asyncio.Task[None] | None = None
        self._works: set[asyncio.Task[None]] = set()  # of older sessions, too
        self._drains: set[asyncio.Task[None]] = set()
        self._stray_at_s = time.monotonic()  # one of an earlier life, too, that was killed
        self._leaving = False
        self._fallen = False  # and it has been told
        self._climbing = False  # a hello may be under way over the WebSocket

    async def run(self) -> Ending:
        """Until there is no point in going on, or it is cancelled."""
        attempt = 0
        try:
            while True:
                attempt += 1
                outcome = await self._once(attempt)
                if isinstance(outcome, Ending):
                    return outcome
                if outcome:
                    attempt = 0
        finally:
            ending = [*self._works, *self._drains]
            if self._renewals is not None:
                ending.append(self._renewals)
            await cancelling.ended(*ending)

    async def bye(self, reason: str) -> None:
        """The last word of this connector."""
        self._leaving = True
        if self._session is not None:
            await self._session.close(reason)

    async def _once(self, attempt: int) -> Ending | bool:
        """Open a session and work in it, and in what it climbs to. Whether there was one."""
        transport = self._choice.transport
        self._told(happenings.Connecting(transport=transport, attempt=attempt))
        try:
            session: Session | None = await self._openers[transport](self._hello)
        except SessionEndError as end:
            return await self._after(end, held_s=None) or False
        while session is not None:
            began_s = time.monotonic()
            end_or_next = await self._work(session)
            if isinstance(end_or_next, SessionEndError):
                return await self._after(end_or_next, held_s=time.monotonic() - began_s) or True
            session = end_or_next
            self._choice.climbed()
            self._told(happenings.ClimbedBack())
        return True

    async def _work(self, session: Session) -> "SessionEndError | Session":
        """Until it ends, or until a WebSocket takes over from it."""
        outbox = self._greet(session)
        work = asyncio.create_task(session.work(self._runner.take, outbox))
        self._works.add(work)
        climb = asyncio.create_task(self._climb()) if self._choice.climbs else None
        try:
            await asyncio.wait({work, climb} if climb else {work}, return_when="FIRST_COMPLETED")
            if climb is not None and (climb.done() or await self._is_fenced_by(climb, work)):
                return climb.result()
            return _end_of(work)
        finally:
            self._runner.detach(outbox)
            self._session = None
            if climb is not None and not climb.done():
                climb.cancel()
            self._drain(work)

    def _greet(self, session: Session) -> Outbox:
        """Say in the new session what is here, and all that has had no answer."""
        welcome, odd = limits.kept(session.welcome, self._hello)
        for one in odd:
            log.warning("%s", one)
        outbox = Outbox()
        self._session = session
        self._runner.max_result_bytes = welcome.max_result_bytes
        self._runner.work.max_in_flight = welcome.max_in_flight
        announced = self._servers.announced
        for server in announced:
            outbox.put(frames.Server(server=server))
        outbox.put(frames.Ready(servers=tuple(server.name for server in announced)))
        self._runner.attach(outbox)
        if self._renewals is not None:
            self._renewals.cancel()
        self._renewals = asyncio.create_task(self._renew(welcome.renew_ms / 1000))
        self._told(
            happenings.Connected(
                transport=session.transport,
                connector=welcome.connector,
                epoch=welcome.epoch,
                max_in_flight=welcome.max_in_flight,
            )
        )
        self._tell_of_falling()
        return outbox

    def _tell_of_falling(self) -> None:
        if self._choice.climbs and not self._fallen:
            again_s = self._choice.climb_in_s
            self._told(happenings.FellBack(reason=self._choice.why, again_s=again_s))
        self._fallen = self._choice.climbs

    async def _renew(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self._runner.tick()

    async def _climb(self) -> Session:
        """Try the WebSocket now and then; the session that it gives."""
        while True:
            await asyncio.sleep(self._choice.climb_in_s)
            self._climbing = True
            try:
                return await self._openers["websocket"](self._hello)
            except SessionEndError as end:
                self._note_stray(end)
                self._choice.not_climbed()
            finally:
                self._climbing = False

    async def _is_fenced_by(
        self, climb: "asyncio.Task[Session]", work: "asyncio.Task[None]"
    ) -> bool:
        """The older session ended because of the newer one, whose welcome is still under way."""
        if not self._climbing or _end_of(work).meaning is not Meaning.FENCED:
            return False
        self._stray_at_s = time.monotonic()
        await asyncio.wait({climb}, timeout=DRAIN_S)
        return climb.done()

    def _drain(self, work: "asyncio.Task[None]") -> None:
        """What the older session still brings is taken: a call may be on its way in it."""

        async def drain() -> None:
            try:
                await asyncio.wait({work}, timeout=DRAIN_S)
            finally:
                await cancelling.ended(work)
                self._works.discard(work)

        task = asyncio.create_task(drain())
        self._drains.add(task)
        task.add_done_callback(self._drains.discard)

    async def _after(self, end: SessionEndError, *, held_s: float | None) -> Ending | None:
        """The ending, if this was one; else pause before the next attempt."""
        if self._leaving:
            return Ending(exit_code=ExitCode.STOPPED, reason=end.reason)
        transport = self._choice.transport
        self._told(happenings.Lost(transport=transport, code=end.code, reason=end.reason))
        if end.meaning in FINAL and not (self._is_own_doing(end) or self._renews(end)):
            reason = FENCED if end.meaning is Meaning.FENCED else end.reason
            return Ending(exit_code=FINAL[end.meaning], reason=reason)
        self._note_stray(end)
        pause_s = self._choice.ended(end, held_s=held_s)
        self._told(
            happenings.Waiting(transport=self._choice.transport, delay_s=pause_s, reason=end.reason)
        )
        await anyio.sleep(pause_s)
        return None

    def _note_stray(self, end: SessionEndError) -> None:
        if end.greeted:
            self._stray_at_s = time.monotonic()

    def _renews(self, end: SessionEndError) -> bool:
        """A token had its time, and there may be another."""
        return end.meaning is Meaning.CREDENTIAL and self._key.was_refused()

    def _is_own_doing(self, end: SessionEndError) -> bool:
        """A hello of ours, of this life or the last, has opened the newer session after all."""
        recent = time.monotonic() - self._stray_at_s < STRAY_S
        if end.meaning is Meaning.FENCED and recent:
            self._stray_at_s = float("-inf")  # once; the second time it is somebody else
            return True
        return False


def _end_of(work: "asyncio.Task[None]") -> SessionEndError:
    error = work.exception()
    if isinstance(error, SessionEndError):
        return error
    raise error or RuntimeError("a session returned instead of ending")
