"""Fifty requests at once on two gateways, each with tools of a machine in its middle."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from proxy.wire import message
from tests.legality import check_stream, history_fault
from tests.machine_work import BETA
from tests.real import chaos_processes, machine, redis, tunnel
from tests.real.conftest import need
from tests.real.machine import Machine
from tests.real.postgres import Postgres
from tests.real.tunnel import Stack
from tests.tool_loop import results_in
from tests.turns import Turn, text_turn, tool_turn, usage
from tests.upstream import MESSAGES, Request, Upstream

pytestmark = pytest.mark.real

COUNT = 50
MORE_THREADS = 20  # the pools of a process may fill meanwhile; one each for its half would be 25
WITHIN_S = 120  # of all of them; a busy machine takes 20


@pytest.fixture
def pair(postgres: Postgres, upstream: Upstream, tmp_path: Path) -> Iterator[Stack]:
    """Two gateways on one database, which lead every model to the scripted upstream."""
    need(*machine.PEERS, "redis-server")
    with ExitStack() as servers:
        settings = {
            "OPSCENTER_DATABASE_URL": servers.enter_context(tunnel.database(postgres, "many")),
            "OPSCENTER_REDIS_URL": servers.enter_context(redis.running()).url,
            "OPSCENTER_DEFAULT_PLAN": "enterprise",
        }
        stack = servers.enter_context(
            tunnel.running(tmp_path, count=2, owners=2, settings=settings)
        )
        command = ("manage.py", "upstreams", "add", "scripted", upstream.url, "--route", "*")
        made = chaos_processes.command(*command, settings=stack.settings)
        assert made.returncode == 0, made.stdout + made.stderr
        yield stack


def says(request: Request) -> Turn:
    """Leave two things at once, each under the request's own number, and say so."""
    (number,) = [one["content"] for one in request.json["messages"][:1]]
    if results_in(request):
        return text_turn(f"Left {number}.", cost=usage(input_tokens=30, output_tokens=5))
    calls = [("effects_leave", {"word": f"{number}-{which}", "ms": 50}) for which in "ab"]
    return tool_turn(*calls, cost=usage(input_tokens=20, output_tokens=10))


def test_it_answers_fifty_at_once_on_two_processes(
    pair: Stack, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.answer_by(says)
    notes = tmp_path / "notes"
    servers = {"effects": machine.effects_server(notes)}
    with ExitStack() as machines:
        for number, (owner, worker) in enumerate(zip(pair.owners, pair.workers, strict=True)):
            folder = tmp_path / f"laptop-{number}"
            laptop = machines.enter_context(
                Machine(folder, servers, url=worker.url, owner=owner, transport="websocket")
            )
            laptop.wait_until_ready()
            tunnel.wait_until_offered(machines.enter_context(closing(pair.caller(owner))), laptop)
        before = [threads_of(worker.program.pid) for worker in pair.workers]
        answers, most = asyncio.run(asked_at_once(pair))
    assert Counter(notes.read_text().splitlines()) == Counter(
        f"left {number}-{which}" for number in range(COUNT) for which in "ab"
    )
    for number, answer in enumerate(answers):
        check(number, answer)
    told = [request.json["messages"] for request in upstream.sent_to(MESSAGES)]
    assert len(told) == 2 * COUNT
    assert [history_fault(messages) for messages in told] == [None] * len(told)
    check_books(pair)
    grown = [after - earlier for earlier, after in zip(before, most, strict=True)]
    assert max(grown) < MORE_THREADS, f"{grown} threads more for {COUNT} requests"


async def asked_at_once(pair: Stack) -> tuple[list[dict[str, Any]], Sequence[int]]:
    """The messages of all answers, and the most threads that each gateway had meanwhile."""
    most = [0] * len(pair.workers)

    async def watch() -> None:
        while True:
            for number, worker in enumerate(pair.workers):
                most[number] = max(most[number], threads_of(worker.program.pid))
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    limits = httpx.Limits(max_connections=COUNT)
    async with httpx.AsyncClient(timeout=WITHIN_S, trust_env=False, limits=limits) as client:
        answers = await asyncio.gather(*[ask(client, pair, number) for number in range(COUNT)])
    watching.cancel()
    return answers, most


async def ask(client: httpx.AsyncClient, pair: Stack, number: int) -> dict[str, Any]:
    """One request. Each gateway has streams and others, of both people; so has each machine."""
    # Two machines, since the queue of one is full at fewer calls than a hundred.
    streams, owner = number // 2 % 2 == 0, pair.owners[number // 4 % 2]
    body = {
        "model": "claude-opus-5-5",
        "max_tokens": 1000,
        "stream": streams,
        "mcp_servers": [{"type": "url", "url": "tunnel://laptop/effects", "name": "effects"}],
        "tools": [{"type": "mcp_toolset", "mcp_server_name": "effects"}],
        "messages": [{"role": "user", "content": str(number)}],
    }
    answer = await client.post(
        pair.workers[number % 2].url + MESSAGES,
        json=body,
        headers={"authorization": f"Bearer {owner.key}", "anthropic-beta": BETA},
    )
    assert answer.status_code == 200, answer.text
    if not streams:
        whole: dict[str, Any] = answer.json()
        return whole
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines]
    check_stream(events)
    return message.assemble(events)


def check(number: int, answer: dict[str, Any]) -> None:
    """Both calls, each with its own result, and the words after them."""
    blocks = answer["content"]
    uses = {one["id"]: one["input"]["word"] for one in blocks if one["type"] == "mcp_tool_use"}
    results = {
        one["tool_use_id"]: one["content"][0]["text"]
        for one in blocks
        if one["type"] == "mcp_tool_result"
    }
    assert uses == results
    assert sorted(uses.values()) == [f"{number}-a", f"{number}-b"]
    assert (blocks[-1]["text"], answer["stop_reason"]) == (f"Left {number}.", "end_turn")
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (50, 15)


def check_books(pair: Stack) -> None:
    """Every question is a closed row, one under the other, with what the upstream reported."""
    query = (
        "SELECT coalesce(parent_id, id), count(*), sum(input_tokens), sum(output_tokens),"
        " bool_and(state = 'completed') FROM billing_usagerecord GROUP BY 1"
    )
    with psycopg.connect(pair.settings["OPSCENTER_DATABASE_URL"]) as connection:
        found = connection.execute(query).fetchall()
    assert len(found) == COUNT
    assert {tuple(row[1:]) for row in found} == {(2, 50, 15, True)}


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
