"""MCP servers that a request names by their address: looked at, listed, called, forgotten."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.tests import people
from accounts.tests.people import Person
from mcp import visiting
from mcp.direct_worker import Worker
from mcp.models import McpServer, ToolCall
from mcp.threads import off_loop
from proxy import toolbox, toolsets
from proxy.toolbox import Toolbox
from proxy.toolsets import Wanted
from proxy.wire.body import BodyError
from proxy.wire.turn import Use
from tests import mcp_asking
from tests import mcp_http as scripted
from tests.mcp_asking import principal
from tests.mcp_http import McpHttp

alice, bob, uses_written = people.alice, people.bob, people.uses_written
mcp_http, allowed, worker = scripted.mcp_http, mcp_asking.allowed, mcp_asking.worker

pytestmark = pytest.mark.django_db(transaction=True)
servers = off_loop(lambda **wanted: list(McpServer.objects.filter(**wanted)))


async def opened(person: Person, url: str, token: str = "") -> Toolbox:
    server = toolsets.server_of("weather", url, token=token, where="mcp_servers.0")
    return await toolbox.opened(principal(person), [Wanted(server=server)])


async def test_it_runs_a_tool_of_a_server_that_the_request_names(
    alice: Person, mcp_http: McpHttp, worker: Worker
) -> None:
    mcp_http.credential = "their-token"
    box = await opened(alice, mcp_http.url, "their-token")
    assert sorted(box.tools) == ["weather_echo", "weather_other"]
    named = box.names["weather_echo"]
    use = Use(id="toolu_1", named=named, name="weather_echo", given={"city": "Köln"})
    result = await box.run(principal(alice), use, "req_1")
    assert (json.loads(result.text), result.is_error) == ({"city": "Köln"}, False)
    (call,) = await off_loop(lambda: list(ToolCall.objects.all()))()
    assert call.server == visiting.name_of(mcp_http.url, "their-token")
    assert call.server.startswith("web-127.0.0.1-")


async def test_it_lists_a_server_once_for_a_while(alice: Person, mcp_http: McpHttp) -> None:
    for _ in range(3):
        await opened(alice, mcp_http.url)
    assert mcp_http.methods().count("tools/list") == 1


async def test_it_keeps_those_with_another_token_apart(
    alice: Person, bob: Person, mcp_http: McpHttp
) -> None:
    await opened(alice, mcp_http.url, "one")
    await opened(alice, mcp_http.url, "two")
    await opened(bob, mcp_http.url, "one")
    assert len({(one.name, one.connector_id) for one in await servers()}) == 3


async def test_it_names_the_field_that_is_wrong(alice: Person, mcp_http: McpHttp) -> None:
    mcp_http.credential = "their-token"
    with pytest.raises(BodyError, match=r"^mcp_servers\.0\.authorization_token: "):
        await opened(alice, mcp_http.url, "another")
    with pytest.raises(BodyError, match=r"^mcp_servers\.0\.url: "):
        await opened(alice, "http://169.254.169.254/latest")
    assert await servers() == []


async def test_it_forgets_those_that_nobody_names_any_more(
    alice: Person, mcp_http: McpHttp
) -> None:
    await opened(alice, mcp_http.url, "one")
    ago = timezone.now() - timedelta(days=2)
    await off_loop(lambda: McpServer.objects.update(updated_at=ago))()
    await opened(alice, mcp_http.url, "two")
    (left,) = await servers()
    assert left.name == visiting.name_of(mcp_http.url, "two")
