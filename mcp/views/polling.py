"""Polling: a session's frames, carried by POST."""

from collections.abc import Sequence

import msgspec
from django.http import HttpRequest, HttpResponse
from msgspec import Raw

from accounts.described import described
from accounts.principal import Principal
from mcp import frames
from mcp.frames import Frame, FromConnector, Hello
from mcp.models import Connector
from mcp.session import Session
from mcp.shown import CarriedFrames, PolledFrames, Polling
from mcp.views import carried
from mcp.views.carried import Carried
from mcp.views.edge import TunnelEdge
from mcp.views.pages import TAG
from mcp.views.refusals import JSON

MS = 1000
TRANSPORT = Connector.Transport.POLLING


class Submit(TunnelEdge):
    """Hand frames in; their answers come at once."""

    @described(
        "mcp_submit",
        tag=TAG,
        summary="Hand in frames of a machine's session",
        body=CarriedFrames,
        gives=PolledFrames,
        refuses=(406, 408, 409),
    )
    async def post(self, request: HttpRequest) -> HttpResponse:
        asked = carried.read(request.body)
        session, answers = await _handled(self.caller, asked)
        return await _answer(session, answers)


class Poll(TunnelEdge):
    """The same, and what is due for the machine: now, or as soon as there is something."""

    @described(
        "mcp_poll",
        tag=TAG,
        summary="Hand in frames of a machine's session, and wait for calls",
        body=Polling,
        gives=PolledFrames,
        refuses=(406, 408, 409),
    )
    async def post(self, request: HttpRequest) -> HttpResponse:
        asked = carried.read(request.body)
        session, answers = await _handled(self.caller, asked)
        if not session.has_ended:
            # Who is answered already is not kept waiting for that answer.
            answers += await session.next_due(0 if answers else asked.wait_ms / MS)
        return await _answer(session, answers)


async def _handled(caller: Principal, asked: Carried) -> tuple[Session, list[Frame]]:
    """The session, and the answers to the frames in their order."""
    said = carried.frames_of(asked)
    session, answers = await _session_of(caller, asked, said)
    for frame in said[len(answers) :]:  # all but the hello that was answered
        answers += await session.take(frame)
    return session, answers


async def _session_of(
    caller: Principal, asked: Carried, said: Sequence[FromConnector]
) -> tuple[Session, list[Frame]]:
    if isinstance(asked.epoch, int):
        return await Session.resume(caller, asked.instance, asked.epoch, TRANSPORT), []
    hello = said[0]
    assert isinstance(hello, Hello)  # noqa: S101  (carried.frames_of lets no other through)
    session, welcome = await Session.open(caller, hello, TRANSPORT)
    return session, [welcome]


async def _answer(session: Session, answers: Sequence[Frame]) -> HttpResponse:
    if session.has_ended:
        await session.close()
    told = {
        "epoch": session.opened.epoch,
        "frames": [Raw(frames.encode(frame)) for frame in answers],
    }
    return HttpResponse(msgspec.json.encode(told), content_type=JSON)
