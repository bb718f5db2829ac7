"""Secrets that pass through the tools stand in no log, no list of the admin, no error, no audit."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client

from accounts.tests.people import Person
from mcp.models import AuditedCall, ToolCall
from tests.environment import ROOT
from tests.gateway import Gateway, eventually

CONNECTOR = ROOT / "connector"
PYTHON = CONNECTOR / ".venv" / "bin" / "python"
READY_S = 60  # the MCP SDK takes seconds to import on a busy machine
STOP_S = 20
MARK = "canary7Qx"  # in each of them
SECRETS = {
    "anthropic": f"sk-ant-api03-{MARK}aaaaaaaa",
    "github": f"ghp_{MARK}bbbbbbbbbbbbbbbbbbbbbbbbbb",
    "aws": f"AKIA{MARK}CCCCCCC",
    "bearer": f"Authorization: Bearer {MARK}dddd",
    "password": f"password={MARK}eeee",
    "pem": f"-----BEGIN RSA PRIVATE KEY-----\n{MARK}ffff\n-----END RSA PRIVATE KEY-----",
    "jwt": f"eyJhbGciOiJIUzI1NiJ9.eyJ{MARK}gggg.c2ln",
    "url": f"https://alice:{MARK}hhhh@bakery.example/x",
    "env": f"DB_PASSWORD='{MARK} iiii'",
    "json": f'{{"client_secret": "{MARK}jjjj"}}',
    "netrc": f"machine bakery.example login alice password {MARK}kkkk",
    "slack": f"https://hooks.slack.com/services/T0/B0/{MARK}llll",
}

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="no connector here: make connector")


@pytest.fixture
def machine(server: Gateway, key: str, tmp_path: Path) -> Iterator[Path]:
    """A connector that says all it ever says; its folder."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "opscenter_connector.cli",
        "run",
        "--api-url",
        server.url,
    ]
    command += ["--allowed-paths", project, "--log-format", "json", "--log-level", "debug"]
    own = {"MCP_API_KEY": key, "DEPLOY_TOKEN": f"{MARK}-of-the-person"}
    environ = {"PATH": os.defpath, "HOME": str(home), "PYTHONPATH": str(CONNECTOR)} | own
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=home,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield tmp_path
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        finally:
            process.kill()
            process.wait()


def asked(secret: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Calls with it: that succeed, that fail, and that are refused."""
    yield "bash", {"command": f"cat <<'END'\n{secret}\nEND"}
    yield "bash", {"command": f"cat >&2 <<'END'\n{secret}\nEND\nexit 3"}
    yield "bash", {"command": f": {secret}", "timeout": secret}
    yield "bash", {"command": "true", "cwd": secret}
    yield "write_file", {"path": "notes.txt", "content": secret}
    yield "edit_file", {"path": "notes.txt", "old_string": f"no {secret}", "new_string": secret}
    yield "read_file", {"path": "notes.txt"}
    yield "read_file", {"path": f"gone/{secret}"}
    yield "read_file", {"path": f"/etc/{secret}"}
    yield "grep", {"pattern": f"({secret}"}
    yield "glob", {"pattern": f"[{secret}"}
    yield "list_directory", {secret: secret}


def test_secrets_of_calls_stand_in_no_log_list_error_or_audit(
    server: Gateway, key: str, alice: Person, machine: Path
) -> None:
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False) as gateway:
        eventually(lambda: _is_there(gateway), READY_S)
        count = 0
        for secret in SECRETS.values():
            for tool, arguments in asked(secret):
                body = {"server": "local", "tool": tool, "arguments": arguments}
                assert gateway.post("/api/mcp/execute", json=body).status_code == 200
                count += 1
        errors = [*_errors(gateway)]
    eventually(lambda: AuditedCall.objects.count() == count)
    told = [row.told for row in AuditedCall.objects.all()]
    assert MARK in ToolCall.objects.filter(tool="bash").first().params  # type: ignore[union-attr]  # there is one
    for text in (*errors, *told, *_pages(Client())):
        _holds_none(text, key)
    for log in (machine / "log", server.log):
        _holds_none(log.read_text(), key)
        assert "Traceback" not in log.read_text()
    assert json.loads((machine / "log").read_text().splitlines()[0])  # and there is something
    call_command("verifyaudit")


def _is_there(gateway: httpx.Client) -> bool:
    servers = gateway.get("/api/mcp/servers/me").json()["servers"]
    return any(one["name"] == "local" and one["status"] == "active" for one in servers)


def _errors(gateway: httpx.Client) -> Iterator[str]:
    """What the gateway says to a caller who is wrong."""
    for secret in SECRETS.values():
        for body in (
            {"server": secret, "tool": "bash"},
            {"server": "local", "tool": secret},
            {"server": "local", "tool": "bash", "arguments": secret},
            {"server": "local", "tool": "bash", "timeout_s": secret},
            {secret: 1},
        ):
            answer = gateway.post("/api/mcp/execute", json=body)
            assert 400 <= answer.status_code < 500
        wrong = {"authorization": f"Bearer {secret.encode('unicode_escape').decode()}"}
        answer = gateway.get("/api/mcp/status", headers=wrong)
        assert answer.status_code in {401, 429}
        yield answer.text


def _pages(client: Client) -> Iterator[str]:
    """Every list of the admin, and every page about a row of the audit."""
    client.force_login(User.objects.create_superuser("root-of-the-admin"))
    home = client.get("/admin/").content.decode()
    lists = sorted(set(re.findall(r'href="(/admin/[a-z_]+/[a-z_]+/)"', home)))
    assert "/admin/mcp/toolcall/" in lists and "/admin/mcp/auditedcall/" in lists
    for address in lists:
        yield client.get(address).content.decode()
    for row in AuditedCall.objects.all():
        yield client.get(f"/admin/mcp/auditedcall/{row.id}/change/").content.decode()


def _holds_none(text: str, key: str) -> None:
    for secret in (MARK, key):
        at = text.find(secret)
        assert at < 0, text[max(at - 300, 0) : at + 60]
