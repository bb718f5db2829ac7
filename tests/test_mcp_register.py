"""Servers that the gateway reaches itself: registered by a URL, listed again."""

import asyncio

import pytest
from pytest_django import Settings

from accounts import sealed
from accounts.tests import people
from accounts.tests.people import Person
from mcp import clock, direct, direct_rows
from mcp.direct import NotRegisteredError
from mcp.direct_worker import Worker
from mcp.models import Connector, McpServer, McpTool
from mcp.threads import off_loop
from tests import gateway as gateways
from tests import mcp_asking
from tests import mcp_http as scripted
from tests.mcp_asking import principal
from tests.mcp_http import LEGACY, McpHttp, tool

alice, bob, charlie, uses_written = people.alice, people.bob, people.charlie, people.uses_written
mcp_http, era = scripted.mcp_http, mcp_asking.era
allowed, worker = mcp_asking.allowed, mcp_asking.worker

pytestmark = pytest.mark.django_db(transaction=True)


async def test_it_registers_a_server_with_its_tools(
    alice: Person, mcp_http: McpHttp, era: str
) -> None:
    mcp_http.credential = "hunter2"
    server = await direct.register(principal(alice), "weather", mcp_http.url, "hunter2")

    def look() -> None:
        row = McpServer.objects.get(id=server.id)
        assert (row.name, row.state, row.transport, row.era) == ("weather", "ready", "http", era)
        assert (row.url, row.version) == (mcp_http.url, "1.2")
        assert "hunter2" not in row.credential_sealed
        assert sealed.opened(row.credential_sealed) == "hunter2"
        assert [each.name for each in row.tools.all()] == ["echo", "other"]
        connector = row.connector
        assert (connector.kind, connector.user_id) == ("gateway", alice.user.pk)

    await off_loop(look)()
    if era == LEGACY:
        assert mcp_http.methods()[-1] == "DELETE"


async def test_it_takes_none_where_the_operator_wants_none(
    alice: Person, mcp_http: McpHttp, settings: Settings
) -> None:
    settings.MCP_HTTP = False
    with pytest.raises(NotRegisteredError, match="calls no MCP servers"):
        await direct.register(principal(alice), "weather", mcp_http.url)
    assert mcp_http.methods() == []


async def test_it_replaces_a_server_of_the_same_name(alice: Person, mcp_http: McpHttp) -> None:
    first = await direct.register(principal(alice), "weather", mcp_http.url, "old")
    mcp_http.tools = [tool("third")]
    second = await direct.register(principal(alice), "weather", mcp_http.url)
    assert first.id == second.id

    def look() -> None:
        assert McpServer.objects.get().credential_sealed == ""
        assert [each.name for each in McpTool.objects.all()] == ["third"]
        assert Connector.objects.count() == 1

    await off_loop(look)()


async def test_it_keeps_people_apart(
    alice: Person, bob: Person, charlie: Person, mcp_http: McpHttp
) -> None:
    for person in (alice, bob, charlie):
        await direct.register(principal(person), "weather", mcp_http.url)
    assert await off_loop(Connector.objects.count)() == 3
    assert await off_loop(McpServer.objects.count)() == 3


@pytest.mark.parametrize(
    ("name", "url", "credential", "field"),
    [
        ("", "https://8.8.8.8", "", "name"),
        ("two words", "https://8.8.8.8", "", "name"),
        ("a" * 65, "https://8.8.8.8", "", "name"),
        ("weather", "http://8.8.8.8", "", "url"),
        ("weather", "https://127.0.0.2", "", "url"),
        ("weather", "https://no-such-host.invalid", "", "url"),
        ("weather", "https://8.8.8.8", "two\nlines", "credential"),
        ("weather", "https://8.8.8.8", " ", "credential"),
        ("weather", "https://8.8.8.8", "ключ", "credential"),
        ("weather", "https://8.8.8.8", "a" * 4097, "credential"),
    ],
)
async def test_it_says_which_field_is_wrong(
    alice: Person, name: str, url: str, credential: str, field: str
) -> None:
    with pytest.raises(NotRegisteredError) as caught:
        await direct.register(principal(alice), name, url, credential)
    assert caught.value.field == field
    assert not await off_loop(McpServer.objects.exists)()


async def test_it_takes_no_server_that_does_not_answer(alice: Person, mcp_http: McpHttp) -> None:
    with pytest.raises(NotRegisteredError, match="takes no connection"):
        await direct.register(principal(alice), "a", f"http://127.0.0.1:{gateways.free_port()}/")
    mcp_http.credential = "hunter2"
    with pytest.raises(NotRegisteredError) as caught:
        await direct.register(principal(alice), "a", mcp_http.url, "wrong")
    assert caught.value.field == "credential"
    assert not await off_loop(Connector.objects.exists)()


async def test_it_asks_for_tools_again(alice: Person, mcp_http: McpHttp) -> None:
    server = await direct.register(principal(alice), "weather", mcp_http.url)
    worker = Worker()
    await worker.look_after()  # too early
    assert mcp_http.methods().count("tools/list") == 1
    mcp_http.tools = [tool("third")]

    async def again() -> McpServer:
        old = clock.after(-direct_rows.LIST_S - 5)
        await off_loop(McpServer.objects.filter(id=server.id).update)(updated_at=old)
        await worker.look_after()
        await asyncio.gather(*worker._listing)
        return await off_loop(McpServer.objects.get)(id=server.id)

    assert (await again()).state == "ready"
    assert await off_loop(lambda: [t.name for t in McpTool.objects.all()])() == ["third"]
    mcp_http.credential = "changed"
    row = await again()
    assert (row.state, row.error) == ("failed", "It wants another credential.")
    assert await off_loop(McpTool.objects.count)() == 1  # they stay known
    mcp_http.credential = ""
    row = await again()
    assert (row.state, row.error) == ("ready", "")
    await worker.end(1)
