"""What the tests of approvals share: a machine that asks, people who answer, policies."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from django.db.models import Q

from accounts.tests.people import Person
from mcp import calls, consent, frames
from mcp.models import Approval, PolicyVersion, ToolCall
from mcp.session import Session
from mcp.states import Answer, Decision, Source
from mcp.tests.test_session import LONG_S, READ
from mcp.threads import off_loop
from tests.tunnel import rows

ONE, TWO = "1" * 64, "2" * 64


async def handed_out(session: Session) -> frames.Call:
    (call,) = await asyncio.wait_for(session.next_due(LONG_S), 10)
    assert isinstance(call, frames.Call)
    return call


async def asks(session: Session, call: frames.Call, digest: str = ONE) -> frames.Frame:
    ask = frames.Ask(id=call.id, fence=call.fence, digest=digest, reason="bash asks")
    (answer,) = await session.take(ask)
    return answer


async def decides(session: Session, call: frames.Call, approve: bool, digest: str = ONE) -> str:
    (settled,) = await session.take(frames.Decide(id=call.id, digest=digest, approve=approve))
    assert isinstance(settled, frames.Settled)
    return settled.state


async def on_the_web(person: Person, digest: str = ONE, approve: bool = True) -> Answer:
    decider = calls.Decider(
        actor=f"user:{person.user.pk}",
        name=person.user.username,
        source=Source.WEB,
        place="192.0.2.1",
        user_id=person.user.pk,
        organizations=[person.organization.pk],
    )
    said = await consent.decide(decider, Q(digest=digest), digest=digest, approve=approve)
    return said.answer


async def state_of(call: frames.Call) -> str:
    return (await row_of(call)).state


async def row_of(call: frames.Call) -> ToolCall:
    found: list[ToolCall] = await rows(id=call.id)
    return found[0]


@off_loop
def approval_of(call: frames.Call) -> Approval:
    return Approval.objects.get(call_id=call.id)


@off_loop
def policy(person: Person, otherwise: Decision, version: int = 1) -> None:
    PolicyVersion.objects.create(
        organization=person.organization, version=version, otherwise=otherwise
    )


async def waits_for_approval(person: Person) -> bool:
    return await pending_digest(person) != ""


@off_loop
def pending_digest(person: Person) -> str:
    rows = Approval.objects.filter(organization=person.organization, state=Answer.PENDING)
    return rows.values_list("digest", flat=True).first() or ""


def redefined(session: Session) -> Awaitable[object]:
    """The tool becomes another one."""
    tools = [{"name": "read", "description": "And more.", "inputSchema": {"type": "object"}}]
    return session.take(frames.Server(server=replaced(tools)))


def replaced(tools: list[dict[str, Any]]) -> frames.Announced:
    server = READ.server
    return frames.Announced(
        name=server.name, transport=server.transport, state=server.state, tools=tools
    )
