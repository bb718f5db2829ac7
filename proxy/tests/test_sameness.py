"""Which requests are the same: a client's fallback is, and another question is not."""

import json
from typing import Any
from uuid import UUID

import pytest

from accounts.principal import CALLBACK, MESSAGES, Principal
from proxy import plans, sameness
from proxy.wire.body import MessagesRequest

BODY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 128_000,
    "stream": True,
    "messages": [{"role": "user", "content": "Go."}],
    "system": "Be short.",
    "thinking": {"type": "enabled", "budget_tokens": 100_000},
}
CALLER: dict[str, Any] = {
    "organization_id": UUID(int=1),
    "user_id": 1,
    "key_id": "k",
    "scopes": frozenset({MESSAGES, CALLBACK}),
}
HEADERS = {
    "x-claude-code-session-id": "s",
    "user-agent": "claude-cli/2.1.330 (external, cli)",
    "anthropic-beta": "effort-2025-11-24,mcp-client-2025-11-20",
}


def digest(
    body: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    **caller: Any,
) -> str:
    raw = [(name.encode(), value.encode()) for name, value in (headers or HEADERS).items()]
    request = MessagesRequest.parse(json.dumps(body or BODY).encode())
    who = Principal(**CALLER | caller)
    return sameness.digest_of(request, who, raw, plans.shape_of(raw))


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"stream": False}, {}),
        ({"stream": False, "max_tokens": 64_000}, {}),
        ({"max_tokens": 9, "thinking": {"type": "enabled", "budget_tokens": 8}}, {}),
        ({}, {"x-stainless-timeout": "300"}),
        ({}, {"anthropic-beta": "mcp-client-2025-11-20"}),
    ],
)
def test_it_knows_a_clients_fallback(body: dict[str, Any], headers: dict[str, str]) -> None:
    assert digest(BODY | body, HEADERS | headers) == digest()


def test_it_does_not_look_at_the_order_of_the_members() -> None:
    assert digest(dict(reversed(BODY.items()))) == digest()


@pytest.mark.parametrize(
    "body",
    [
        {"model": "n"},
        {"messages": [*BODY["messages"], {"role": "assistant", "content": "Gone."}]},
        {"system": "Be long."},
        {"thinking": {"type": "disabled"}},
        {"thinking": None},
        {"tools": [{"name": "edit"}]},
        {"mcp_servers": [{"url": "tunnel://files"}]},
        {"brigade": "coder"},
        {"metadata": {"user_id": "again"}},
        {"tomorrow": 1},
    ],
)
def test_it_knows_another_question(body: dict[str, Any]) -> None:
    assert digest(BODY | body) != digest()


@pytest.mark.parametrize(
    "headers",
    [
        {"x-claude-code-session-id": "t"},
        {"x-claude-code-agent-id": "a"},
        {"x-claude-code-parent-agent-id": "a"},
        {"x-opscenter-agent": "coder"},
        {"user-agent": "python"},
        {"anthropic-beta": "mcp-client-2026-09-15"},
    ],
)
def test_it_knows_another_asker(headers: dict[str, str]) -> None:
    assert digest(headers=HEADERS | headers) != digest()


@pytest.mark.parametrize(
    "caller",
    [
        {"organization_id": UUID(int=2)},
        {"user_id": 2},
        {"key_id": "l"},
        {"scopes": frozenset({MESSAGES})},
    ],
)
def test_it_knows_another_caller(caller: dict[str, Any]) -> None:
    assert digest(**caller) != digest()


def test_it_does_not_take_one_part_for_another() -> None:
    assert digest(key_id="k1", user_id=1) != digest(key_id="k", user_id=11)
    assert digest(BODY | {"a": 1, "b": 2}) != digest(BODY | {"a": 12})
