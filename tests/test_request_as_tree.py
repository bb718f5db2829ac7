"""What a request did is what the admin shows of it: whose turns, and whose tool calls."""

import re

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client

from billing.models import UsageRecord
from mcp.models import ToolCall
from opscenter.tests.request_page import BAR, steps_in, tree_of
from proxy.models import Agent
from tests import tunnel
from tests.asking import rows
from tests.gateway import Gateway
from tests.machine_work import ask, laptop
from tests.test_crews import crew, instructed, plain
from tests.turns import Turn, text_turn, tool_turn
from tests.upstream import Request, Upstream

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")

READ = ("files_read", {"path": "a"})
MACHINES = [{"url": "tunnel://laptop/files"}]


@sync_to_async
def tree_shown(shown: UsageRecord) -> str:
    """The tree on a row's page, as an operator sees it."""
    client = Client()
    client.force_login(
        User.objects.get_or_create(username="olga", is_staff=True, is_superuser=True)[0]
    )
    return tree_of(client, shown)


def outline(tree: str) -> list[tuple[str, int]]:
    """Whose each step is, and how many calls stand below it."""
    names = [re.match(r"\d+ (\S+)", step) for step in steps_in(tree)]
    counts = [step.count("files/read succeeded on laptop") for step in steps_in(tree)]
    return [(name[1] if name else "?", count) for name, count in zip(names, counts, strict=True)]


async def test_it_shows_an_answer_with_tools_of_a_machine(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.script(tool_turn(READ, READ), tool_turn(READ), text_turn("Bread."))
    async with laptop(gateway):
        assert (await ask(gateway)).status_code == 200
    found = await sync_to_async(rows)(3)
    trees = [await tree_shown(row) for row in found]
    model = "claude-opus-5-5"
    for place, tree in enumerate(trees):
        assert outline(tree) == [(model, 2), (model, 1), (model, 0)]
        assert ["this row" in step for step in steps_in(tree)] == [n == place for n in range(3)]
        assert "Of no step" not in tree
    assert "75 in" in trees[0]  # of three turns
    calls = [call async for call in ToolCall.objects.order_by("created_at", "id")]
    assert [call.step for call in calls] == [found[0].id, found[0].id, found[1].id]


async def test_it_shows_a_chain(gateway: Gateway, upstream: Upstream) -> None:
    await crew("chain", "writer", "tester")
    await Agent.objects.aupdate(toolsets=MACHINES)
    upstream.script(
        tool_turn(READ),
        text_turn("Written."),
        tool_turn(READ, READ),
        text_turn("It is right.\n\n**ACCEPTED**"),
    )
    async with laptop(gateway):
        assert (await ask(gateway, "", **plain("claude-crew-team"))).status_code == 200
    found = await sync_to_async(rows)(4)
    tree = await tree_shown(found[2])
    assert outline(tree) == [("writer", 1), ("writer", 0), ("tester", 2), ("tester", 0)]
    bars = [(float(left), float(width)) for left, width, _ in BAR.findall(tree)]
    assert [left for left, _ in bars] == sorted(left for left, _ in bars)
    assert "Asked for</dt><dd>claude-crew-team<" in tree


async def test_it_shows_a_fan_out(gateway: Gateway, upstream: Upstream) -> None:
    await crew("fan_out", "cook", "baker", last="waiter")
    await Agent.objects.aupdate(toolsets=MACHINES)

    def says(request: Request) -> Turn:
        is_first = len(request.json["messages"]) == 1
        if is_first and "waiter" not in instructed(request):
            return tool_turn(*([READ] * (1 if "cook" in instructed(request) else 2)))
        return text_turn("Done.")

    upstream.answer_by(says)
    async with laptop(gateway):
        assert (await ask(gateway, "", **plain("claude-crew-team"))).status_code == 200
    found = await sync_to_async(rows)(5)
    tree = await tree_shown(found[-1])
    shown = outline(tree)
    assert sorted(shown[:-1]) == [("baker", 0), ("baker", 2), ("cook", 0), ("cook", 1)]
    assert shown[-1] == ("waiter", 0)
    assert "Of no step" not in tree
