"""One logical session of a machine, over whichever transport it comes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self
from uuid import UUID

from msgspec import UNSET

from accounts.auth import Shown
from accounts.principal import Principal
from mcp import bell, calls, frames, handout, lastwords, living, registry
from mcp.allowance import Allowance, SpentError
from mcp.bell import Ear, Listening, Note
from mcp.closing import (
    AWAY,
    BAD_FRAME,
    BYE,
    NEWER_SESSION,
    NO_SUCH_VERSION,
    RESTARTING,
    TOO_OFTEN,
    SessionError,
    in_words,
)
from mcp.models import Connector
from mcp.outbox import REASONS, Outbox
from mcp.prompts import Prompts
from mcp.states import Outcome, Verdict
from mcp.threads import off_loop

FRAMES_PER_S = 200  # nobody honest is near
FRAMES_AT_ONCE = 1000
PROGRESS_WRITTEN_S = 1.0  # for one call; in between only the bell tells of it
POLLED_S = 60.0  # a session that has not been polled for longer is forgotten here, not ended
MOST_REFUSED = 20  # tools of one server that are told of; the rest have the same fault


class Session:
    """What a machine says and is told. One coroutine calls `take`, another `next_due`."""

    def __init__(
        self,
        principal: Principal,
        opened: registry.Opened,
        transport: str,
        shown: Shown | None = None,
    ) -> None:
        self.principal = principal
        self.opened = opened
        self.transport = transport
        self.shown = shown  # looked at again while the session lives
        self.has_ended = False  # by its machine's bye
        self.touched_at = time.monotonic()
        self.gone = asyncio.Event()
        self._holder = calls.Holder(
            connector_id=opened.connector_id,
            organization_id=principal.organization_id,
            epoch=opened.epoch,
        )
        self._over: SessionError | None = None
        self._listening: Listening = bell.current().of_connector(opened.connector_id)
        self._ear: Ear = self._listening.start()
        self._prompts = Prompts(self._holder, principal.user_id)
        self._outbox = Outbox(self._holder, self._ear, self._prompts)
        self.tray = self._outbox.tray
        self._allowance = Allowance(per_s=FRAMES_PER_S, at_once=FRAMES_AT_ONCE)
        self._progress_written: dict[calls.Held, float] = {}
        self._turn = 0
        living.add(self)

    @classmethod
    async def open(
        cls, principal: Principal, hello: frames.Hello, transport: str, shown: Shown | None = None
    ) -> tuple[Self, frames.Welcome]:
        """Begin a session; it ends those before it. Raises SessionError."""
        if living.is_stopping:
            raise SessionError(AWAY, "The gateway is restarting.")
        if hello.v != frames.VERSION:
            raise SessionError(NO_SUCH_VERSION, f"This gateway speaks version {frames.VERSION}.")
        opened = await in_words(_open(principal, hello, transport))
        bell.ring_connector(opened.connector_id, bell.EPOCH, {"epoch": opened.epoch})
        session = cls(principal, opened, transport, shown)
        return session, session.welcome()

    @classmethod
    async def resume(
        cls,
        principal: Principal,
        instance: UUID,
        epoch: int,
        transport: str = Connector.Transport.POLLING,
    ) -> Self:
        """The session of this epoch. Raises SessionError where it is not the newest."""
        opened = await in_words(_resume(principal, instance, epoch))
        known = living.of_epoch(opened.connector_id, epoch)
        if isinstance(known, cls):
            known.touched_at = time.monotonic()  # but what a socket has shown stays
            return known
        return cls(principal, opened, transport)

    def welcome(self) -> frames.Welcome:
        """The answer to the hello."""
        return frames.Welcome(
            v=frames.VERSION,
            connector=self.opened.connector_id,
            epoch=self.opened.epoch,
            lease_ms=int(calls.LEASE_S * 1000),
            renew_ms=int(calls.RENEW_S * 1000),
            max_in_flight=self.opened.max_in_flight,
            max_frame_bytes=frames.MAX_FRAME_BYTES,
            max_result_bytes=calls.MAX_RESULT_BYTES,
        )

    async def take(self, frame: frames.FromConnector) -> list[frames.Frame]:
        """What is answered to a frame. Raises SessionError."""
        try:
            self._allowance.spend(time.monotonic())
        except SpentError:
            text = f"More than {FRAMES_PER_S} frames in a second."
            raise SessionError(TOO_OFTEN, text) from None
        if self._over is not None:
            raise self._over
        answer = _ANSWERS.get(type(frame))
        if answer is None:
            raise SessionError(BAD_FRAME, "A hello comes once, at the beginning.")
        return await in_words(answer(self, frame))

    async def next_due(self, timeout_s: float) -> list[frames.Frame]:
        """What is due, as soon as there is something; [] when the time is over or another asks.

        Raises SessionError when the session is over.
        """
        if self._over is not None:
            raise self._over
        self._turn += 1
        turn = self._turn
        self._ear.rouse()  # whoever asked before us
        ends_at = time.monotonic() + timeout_s
        found = [] if self._outbox.is_quiet else await self.due()
        while not found and (notes := await self._heard(ends_at, turn)):
            found = await self.due(notes)
        return found

    async def due(self, notes: Sequence[Note] = ()) -> list[frames.Frame]:
        """What is to be sent now, after these notes. Raises SessionError."""
        if self._over is not None:
            raise self._over
        return await in_words(self._outbox.due(notes))

    async def _heard(self, ends_at: float, turn: int) -> list[Note]:
        """Why something may be due that is still ours to ask for. Empty: nothing is."""
        while (left_s := ends_at - time.monotonic()) > 0 and self._turn == turn:
            with self.tray.waited_at():
                notes = await self._ear.wait(left_s)
            self.touched_at = time.monotonic()
            if self._turn != turn:
                for note in notes:  # they are for whoever asks now
                    self._ear.hear(note)
                break
            if any(note.body.get("epoch", 0) > self.opened.epoch for note in notes):
                self.end(NEWER_SESSION, "A newer session of this machine is there.")
            if self._over is not None:
                raise self._over
            if found := [note for note in notes if note.kind in REASONS]:
                return found
        return []

    def end(self, code: int, reason: str) -> None:
        """From now on everything here raises this."""
        self._over = self._over or SessionError(code, reason)
        self._ear.rouse()

    @property
    def is_socket(self) -> bool:
        """Whether a connection lives as long as it does."""
        return self.transport == Connector.Transport.WEBSOCKET

    @property
    def is_there(self) -> bool:
        """Whether its machine is: a socket is open, or the last poll is not long ago."""
        return self.is_socket or time.monotonic() - self.touched_at < POLLED_S

    async def close(self) -> None:
        """Note its end, unless a newer session is there, or will be in a moment."""
        # Whoever else carries it: a bye may come over the other transport.
        self.end(BYE, "Goodbye.")
        self.forget()
        if ready := self.tray.take():
            await lastwords.said(handout.hand_back(self._holder, ready))
        if self._over is None or self._over.code != RESTARTING:  # else calls may wait for it
            await lastwords.said(_close(self.opened.connector_id, self.opened.epoch))

    def forget(self) -> None:
        """Hear no more of it here; in the database it may go on."""
        self._listening.end()
        living.discard(self)
        self.gone.set()

    async def _start(self, frame: frames.Start) -> list[frames.Frame]:
        said = await _begin(self._holder, frame.id, frame.fence)
        if isinstance(said, str):
            return [frames.Denied(id=frame.id, fence=frame.fence, reason=said)]
        return [frames.Started(id=frame.id, fence=frame.fence, remaining_ms=said)]

    async def _progress(self, frame: frames.Progress) -> list[frames.Frame]:
        body: dict[str, Any] = {"progress": frame.progress}
        if frame.total is not UNSET:
            body["total"] = frame.total
        if frame.message is not UNSET:
            body["message"] = registry.plain(frame.message)
        held, now = (frame.id, frame.fence), time.monotonic()
        if now - self._progress_written.get(held, 0.0) >= PROGRESS_WRITTEN_S:
            if not await _note_progress(self._holder, frame.id, frame.fence, body):
                return []  # not the machine's call (any more), so nobody hears of it
            if len(self._progress_written) >= frames.MAX_HELD:
                self._progress_written.clear()  # costs each of them one write
            self._progress_written[held] = now
        bell.ring_call(frame.id, bell.PROGRESS, body)
        return []

    async def _result(self, frame: frames.Result) -> list[frames.Frame]:
        verdict = await _conclude(self._holder, frame)
        if verdict is Verdict.ACCEPTED:
            self._progress_written.pop((frame.id, frame.fence), None)
            self._outbox.hear_of_a_free_place()
        return [frames.Ack(id=frame.id, fence=frame.fence, verdict=verdict.value)]

    async def _release(self, frame: frames.Release) -> list[frames.Frame]:
        # Not rung for: it would come back at once. The look of every second hands it out again.
        await _give_back(self._holder, frame.id, frame.fence)
        return []

    async def _ask(self, frame: frames.Ask) -> list[frames.Frame]:
        return await self._prompts.ask(frame)

    async def _decide(self, frame: frames.Decide) -> list[frames.Frame]:
        return await self._prompts.decide(frame)

    async def _renew(self, frame: frames.Renew) -> list[frames.Frame]:
        if not frame.calls:  # an idle machine's sign of life
            return [frames.Renewed(held=[], lost=[], cancel=[])]
        said = await _renew(self._holder, frame.calls)
        self._outbox.told_to_stop.update(said.cancel)
        return [frames.Renewed(held=said.held, lost=said.lost, cancel=said.cancel)]

    async def _server(self, frame: frames.Server) -> list[frames.Frame]:
        problems = await _announce(self.opened, frame.server)
        return [
            frames.Refused(
                what="server", name=frame.server.name, field=one.field, reason=one.reason
            )
            for one in problems[:MOST_REFUSED]
        ]

    async def _ready(self, frame: frames.Ready) -> list[frames.Frame]:
        await _keep_only(self.opened, frame.servers)
        return []

    async def _bye(self, frame: frames.Bye) -> list[frames.Frame]:
        self.has_ended = True
        return []


# By the type of the frame; a hello has its place before there is a session.
_ANSWERS: dict[type, Callable[[Session, Any], Awaitable[list[frames.Frame]]]] = {
    frames.Start: Session._start,
    frames.Progress: Session._progress,
    frames.Result: Session._result,
    frames.Release: Session._release,
    frames.Ask: Session._ask,
    frames.Decide: Session._decide,
    frames.Renew: Session._renew,
    frames.Server: Session._server,
    frames.Ready: Session._ready,
    frames.Bye: Session._bye,
}


@off_loop
def _conclude(holder: calls.Holder, frame: frames.Result) -> Verdict:
    raw = frame.error if frame.result is UNSET else frame.result
    body = None if raw is UNSET else bytes(raw).decode()
    verdict, end = calls.conclude(holder, frame.id, frame.fence, Outcome(frame.outcome), body)
    if verdict is Verdict.ACCEPTED:
        bell.ring_end(frame.id, end)  # here already: who waits hears of it before the machine does
    return verdict


_open = off_loop(registry.open_session)
_resume = off_loop(registry.resume_session)
_close = off_loop(registry.close_session)
_announce = off_loop(registry.announce)
_keep_only = off_loop(registry.keep_only)
_begin = off_loop(calls.start)
_note_progress = off_loop(calls.note_progress)
_give_back = off_loop(calls.release)
_renew = off_loop(calls.renew)
