"""What a Brigade speaks is found out; what it cannot take or do is another upstream's to answer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync

from proxy import probe, table
from proxy.models import Route
from proxy.models import Upstream as Provider
from tests import brigade as brigades
from tests.answers import Answer, End, as_json
from tests.asking import ask, error_of, rows
from tests.brigade import CHAT_USAGE, Brigade, detail, lines
from tests.conftest import lead_to
from tests.gateway import Gateway
from tests.test_health import asking, health, nobody
from tests.upstream import Upstream

brigade = brigades.brigade
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
ELSEWHERE = "Hello from the upstream."
PIXEL = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
TOOL = {"name": "edit", "description": "Edit.", "input_schema": {"type": "object"}}


@pytest.fixture
def led(gateway: Gateway, brigade: Brigade) -> Provider:
    """A Brigade that is asked first, and another upstream after it."""
    row = Route.objects.get()
    row.position = 500
    row.save()
    return lead_to(brigade.url, name="unicorn", kind="brigade", position=1)


@pytest.fixture
def fresh(led: Provider, brigade: Brigade) -> Iterator[Brigade]:
    """The Brigade under a name that no gateway has asked before."""
    led.name = f"unicorn-{brigade.url.rpartition(':')[2]}"
    led.save()
    yield brigade


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return "".join(block.get("text", "") for block in answer.json()["content"])


def posted(brigade: Brigade) -> list[str]:
    return [request.path for request in brigade.asked]


@pytest.mark.parametrize(
    ("dialects", "path"),
    [
        ({"tasks", "openai", "chat", "a2a"}, "/api/tasks"),
        ({"openai", "chat", "a2a"}, "/api/v1/chat/completions"),
        ({"chat", "a2a"}, "/api/v1/agents/the-general/chat"),
        ({"a2a"}, "/api/v1/a2a/agents/the-general/invoke"),
    ],
)
def test_it_is_asked_in_the_dialect_that_says_most(
    fresh: Brigade, client: httpx.Client, dialects: set[str], path: str
) -> None:
    fresh.dialects = frozenset(dialects)
    assert [text_of(ask(client, **HI)) for _ in range(2)] == ["At your service."] * 2
    assert posted(fresh) == [path, path]
    looks = [r for r in fresh.requests if r.body == b"{}"]
    assert len(looks) == 4, "it is remembered"


def test_a_dialect_that_is_gone_is_looked_for_anew(fresh: Brigade, client: httpx.Client) -> None:
    ask(client, **HI)
    fresh.dialects = frozenset({"chat"})
    assert text_of(ask(client, **HI)) == ELSEWHERE
    assert text_of(ask(client, **HI)) == "At your service."
    assert posted(fresh)[-1] == "/api/v1/agents/the-general/chat"


def test_a_server_that_is_no_brigade_is_named(fresh: Brigade, client: httpx.Client) -> None:
    fresh.dialects = frozenset()
    assert text_of(ask(client, **HI)) == ELSEWHERE
    Route.objects.exclude(upstream__kind="brigade").delete()
    answer = ask(client, **HI)
    assert error_of(answer) == (502, "api_error")
    assert "speaks none of Brigade's dialects" in answer.text


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (
            "tasks",
            {"messages": [{"role": "user", "content": [{"type": "image", "source": PIXEL}]}]},
        ),
        ("tasks", {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ("tasks", {"thinking": {"type": "adaptive"}}),
        ("tasks", {"tools": [TOOL], "tool_choice": {"type": "any"}}),
        ("tasks", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ("tasks", {"tools": [TOOL | {"input_schema": {"type": "object", "anyOf": [{}]}}]}),
        ("tasks", {"output_config": {"format": {"type": "json_schema", "schema": {}}}}),
        ("tasks", {"mcp_servers": [{"type": "url", "url": "https://a.example", "name": "a"}]}),
        ("tasks", {"messages": [*HI["messages"], {"role": "assistant", "content": "I"}]}),
        ("chat", {"system": "Be brief."}),
        ("chat", {"tools": [TOOL]}),
        ("a2a", {"tools": [TOOL]}),
        ("a2a", {"messages": [{"role": "user", "content": [{"type": "image", "source": PIXEL}]}]}),
    ],
)
def test_what_it_cannot_take_another_upstream_answers(
    led: Provider, client: httpx.Client, brigade: Brigade, dialect: str, body: dict[str, Any]
) -> None:
    led.dialect = dialect
    led.save()
    headers = {"anthropic-beta": "mcp-client-2025-11-20"} if "mcp_servers" in body else {}
    whole = {"model": "claude-opus-5-5", "max_tokens": 3000} | HI | body
    if "mcp_servers" in body:
        whole["tools"] = [{"type": "mcp_toolset", "mcp_server_name": "a"}]
    answer = client.post("/v1/messages", json=whole, headers=headers)
    assert text_of(answer) == ELSEWHERE
    assert brigade.asked == []


@pytest.mark.parametrize(
    "said",
    [
        detail(503, "Too many tasks"),
        detail(422, "task_type: not known here"),
        as_json({"task_id": "t", "status": "failed", "result": None, "error": "out of memory"}),
        as_json({"task_id": "t", "status": "running", "result": None}),
        as_json({"hello": "world"}),
        Answer(steps=(End.CUT,)),
    ],
)
def test_what_it_fails_at_another_upstream_answers(
    led: Provider, client: httpx.Client, brigade: Brigade, said: Answer
) -> None:
    led.dialect = "tasks"
    led.save()
    brigade.say(said)
    assert text_of(ask(client, **HI)) == ELSEWHERE
    (row,) = rows(1)
    assert (row.upstream, row.moved_from) == ("scripted", "unicorn")


def test_an_agent_that_is_not_there_is_another_upstreams_to_answer(
    led: Provider, client: httpx.Client, brigade: Brigade
) -> None:
    led.dialect, led.aliases = "chat", {"*": "nobody"}
    led.save()
    assert text_of(ask(client, **HI)) == ELSEWHERE
    led.aliases = {"*": "gunny"}
    led.save()
    assert text_of(ask(client, **HI)) == "At your service."


@pytest.mark.parametrize(
    ("model", "agent"),
    [
        ("code_writer", "cpt-fullstack"),
        ("sgt-scribe", "sgt-scribe"),
        ("claude-opus-5-5", "the-general"),
        ("ours", "prof-datasci"),
    ],
)
def test_a_name_of_ours_is_one_of_its_agents(
    led: Provider, client: httpx.Client, brigade: Brigade, model: str, agent: str
) -> None:
    led.dialect, led.aliases = "tasks", {"ours": "prof-datasci"}
    led.save()
    assert ask(client, **HI | {"model": model}).json()["model"] == model
    assert brigade.asked[0].json["agents"] == [agent]


@pytest.mark.parametrize(("header", "field"), [("x-api-key", "key"), ("authorization", "bearer")])
@pytest.mark.parametrize("dialect", ["tasks", "openai", "chat", "a2a"])
def test_it_is_shown_the_credential_as_its_row_says(
    led: Provider, client: httpx.Client, brigade: Brigade, header: str, field: str, dialect: str
) -> None:
    secret = "brigade-service-key-0123"
    setattr(brigade, field, secret)
    led.dialect, led.credential_header = dialect, header
    led.store(secret)
    led.save()
    assert text_of(ask(client, **HI)) == "At your service."


def test_a_failure_in_the_middle_of_a_stream_is_told(
    led: Provider, client: httpx.Client, brigade: Brigade
) -> None:
    led.dialect = "chat"
    led.save()
    brigade.say(lines({"type": "token", "content": "Yes"}, {"type": "error", "error": "gone"}))
    text = client.post(
        "/v1/messages", json={"model": "m", "max_tokens": 9, "stream": True} | HI
    ).text
    assert '"text":"Yes"' in text
    assert '"error":{"type":"api_error","message":"gone"}' in text
    assert "message_stop" not in text


@pytest.mark.parametrize(
    ("change", "ok", "text"),
    [
        ({}, True, "speaks tasks, openai, chat, a2a; it is asked in tasks."),
        ({"dialect": "chat"}, True, "it is asked in chat."),
        ({"dialects": frozenset({"chat"}), "dialect": "tasks"}, False, "but not tasks"),
        ({"dialects": frozenset()}, False, "none of Brigade's dialects"),
        ({"key": "something else"}, False, "wants a credential (401)"),
    ],
)
def test_the_admin_tells_what_it_speaks(
    led: Provider, brigade: Brigade, change: dict[str, Any], ok: bool, text: str
) -> None:
    led.dialect = change.pop("dialect", "")
    for name, value in change.items():
        setattr(brigade, name, value)
    finding = async_to_sync(probe.tested)(table.config_of(led))
    assert (finding.ok, text in finding.text) == (ok, True), finding


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("status", "connected"), [(200, True), (0, True), (503, False)])
def test_health_tells_whether_it_is_connected(
    tmp_path: Path, brigade: Brigade, status: int, connected: bool
) -> None:
    brigade.health = status  # 0: a build that has no /health, and answers at / alone
    lead_to(brigade.url, name="unicorn", kind="brigade")
    with asking(tmp_path / "log") as client:
        said = health(client)
    assert (said["brigade_connected"], said["status"] == "healthy") == (connected, connected)


@pytest.mark.django_db(transaction=True)
def test_health_tells_that_nobody_is_there(tmp_path: Path) -> None:
    lead_to(nobody(), name="unicorn", kind="brigade")
    with asking(tmp_path / "log") as client:
        said = health(client)
    assert (said["brigade_connected"], said["status"]) == (False, "degraded")


def test_usage_that_it_reports_is_what_counts(
    led: Provider, client: httpx.Client, brigade: Brigade, upstream: Upstream
) -> None:
    led.dialect = "chat"
    led.save()
    usage = ask(client, **HI).json()["usage"]
    assert {name: usage[name] for name in CHAT_USAGE} == CHAT_USAGE
    assert "opscenter_estimated" not in usage
    brigade.say(as_json({"content": "Yes.", "model": "qwen", "provider": "local"}))
    assert ask(client, **HI).json()["usage"]["opscenter_estimated"] is True
    assert [row.flags for row in rows(2)] == ["", "uncounted"]
