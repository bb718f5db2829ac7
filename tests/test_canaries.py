"""Twelve secrets go in; none comes out: not in a log, a metric, an error, an audit or a row."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core import serializers

from accounts.models import AuditEntry
from billing.models import UsageRecord
from mcp import frames
from proxy.models import Route
from proxy.models import Upstream as UpstreamRow
from tests import answers, tunnel
from tests import gateway as gateways
from tests.conftest import lead_to
from tests.connector import done
from tests.gateway import Gateway
from tests.machine_work import BETA, laptop
from tests.machine_work import BODY as WITH_TOOLS
from tests.turns import text_turn, tool_turn
from tests.upstream import Upstream

tidy = tunnel.tidy
pytestmark = pytest.mark.usefixtures("tidy")

CANARY = {
    "x-api-key": "sk-uc-canarycanary-" + "x0X" * 14 + "x",
    "bearer": "bearer-canary-0123456789",
    "upstream": "upstream-canary-0123456789",
    "prompt": "prompt-canary-0123456789",
    "arguments": "arguments-canary-0123456789",
    "result": "result-canary-0123456789",
    "keycloak": "eyJjYW5hcnki.eyJrZXljbG9hay1jYW5hcnki.c2lnbmF0dXJl",
    "lago": "lago-canary-0123456789",
    "database": "database-canary-0123456789",
    "cookie": "cookiecanary0123456789abcdefghij",
    "webhook": "webhook-canary-0123456789abcdefghijkl",
    "pepper": settings.KEY_PEPPER,
}
OF_THE_GATEWAY = {"CANARY_UPSTREAM": CANARY["upstream"]}
LAGO = {"LAGO_API_KEY": CANARY["lago"], "LAGO_WEBHOOK_SECRET": CANARY["webhook"]}
PROMPT: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 10,
    "messages": [{"role": "user", "content": CANARY["prompt"]}],
}


def found_in(text: str) -> set[str]:
    """Whose canary stands in the text, in whole or by its secret part."""
    return {name for name, value in CANARY.items() if value in text or value[-30:] in text}


def echoed() -> answers.Answer:
    """An upstream that says which credential it does not like."""
    return answers.error(500, "api_error", f"bad key {CANARY['upstream']}")


def broken_off() -> answers.Answer:
    """The same in the middle of a stream."""
    error = {"type": "error", "error": {"type": "api_error", "message": CANARY["upstream"]}}
    said = b"event: error\ndata: " + json.dumps(error).encode() + b"\n\n"
    return answers.stream([*text_turn().events()[:4], answers.Pause(0.3), said])


async def with_tools(gateway: Gateway, upstream: Upstream) -> None:
    """Arguments and results go through, and their answer fails at last."""

    def says(call: frames.Call) -> dict[str, Any]:
        return done(call, CANARY["result"])

    upstream.script(tool_turn(("files_read", {"path": CANARY["arguments"]})), echoed())
    async with (
        laptop(gateway, says),
        httpx.AsyncClient(base_url=gateway.url, timeout=30, trust_env=False) as client,
    ):
        headers = gateway.headers | {"anthropic-beta": BETA}
        await client.post("/v1/messages", json=WITH_TOOLS, headers=headers)


def failures(gateway: Gateway, upstream: Upstream) -> list[httpx.Response]:
    """What goes wrong with each of the others."""
    with httpx.Client(base_url=gateway.url, timeout=30, trust_env=False) as client:
        strangers: list[dict[str, str]] = [
            {"x-api-key": CANARY["x-api-key"]},
            {"authorization": f"Bearer {CANARY['bearer']}"},
            {"authorization": f"Bearer {CANARY['keycloak']}"},
        ]
        said = [client.post("/v1/messages", json=PROMPT, headers=one) for one in strangers]
        upstream.script(echoed())
        said.append(client.post("/v1/messages", json=PROMPT, headers=gateway.headers))
        upstream.script(broken_off())
        streamed = PROMPT | {"stream": True}
        said.append(client.post("/v1/messages", json=streamed, headers=gateway.headers))
        broken = PROMPT | {"max_tokens": CANARY["prompt"]}
        said.append(client.post("/v1/messages", json=broken, headers=gateway.headers))
        cookies = {"cookie": f"sessionid={CANARY['cookie']}"}
        said += [client.get(path, headers=cookies) for path in ("/admin/live/", "/api/mcp/none")]
        hook = {"x-lago-signature": CANARY["webhook"], "x-lago-signature-algorithm": "hmac"}
        said.append(client.post("/api/v1/lago/webhooks", json={}, headers=hook))
        said.append(client.get("/metrics"))
    return said


@pytest.mark.parametrize("form", ["text", "json"])
async def test_no_canary_is_heard_in_any_sink(
    gateway: Gateway, upstream: Upstream, tmp_path: Path, form: str
) -> None:
    log, log_away = tmp_path / "gateway.log", tmp_path / "away.log"
    lago = LAGO | {"LAGO_API_URL": f"http://127.0.0.1:{gateways.free_port()}"}
    said_how = {"OPSCENTER_LOG_FORMAT": form, "OPSCENTER_LOG_LEVEL": "DEBUG"}

    def led() -> None:
        Route.objects.all().delete()
        UpstreamRow.objects.all().delete()
        lead_to(upstream.url, credential_variable="CANARY_UPSTREAM")

    await sync_to_async(led)()
    with gateways.running(log, **said_how, **OF_THE_GATEWAY, **lago) as (url, process):
        own = replace(gateway, url=url, process=process)
        await with_tools(own, upstream)
        said = await sync_to_async(failures)(own, upstream)
    nowhere = f"postgres://ops:{CANARY['database']}@127.0.0.1:{gateways.free_port()}/none"
    with gateways.running(log_away, **said_how, OPSCENTER_DATABASE_URL=nowhere) as (url, _):
        away = replace(gateway, url=url)
        said += await sync_to_async(failures)(away, upstream)
    asked = upstream.requests[-1]
    assert CANARY["upstream"] in str(asked.headers), "the canary was never there"
    assert any(one.status_code == 500 and "bad key" in one.text for one in said)
    assert any("[hidden]" in one.text for one in said)

    def rows() -> str:
        kept = [*AuditEntry.objects.all(), *UsageRecord.objects.all()]
        assert kept
        text: str = serializers.serialize("json", kept)
        return text

    sinks = {
        "log": log.read_text(),
        "log without a database": log_away.read_text(),
        "answers": "".join(f"{one.headers} {one.text}" for one in said),
        "rows": await sync_to_async(rows)(),
    }
    assert all(sinks.values())
    assert {name: found_in(text) for name, text in sinks.items()} == {name: set() for name in sinks}
    if form == "json":
        lines = [json.loads(line) for line in sinks["log"].splitlines() if line[0] == "{"]
        assert any(line.get("request_id") and line.get("key_id") for line in lines)
