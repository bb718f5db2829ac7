"""The command line: what may be said, and which exit code comes of it."""

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from opscenter_connector import arguments, cli
from opscenter_connector.config import FILE
from tests import gateways
from tests.gateways import KEY

EXAMPLE = Path(__file__).parent.parent / "examples/clock.py"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("MCP_API_KEY", "MCP_API_KEY_FILE", "MCP_API_URL", "MCP_USER_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def test_it_runs_without_a_command_as_the_seed_says() -> None:
    seed = [
        "--user-id",
        "7",
        "--api-key",
        "k",
        "--api-url",
        "https://g",
        "--allowed-paths",
        "/a,/b",
    ]
    assert arguments.parse(seed) == (
        "run",
        {"user_id": "7", "api_key": "k", "api_url": "https://g", "allowed_paths": "/a,/b"},
    )
    assert arguments.parse([]) == ("run", {})


def test_it_takes_options_before_and_after_the_command() -> None:
    command, given = arguments.parse(["--user-id", "7", "--name", "a", "doctor", "--json"])
    assert (command, given) == ("doctor", {"user_id": "7", "name": "a", "json": True})
    _, given = arguments.parse(["--user-id", "7", "doctor", "--user-id", "8"])
    assert given == {"user_id": "8"}


@pytest.mark.parametrize(
    "argv",
    [
        ["dance"],
        ["--transport", "pigeon"],
        ["--max-in-flight", "many"],
        ["--api-key-stdin", "--api-key-file", "x"],
        ["run", "--json"],
        ["--api", "x"],
    ],
)
def test_it_ends_with_2_for_a_wrong_command_line(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2


@pytest.mark.parametrize("command", ["", "run", "doctor", "status", "tools", "init"])
def test_it_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "--help"] if command else ["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "MCP_API_KEY" in shown
    if not command:
        assert "exit codes:" in shown


def test_it_ends_with_2_and_one_line_for_a_wrong_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path(FILE).write_text("nam = 1")
    assert cli.main(["run"]) == 2
    assert capsys.readouterr().err == (
        f"ops-connector: {Path(FILE).absolute()}, line 1: 'nam' is not a key here; "
        "did you mean 'name'?\n"
    )


def test_it_ends_with_3_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "status"):
        assert cli.main([command]) == 3
        assert "--api-key-file" in capsys.readouterr().err


def mcp_config(**servers: Mapping[str, object]) -> str:
    path = Path(".mcp.json")
    path.write_text(json.dumps({"mcpServers": servers}))
    return str(path)


def test_it_lists_the_tools_of_local_servers(capsys: pytest.CaptureFixture[str]) -> None:
    clock = {"command": sys.executable, "args": [str(EXAMPLE)]}
    assert cli.main(["tools", "--mcp-config", mcp_config(clock=clock)]) == 0
    shown = capsys.readouterr().out
    assert "count_down" in shown
    assert "read-only" in shown
    assert "1 server, 2 tools" in shown


def test_it_ends_with_1_if_a_server_does_not_start(capsys: pytest.CaptureFixture[str]) -> None:
    dies = {"command": sys.executable, "args": ["-c", "import sys; sys.exit('no \x1b[31mluck')"]}
    path = mcp_config(dies=dies, gone={"command": "/no/such/program"})
    assert cli.main(["tools", "--json", "--mcp-config", path]) == 1
    found = {server["name"]: server for server in json.loads(capsys.readouterr().out)["servers"]}
    assert {server["state"] for server in found.values()} == {"failed"}
    assert "luck" in found["dies"]["error"]

    assert cli.main(["tools", "--mcp-config", path]) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_it_ends_with_2_if_there_is_nothing_to_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tools"]) == 2
    assert "--mcp-config" in capsys.readouterr().err


def test_it_checks_local_servers_without_a_gateway(capsys: pytest.CaptureFixture[str]) -> None:
    clock = {"command": sys.executable, "args": [str(EXAMPLE)]}
    path = mcp_config(clock=clock, gone={"command": "/no/such", "args": ["a b"]})
    argv = ["doctor", "--json", "--api-url", "http://127.0.0.1:1", "--mcp-config", path]
    assert cli.main(argv) == 1
    steps = {step["step"]: step for step in json.loads(capsys.readouterr().out)["steps"]}
    assert steps["server clock"]["state"] == "ok"
    assert steps["server gone"]["fix"] == [f"cd {Path.cwd()} && /no/such 'a b'"]


async def asked(answers: gateways.Answers, *argv: str) -> int:
    """The exit code of a command that runs beside its gateway."""
    async with gateways.gateway(answers) as port:
        url = f"http://127.0.0.1:{port}"
        return await asyncio.to_thread(cli.main, [*argv, "--api-url", url, "--api-key", KEY])


async def test_it_shows_what_the_gateway_knows(capsys: pytest.CaptureFixture[str]) -> None:
    server = {
        "name": "clock",
        "status": "active",
        "tools": ["now", "count_down"],
        "method": "websocket",
        "error": "",
        "connector": {"name": "lap\x1b[31mtop", "last_seen_at": "2026-11-25T18:00:00Z"},
    }

    def answers(asked: gateways.Asked) -> gateways.Answer | None:
        if asked.path.startswith("/api/mcp/servers/me"):
            return gateways.said(servers=[server, {"name": 3}], count=2)
        return gateways.well(asked)

    assert await asked(answers, "status") == 0
    shown = capsys.readouterr().out
    assert "no connector runs" in shown
    assert "1 machine connected; 2 calls wait, 1 run" in shown
    assert "laptop" in shown
    assert "\x1b" not in shown
    assert await asked(answers, "status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["servers"][0]["name"] == "clock"


@pytest.mark.parametrize(("code", "exit_code"), [(401, 3), (403, 3), (404, 1), (503, 1)])
async def test_it_says_that_the_gateway_does_not_tell(
    code: int, exit_code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asked(lambda _: gateways.said(code, detail="Not now."), "status") == exit_code
    assert "Not now." in capsys.readouterr().out
