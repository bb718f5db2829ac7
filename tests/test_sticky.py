"""A session stays where it is: on its upstream while that is well, and where an outage moved it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from billing.models import UsageRecord
from proxy.models import Route
from tests import answers
from tests import gateway as gateways
from tests.answers import Gate
from tests.asking import another_client, ask, rows
from tests.conftest import lead_to
from tests.gateway import Gateway
from tests.turns import text_turn
from tests.upstream import Upstream as Scripted

EVENTS = text_turn().events()
OVERLOADED = answers.error(529, "overloaded_error", "busy")


@pytest.fixture
def pool(gateway: Gateway, upstream: Scripted, second: Scripted) -> Gateway:
    """The gateway with two upstreams that share all models."""
    Route.objects.all().delete()
    lead_to(upstream.url, name="first")
    lead_to(second.url, name="second")
    return gateway


@pytest.fixture
def other(gateway: Gateway, tmp_path: Path) -> Iterator[httpx.Client]:
    """A client of another worker on the same database, whose memory is as long as in real life."""
    log = tmp_path / "gateway.log"
    with (
        gateways.running(log, OPSCENTER_MEMORY_TTL_S="4") as (url, _),
        another_client(gateway, url) as client,
    ):
        yield client
    assert "Traceback" not in log.read_text()


def sessions(count: int) -> list[str]:
    return [str(uuid4()) for _ in range(count)]


def homes(count: int) -> dict[str, set[str]]:
    """The upstreams that answered each session, by the ledger's first `count` rows."""
    found: dict[str, set[str]] = {}
    for row in rows(count):
        found.setdefault(row.session_id, set()).add(row.upstream)
    return found


@pytest.mark.usefixtures("pool")
def test_it_keeps_ten_parallel_sessions_each_on_its_upstream(client: httpx.Client) -> None:
    asked = sessions(10) * 10
    with ThreadPoolExecutor(10) as clients:
        answered = list(clients.map(lambda session: ask(client, session), asked))
    assert {response.status_code for response in answered} == {200}
    found = homes(100)
    assert {len(upstreams) for upstreams in found.values()} == {1}
    assert set.union(*found.values()) == {"first", "second"}


@pytest.mark.usefixtures("pool")
def test_it_puts_a_session_at_the_same_upstream_on_every_worker(
    client: httpx.Client, other: httpx.Client
) -> None:
    for session in sessions(8):
        ask(client, session)
        ask(other, session, model="claude-haiku-5-5")
    assert {len(upstreams) for upstreams in homes(16).values()} == {1}


@pytest.mark.usefixtures("chain")
def test_it_stays_where_an_outage_moved_it(client: httpx.Client, upstream: Scripted) -> None:
    upstream.script(OVERLOADED)
    for _ in range(3):
        ask(client, "s1")
    ask(client, "s2")
    assert [(row.session_id, row.upstream, row.moved_from) for row in rows(4)] == [
        ("s1", "second", "first"),
        ("s1", "second", ""),
        ("s1", "second", ""),
        ("s2", "first", ""),
    ]


@pytest.mark.usefixtures("chain")
def test_it_moves_back_when_the_place_it_moved_to_fails(
    client: httpx.Client, upstream: Scripted, second: Scripted
) -> None:
    upstream.script(OVERLOADED)
    ask(client, "s")
    second.script(OVERLOADED)
    ask(client, "s")
    ask(client, "s")
    assert [(row.upstream, row.moved_from) for row in rows(3)] == [
        ("second", "first"),
        ("first", "second"),
        ("first", ""),
    ]


@pytest.mark.usefixtures("chain")
def test_it_moves_no_session_of_the_same_name_in_another_organization(
    client: httpx.Client, gateway: Gateway, upstream: Scripted, charlies_key: str
) -> None:
    upstream.script(OVERLOADED)
    ask(client, "s")
    with another_client(gateway, key=charlies_key) as charlies:
        ask(charlies, "s")
    assert [row.upstream for row in rows(2)] == ["second", "first"]


