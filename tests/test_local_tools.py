"""The built-in tools from end to end: a caller, the gateway, the connector as people start it."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
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
Execute = Callable[..., dict[str, Any]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder that the person allows."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "bakery.txt").write_text("bread\nrolls for Zoë\n")
    return folder


@pytest.fixture
def execute(server: Gateway, key: str, project: Path, tmp_path: Path) -> Iterator[Execute]:
    """Runs a tool of `local` on a machine that has just connected, as a caller would."""
    with _connector(server, key, project, tmp_path), _client(server, key) as client:
        _ready(client, tmp_path / "log")

        def run(tool: str, /, within_s: float = 60, **arguments: Any) -> dict[str, Any]:
            body = {"server": "local", "tool": tool, "arguments": arguments, "timeout_s": within_s}
            answer = client.post("/api/mcp/execute", json=body)
            assert answer.status_code == 200, answer.text
            said: dict[str, Any] = answer.json()
            result: dict[str, Any] = said["result"]
            return result

        yield run


def _client(server: Gateway, key: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False)


def _ready(client: httpx.Client, log: Path) -> None:
    def listed() -> bool:
        servers = client.get("/api/mcp/servers/me").json()["servers"]
        return any(one["name"] == "local" and one["status"] == "active" for one in servers)

    try:
        eventually(listed, READY_S)
    except AssertionError:
        pytest.fail(f"the connector did not come:\n{log.read_text()}")


class _connector:  # noqa: N801 - it is used as a function
    """The program as people start it, with a home of its own; stopped by its own pid."""

    def __init__(self, server: Gateway, key: str, project: Path, folder: Path) -> None:
        command: list[str | Path] = [
            PYTHON,
            "-m",
            "opscenter_connector.cli",
            "run",
            "--api-url",
            server.url,
        ]
        command += ["--allowed-paths", str(project), "--log-format", "json"]
        home = folder / "home"
        home.mkdir()
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=home,
                env={
                    "PATH": os.defpath,
                    "HOME": str(home),
                    "MCP_API_KEY": key,
                    "PYTHONPATH": str(CONNECTOR),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._log = folder / "log"

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        finally:
            self._process.kill()
            self._process.wait()
        assert "Traceback" not in self._log.read_text(), self._log.read_text()


def test_it_reads_a_file_of_the_allowed_folder_and_no_other(
    execute: Execute, project: Path
) -> None:
    read = execute("read_file", path="bakery.txt")
    assert read["content"][0]["text"] == "bread\nrolls for Zoë\n"
    assert read["structuredContent"]["path"] == str(project / "bakery.txt")
    (project / "link").symlink_to("/etc/passwd")
    for path, reason in (("/etc/passwd", "lies outside"), ("link", "leads out of")):
        refused = execute("read_file", path=path)
        assert refused["isError"] is True
        assert reason in refused["content"][0]["text"]


def test_it_edits_and_runs_what_it_has_edited(execute: Execute, project: Path) -> None:
    execute("write_file", path="src/bake.sh", content="echo bread\n")
    change = {"old_string": "bread", "new_string": "rolls for Zoë"}
    edited = execute("edit_file", path="src/bake.sh", **change)
    assert edited["structuredContent"]["replacements"] == 1
    ran = execute("bash", command="bash bake.sh; pwd; exit 3", cwd="src")
    assert ran["structuredContent"]["stdout"] == f"rolls for Zoë\n{project / 'src'}\n"
    assert (ran["structuredContent"]["returncode"], ran["isError"]) == (3, True)
    assert ran["_meta"] == {"opscenter/sandbox": "bubblewrap", "opscenter/exit": 3}
    refused = execute("bash", command="rm -rf /")
    assert refused["isError"] is True
    assert "structuredContent" not in refused
    found = execute("grep", pattern="rolls", include="*.sh")
    assert found["structuredContent"]["matches"] == ["src/bake.sh:1:echo rolls for Zoë"]


def test_a_deadline_ends_a_command_and_all_that_it_started(execute: Execute, project: Path) -> None:
    ran = execute("bash", command="(sleep 60; touch late) & sleep 60", timeout=60, within_s=4)
    assert ran["structuredContent"]["ended"] == "timeout"
    assert ran["structuredContent"]["duration_s"] < 4
    assert execute("list_directory")["structuredContent"]["count"] == 1


def test_a_call_that_is_cancelled_is_ended_on_the_machine(
    execute: Execute, server: Gateway, key: str, project: Path
) -> None:
    with _client(server, key) as client:
        body = {"server": "local", "tool": "bash", "wait": False}
        body["arguments"] = {"command": "touch begun; sleep 30; touch late", "timeout": 60}
        call = client.post("/api/mcp/execute", json=body).json()["call_id"]
        eventually((project / "begun").exists, READY_S)
        client.post(f"/api/mcp/calls/{call}/cancel").raise_for_status()
        ended = eventually(lambda: _finished(client, call))
    assert ended["state"] == "cancelled"
    alone = execute("bash", command="sleep 1; ls")["structuredContent"]["stdout"]
    assert alone == "bakery.txt\nbegun\n"


def _finished(client: httpx.Client, call: str) -> dict[str, Any] | None:
    said: dict[str, Any] = client.get(f"/api/mcp/calls/{call}").json()
    return said if said.get("finished_at") else None
