"""A Claude-style .mcp.json as people have it."""

import json
from pathlib import Path
from typing import Any

import pytest

from opscenter_connector import mcpconfig
from opscenter_connector.mistakes import ConfigError
from opscenter_connector.settings import ServerSpec


def read(
    tmp_path: Path, servers: Any, environ: dict[str, str] | None = None
) -> tuple[ServerSpec, ...]:
    path = tmp_path / ".mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return mcpconfig.read(path, environ or {})


def test_it_reads_both_kinds(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "files": {"command": "npx", "args": ["-y", "server", "/srv"], "env": {"A": "b"}},
            "docs": {"type": "http", "url": "https://d.example/mcp", "headers": {"X-A": "b"}},
        },
    )
    assert found == (
        ServerSpec(
            name="files",
            command="npx",
            args=("-y", "server", "/srv"),
            env={"A": "b"},
            cwd=tmp_path,
        ),
        ServerSpec(name="docs", url="https://d.example/mcp", headers={"X-A": "b"}),
    )


def test_it_expands_variables(tmp_path: Path) -> None:
    (server,) = read(
        tmp_path,
        {
            "a": {
                "command": "${HOME}/bin/x",
                "args": ["--port=${PORT:-8000}", "$HOME", "${EMPTY:-}"],
                "env": {"TOKEN": "${TOKEN}"},
            }
        },
        {"HOME": "/home/u", "TOKEN": "hush ${PORT}"},
    )
    assert server.command == "/home/u/bin/x"
    assert server.args == ("--port=8000", "$HOME", "")
    assert server.env == {"TOKEN": "hush ${PORT}"}  # what a variable holds is not read again
    assert "hush" not in repr(server)


def test_it_names_a_variable_that_is_not_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"server 'a', env.TOKEN: GITHUB_TOKEN is not set"):
        read(tmp_path, {"a": {"command": "x", "env": {"TOKEN": "${GITHUB_TOKEN}"}}})


def test_it_ignores_what_other_programs_keep_there(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "a": {"type": "stdio", "command": "x", "timeout": 5000, "alwaysAllow": ["y"]},
            "b": {"command": "x", "disabled": True},
        },
    )
    assert [server.name for server in found] == ["a"]


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ({"type": "sse", "url": "http://h/sse"}, '"sse" .* not supported.*"http"'),
        ({"type": "ws", "url": "http://h"}, 'type is "stdio" or "http", not \'ws\''),
        ({}, "neither a command nor a url"),
        ("npx", "must be an object"),
        ({"command": ["npx"]}, "command must be a text"),
        ({"command": "x", "args": "y"}, "args must be a list of texts"),
        ({"command": "x", "env": {"A": 1}}, "env must be texts by name"),
        ({"url": "http://h", "headers": {"A": "b\r\nC: d"}}, "characters no header may have"),
        ({"url": "http://h", "type": "http", "command": "x"}, "both a command and a url"),
    ],
)
def test_it_says_what_is_wrong(tmp_path: Path, server: Any, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        read(tmp_path, {"a": server})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"mcpServers": []}', "[" * 100_000, "\xff"])
def test_it_refuses_what_is_no_such_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / ".mcp.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"\.mcp\.json"):
        mcpconfig.read(path, {})


def test_it_fronts_no_more_than_the_gateway_takes(tmp_path: Path) -> None:
    servers = {f"s{n}": {"command": "x"} for n in range(65)}
    with pytest.raises(ConfigError, match="65 servers; the gateway takes 64"):
        mcpconfig.merged(read(tmp_path, servers))