@pytest.mark.usefixtures("chain")
def test_it_keeps_a_session_where_it_is_although_another_of_its_models_moves(
    client: httpx.Client, gateway: Gateway, upstream: Scripted, second: Scripted
) -> None:
    lead_to(upstream.url, name="third", pattern="claude-haiku-*", position=0)
    lead_to(second.url, name="fourth", pattern="claude-haiku-*", position=1)
    upstream.script(OVERLOADED, OVERLOADED)
    for model in ["claude-opus-5-5", "claude-haiku-5-5"] * 2:
        ask(client, "s", model=model)
    assert [(row.upstream, row.moved_from) for row in rows(4)] == [
        ("second", "first"),
        ("fourth", "third"),
        ("second", ""),
        ("fourth", ""),
    ]


@pytest.mark.usefixtures("chain")
def test_it_stays_moved_after_a_restart(
    client: httpx.Client, gateway: Gateway, upstream: Scripted, tmp_path: Path
) -> None:
    upstream.script(OVERLOADED)
    ask(client, "s")
    rows(1)
    with (
        gateways.running(tmp_path / "log") as (url, _),
        another_client(gateway, url) as restarted,
    ):
        ask(restarted, "s")
        ask(restarted, "another")
    assert [row.upstream for row in rows(3)] == ["second", "second", "first"]


@pytest.mark.usefixtures("chain")
def test_it_tells_the_other_worker_within_five_seconds(
    client: httpx.Client, other: httpx.Client, upstream: Scripted, second: Scripted
) -> None:
    """Also of a move whose request is still under way."""
    assert ask(other, "s").status_code == 200  # it has just read the table
    gate = Gate()
    upstream.script(OVERLOADED)
    second.script(answers.stream([EVENTS[0], gate, *EVENTS[1:]]))
    with ThreadPoolExecutor(1) as clients:
        moving = clients.submit(ask, client, "s", stream=True)
        assert gate.reached.wait(10)
        gateways.eventually(lambda: UsageRecord.objects.filter(moved_from="first").exists())
        gateways.eventually(lambda: answered_by_second(other, second), within_s=5)
        gate.open()
        assert moving.result(20).status_code == 200


def answered_by_second(client: httpx.Client, second: Scripted) -> bool:
    before = len(second.requests)
    ask(client, "s")
    return len(second.requests) > before


@pytest.mark.usefixtures("chain")
def test_it_stays_moved_although_the_user_interrupted_that_answer(
    gateway: Gateway, client: httpx.Client, upstream: Scripted, second: Scripted, tmp_path: Path
) -> None:
    gate = Gate()
    upstream.script(OVERLOADED)
    second.script(answers.stream([EVENTS[0], gate]))
    headers = {"x-claude-code-session-id": "s"}
    body = {"model": "claude-opus-5-5", "max_tokens": 10, "messages": [], "stream": True}
    with client.stream("POST", "/v1/messages", json=body, headers=headers) as response:
        next(response.iter_raw())
    assert rows(1)[0].state == "interrupted"
    with gateways.running(tmp_path / "log") as (url, _), another_client(gateway, url) as again:
        ask(again, "s")
    assert [row.upstream for row in rows(2)] == ["second", "second"]


@pytest.mark.usefixtures("chain")
def test_it_moves_nothing_when_nobody_answers(
    client: httpx.Client, gateway: Gateway, upstream: Scripted, second: Scripted, tmp_path: Path
) -> None:
    upstream.script(OVERLOADED)
    second.script(OVERLOADED)
    assert ask(client, "s").status_code == 529
    rows(1)
    with gateways.running(tmp_path / "log") as (url, _), another_client(gateway, url) as again:
        ask(again, "s")
    ask(client, "s")
    assert [row.upstream for row in rows(3)][1:] == ["first", "first"]
