"""Machines, servers and calls for the tests of pages, written into the tables as they are."""

import json
import uuid
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from accounts.tests.people import Person
from mcp.models import Connector, McpServer, McpTool, ToolCall
from mcp.states import FINAL, State

RESULT = {"content": [{"type": "text", "text": "hello"}], "isError": False}


def machine(person: Person, name: str = "laptop", **fields: Any) -> Connector:
    """A machine of this person that is there, by WebSocket."""
    now = timezone.now()
    values: dict[str, Any] = {
        "transport": Connector.Transport.WEBSOCKET,
        "epoch": 1,
        "opened_at": now,
        "last_seen_at": now,
    }
    return Connector.objects.create(
        organization=person.organization,
        user=person.user,
        instance=uuid.uuid4(),
        name=name,
        **values | fields,
    )


def server(connector: Connector, name: str = "files", *tools: str, **fields: Any) -> McpServer:
    """A server behind it, with these tools."""
    values: dict[str, Any] = {
        "transport": McpServer.Transport.STDIO,
        "state": McpServer.State.READY,
        "era": "2025-11-25",
    }
    made = McpServer.objects.create(connector=connector, name=name, **values | fields)
    for position, tool in enumerate(tools):
        McpTool.objects.create(
            server=made,
            position=position,
            name=tool,
            description=f"What {tool} does.",
            input_schema={"type": "object"},
            digest="d" * 64,
        )
    return made


def call(connector: Connector, state: State = State.QUEUED, **fields: Any) -> ToolCall:
    """A call of the machine's owner, as it stands in this state."""
    now = timezone.now()
    begun = state in {State.RUNNING, State.ORPHANED, State.LOST, State.SUCCEEDED, State.FAILED}
    values: dict[str, Any] = {
        "server": "files",
        "tool": "read",
        "params": json.dumps({"name": "read", "arguments": {"path": "/secret"}}),
        "has_effects": True,
        "request_id": f"req_{uuid.uuid4().hex}",
        "tool_use_id": "toolu_1",
        "deadline": now + timedelta(seconds=30),
        "fence": 0 if state == State.QUEUED else 1,
        "deliveries": 0 if state == State.QUEUED else 1,
        "starts": int(begun),
    }
    if state in {State.LEASED, State.RUNNING}:
        values["lease_until"] = now + timedelta(seconds=15)
    elif state in FINAL:
        values["finished_at"] = now
    if state == State.APPROVAL:
        values["asked_by"] = "machine"
    if state in {State.SUCCEEDED, State.FAILED}:
        values |= {"outcome": "done", "result": json.dumps(RESULT)}
    return ToolCall.objects.create(
        organization_id=connector.organization_id,
        user=User.objects.get(pk=connector.user_id),
        connector=connector,
        state=state,
        **values | fields,
    )
