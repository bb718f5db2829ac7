"""The set-up guide is true: its blocks, pasted one after the other, do what they say."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from opscenter.tests.test_setup import KEY, Installation
from tests import environment, gateway, guide
from tests import mcp_http as scripted
from tests.guide import Shell
from tests.mcp_http import McpHttp

mcp_http = scripted.mcp_http

READY_S = 60  # the MCP SDK takes seconds to import on a busy machine
SETTINGS = {
    "OPSCENTER_ENCRYPTION_KEYS": "only-for-tests-" + "e" * 32,
    "OPSCENTER_MCP_HTTP": "true",
    "OPSCENTER_MCP_HTTP_ALLOW": "127.0.0.1",
    "KEYCLOAK_URL": "",
    "KEYCLOAK_CLIENT_SECRET": "",
}
# What some of the blocks say when all is well, by a word in them.
SAID = {
    "manage.py doctor": "claude-opus-5-5 answered in",
    '"stream": true': "event: message_stop",
    "count_tokens": '"input_tokens"',
    "ops-connector status": "1 machine connected",
    "/api/mcp/execute": '"state": "succeeded"',
    "/api/mcp/register": '"server_id":"weather"',
    "/api/v1/api-keys": '"scopes":["anthropic-proxy","mcp-callback"]',
    "/api/v1/usage/current": '"code":"enterprise"',
    "importmapping": "gpt-4 at litellm",
    "brigade/preview": '"task_type":"code_review"',
    "tunnel://clock": '"is_error":false',
}


@pytest.fixture
def shell(tmp_path: Path, mcp_http: McpHttp) -> Iterator[Shell]:
    """A new user's shell, beside a gateway that they have just set up."""
    var, folder = tmp_path / "var", tmp_path / "checkout"
    folder.mkdir()
    said = Installation(var=var).setup(**SETTINGS)
    key = KEY.search(said)
    assert key
    settings = Installation(var=var).settings | SETTINGS
    with gateway.running(tmp_path / "serve.log", **settings) as (url, _):
        port = url.rpartition(":")[2]
        replaced = {
            "127.0.0.1:8084": f"127.0.0.1:{port}",
            "sk-uc-…": key.group(),
            "https://mcp.example.com/mcp": mcp_http.url,
            "127.0.0.1:4000": "127.0.0.1:9",
        }
        ours = environment.child(**settings, OPSCENTER_PORT=port)
        with Shell(folder=folder, replaced=replaced, environment=ours) as shell:
            yield shell


def wait_for_machine(shell: Shell) -> None:
    """Until the connector that was started has shown its server."""
    address = shell.here("http://127.0.0.1:8084/api/mcp/servers/me")
    headers = {"authorization": shell.here("Bearer sk-uc-…")}

    def listed() -> bool:
        found = httpx.get(address, headers=headers, trust_env=False).json()["servers"]
        return any(one["status"] == "active" for one in found)

    try:
        gateway.eventually(listed, READY_S)
    except AssertionError:
        pytest.fail(f"the connector did not come:\n{shell.log.read_text()}")


@pytest.mark.skipif(
    not (environment.ROOT / "connector/.venv/bin/ops-connector").exists(),
    reason="no connector here: make connector",
)
def test_its_blocks_do_what_they_say(shell: Shell) -> None:
    heard = set()
    for block in guide.blocks():
        if block.language != "sh" or block.says == guide.CLAUDE:
            continue
        if block.says == guide.STAYS:
            shell.start(block.text)
            wait_for_machine(shell)
            continue
        said = shell.paste(block.text)
        for word in [word for word in SAID if word in block.text]:
            assert SAID[word] in said, f"{block.text}\n{said}"
            heard.add(word)
    assert heard == SAID.keys()
    for command in guide.troubles():
        shell.paste(command)


def test_its_settings_of_claude_code_are_json() -> None:
    found = [json.loads(block.text) for block in guide.blocks() if block.language == "json"]
    assert [sorted(settings) for settings in found] == [["env"], ["apiKeyHelper", "env"]]
    assert "sk-uc-" in json.dumps(found[0]) and "sk-uc-" not in json.dumps(found[1])
