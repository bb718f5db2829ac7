"""Calls, connectors and a clock that stands still, for the tests of the queue."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db.models import DateTimeField, Value

from accounts.tests.people import Person
from mcp import calls, clock, prepared
from mcp.calls import Claimed, Holder, NewCall
from mcp.models import Connector, ToolCall

DONE = '{"content":[]}'


class Clock:
    """The database's clock, moved by hand. It begins now, for the rows' own dates are real."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.moment = datetime.now(UTC)
        prepared.forget()  # each move is another query: the moment stands in it
        patch.setattr(clock, "now", lambda: Value(self.moment, output_field=DateTimeField()))

    def moves(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
        prepared.forget()


@pytest.fixture
def time_() -> Iterator[Clock]:
    """The clock that stands still."""
    with pytest.MonkeyPatch.context() as patch:
        yield Clock(patch)
    prepared.forget()


def connector_of(person: Person, **more: Any) -> Connector:
    """A connector with a session, unless said otherwise."""
    found = {"instance": uuid.uuid4(), "name": "laptop", "epoch": 1, **more}
    return Connector.objects.create(organization=person.organization, user=person.user, **found)


def holder_of(connector: Connector) -> Holder:
    """Its newest session."""
    connector.refresh_from_db()
    return Holder(
        connector_id=connector.id,
        organization_id=connector.organization_id,
        epoch=connector.epoch,
    )


def new_call(connector: Connector, **more: Any) -> NewCall:
    """A call with effects for this connector, unless said otherwise."""
    found: dict[str, Any] = {
        "organization_id": connector.organization_id,
        "user_id": connector.user_id,
        "connector_id": connector.id,
        "server": "files",
        "tool": "write",
        "params": "{}",
        "has_effects": True,
        "request_id": str(uuid.uuid4()),
        "tool_use_id": "toolu_1",
        **more,
    }
    return NewCall(**found)


def row(call_id: UUID) -> ToolCall:
    return ToolCall.objects.get(id=call_id)


def claimed(connector: Connector, **more: Any) -> tuple[Holder, Claimed]:
    """A new call, handed out to its connector."""
    call_id = calls.enqueue(new_call(connector, **more))
    holder = holder_of(connector)
    found = {each.id: each for each in calls.claim(holder, 64)}
    return holder, found[call_id]


def begun(connector: Connector, **more: Any) -> tuple[Holder, Claimed]:
    """A new call that runs."""
    holder, call = claimed(connector, **more)
    assert isinstance(calls.start(holder, call.id, call.fence), int)
    return holder, call
