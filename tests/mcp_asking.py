"""What tests of servers that the gateway reaches itself share: a worker, and calls for it."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import pytest

from accounts import reads
from accounts.principal import SCOPES, Principal
from accounts.tests.people import Person
from mcp import bell, calls, direct_worker, targets
from mcp.calls import NewCall
from mcp.direct_worker import Worker
from mcp.models import Connector, McpServer, ToolCall
from mcp.states import FINAL
from mcp.threads import off_loop
from tests import gateway as gateways
from tests.mcp_http import LEGACY, MODERN, Json, McpHttp

T = TypeVar("T")
WITHIN_S = 20  # a bound for what takes a second at most
_lookers = ThreadPoolExecutor(2, thread_name_prefix="tests")


@pytest.fixture(autouse=True)
def allowed(settings: Any) -> None:
    settings.MCP_HTTP_ALLOW = targets.allowed(["127.0.0.1"])


def principal(person: Person) -> Principal:
    return Principal(
        organization_id=person.organization.id,
        user_id=person.user.pk,
        key_id="key",
        scopes=frozenset(SCOPES),
    )


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    """A worker that nobody wakes: it looks by itself, more often than usual."""
    monkeypatch.setattr(direct_worker, "IDLE_S", 0.05)
    worker = Worker()
    worker.start()
    yield worker
    await asyncio.wait_for(worker.end(1), WITHIN_S)
    await bell.shutdown()


async def eventually(found: Callable[[], T | None]) -> T:
    """What `found` gives as soon as it gives something, looked at on a thread of the tests."""
    look = reads.off_loop(gateways.eventually, on=_lookers)
    return cast("T", await look(found, WITHIN_S))


async def asked(
    server: McpServer, name: str, arguments: Json | None = None, **more: Any
) -> uuid.UUID:
    """Put a call into the queue."""

    def put() -> uuid.UUID:
        connector = Connector.objects.get(id=server.connector_id)
        fields: dict[str, Any] = {
            "organization_id": connector.organization_id,
            "user_id": connector.user_id,
            "connector_id": connector.id,
            "server": server.name,
            "tool": name,
            "params": json.dumps({"name": name, "arguments": arguments or {}}),
            "has_effects": True,
            "request_id": uuid.uuid4().hex,
            "tool_use_id": "t",
            "deadline_s": 30.0,
        }
        return calls.enqueue(NewCall(**fields | more))

    return await off_loop(put)()


async def ended(call_id: uuid.UUID) -> ToolCall:
    return await eventually(lambda: ToolCall.objects.filter(id=call_id, state__in=FINAL).first())


def text_of(call: ToolCall) -> str:
    assert call.result is not None
    return str(json.loads(call.result)["content"][0]["text"])


@pytest.fixture(params=[MODERN, LEGACY])
def era(request: pytest.FixtureRequest, mcp_http: McpHttp) -> str:
    mcp_http.era = request.param
    return mcp_http.era
