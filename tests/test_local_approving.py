"""A person between a caller and their machine, from end to end: caller, gateway, connector."""

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.environment import ROOT
from tests.gateway import Gateway, eventually

CONNECTOR = ROOT / "connector"
PYTHON = CONNECTOR / ".venv" / "bin" / "python"
READY_S = 60  # the MCP SDK takes seconds to import on a busy machine
STOP_S = 20

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="no connector here: make connector")

NOTHING_HOLDS = """
[local]
allowed_paths = ["{project}"]
sandbox = "none"

[policy.servers.local.tools]
read_file = "deny"
"""


class Caller:
    """Runs tools of their machine, and approves what it asks about."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self._threads = ThreadPoolExecutor(2)

    def execute(self, tool: str, **arguments: Any) -> dict[str, Any]:
        body = {"server": "local", "tool": tool, "arguments": arguments, "timeout_s": 60}
        answer = self.client.post("/api/mcp/execute", json=body)
        assert answer.status_code == 200, answer.text
        said: dict[str, Any] = answer.json()
        return said

    def begin(self, tool: str, **arguments: Any) -> Any:
        return self._threads.submit(self.execute, tool, **arguments)

    def asked(self) -> dict[str, Any]:
        """The one question that waits."""
        eventually(lambda: len(self._waiting()) == 1, READY_S)
        return self._waiting()[0]

    def answer(self, question: dict[str, Any], *, approve: bool, digest: str = "") -> int:
        body = {"approve": approve, "digest": digest or question["digest"]}
        return self.client.post(f"/api/mcp/approvals/{question['id']}", json=body).status_code

    def _waiting(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get("/api/mcp/approvals").json()["results"]
        return found

    def close(self) -> None:
        self._threads.shutdown()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder that the person allows."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def caller(server: Gateway, key: str, project: Path, tmp_path: Path) -> Iterator[Caller]:
    headers = {"authorization": f"Bearer {key}"}
    with (
        _connector(server, key, project, tmp_path),
        httpx.Client(base_url=server.url, headers=headers, timeout=90, trust_env=False) as client,
    ):

        def listed() -> bool:
            servers = client.get("/api/mcp/servers/me").json()["servers"]
            return any(one["name"] == "local" and one["status"] == "active" for one in servers)

        eventually(listed, READY_S)
        one = Caller(client)
        yield one
        one.close()


@contextmanager
def _connector(server: Gateway, key: str, project: Path, folder: Path) -> Iterator[None]:
    """The program as people start it, with a home of its own; stopped by its own pid."""
    home = folder / "home"
    home.mkdir()
    config = home / "connector.toml"
    config.write_text(NOTHING_HOLDS.format(project=project))
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "opscenter_connector.cli",
        "run",
        "--config",
        str(config),
    ]
    environ = {"PATH": os.defpath, "HOME": str(home), "PYTHONPATH": str(CONNECTOR)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--api-url", server.url, "--log-format", "json"],
            cwd=home,
            env=environ | {"MCP_API_KEY": key},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        finally:
            process.kill()
            process.wait()
    said = (folder / "log").read_text()
    assert "Traceback" not in said, said
    assert "/approvals/" in said or "refused here" in said


def test_a_command_that_nothing_holds_runs_when_a_person_has_approved_it(
    caller: Caller, project: Path
) -> None:
    running = caller.begin("bash", command="echo bread > made")
    question = caller.asked()
    assert question["reason"].startswith("no sandbox holds commands here: this one may do all")
    assert question["arguments"] == {"command": "echo bread > made"}
    assert not (project / "made").exists()
    assert caller.answer(question, approve=True, digest="0" * 64) == 409
    assert caller.answer(question, approve=True) == 200
    assert running.result(READY_S)["result"]["isError"] is False
    assert (project / "made").read_text() == "bread\n"
    assert caller.answer(question, approve=True) == 409


def test_a_command_that_a_person_refused_does_not_run(caller: Caller, project: Path) -> None:
    running = caller.begin("bash", command="touch made")
    assert caller.answer(caller.asked(), approve=False) == 200
    said = running.result(READY_S)
    assert said["state"] == "failed"
    assert said["result"]["isError"] is True
    assert not (project / "made").exists()


def test_what_the_machine_denies_nobody_is_asked_about(caller: Caller, project: Path) -> None:
    (project / "bakery.txt").write_text("bread")
    said = caller.execute("read_file", path="bakery.txt")
    assert said["state"] == "failed"
    assert "this machine refuses it" in str(said)
    assert "bread" not in str(said["result"]).replace("bakery", "")
