"""Which local MCP servers there are, from connector.toml or a Claude-style `.mcp.json`."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from opscenter_connector import tomlfile
from opscenter_connector.mistakes import ConfigError
from opscenter_connector.settings import MAX_CALL_S, ServerSpec
from opscenter_connector.variables import expand

MAX_SERVERS = 64  # what the gateway takes from one connector (docs/tunnel.md)
START_S = 60.0  # `npx` may have to download the server first
MAX_START_S = 600.0  # a first download over a slow line; what needs longer hangs
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z")


def read(path: Path, environment: Mapping[str, str]) -> tuple[ServerSpec, ...]:
    """The servers that the `.mcp.json` at `path` names, in its order.

    Keys that other programs have put there are not looked at. `disabled` is obeyed.
    """
    try:
        found = json.loads(tomlfile.text_of(path))
    except (json.JSONDecodeError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise ConfigError(f"{path} is not JSON{where}: {error}") from None
    named = found.get("mcpServers") if isinstance(found, dict) else None
    if not isinstance(named, dict):
        raise ConfigError(f'{path} has no "mcpServers": {{"NAME": {{"command": …}}}}')
    return tuple(
        server(name, said, environment, path)
        for name, said in named.items()
        if not (isinstance(said, dict) and said.get("disabled") is True)
    )


def server(name: str, said: Any, environment: Mapping[str, str], path: Path) -> ServerSpec:
    """One server as the file at `path` describes it; relative folders are relative to the file."""
    where = f"{path}, server {name!r}"
    if not _NAME.match(name):
        raise ConfigError(f"{where}: a name is 1 to 64 letters, digits, '_', '.' or '-'")
    if not isinstance(said, dict):
        raise ConfigError(f"{where} must be an object")
    if "command" in said and "url" in said:
        raise ConfigError(f"{where} has both a command and a url; it can be one or the other")
    kind = said.get("type", "http" if "url" in said else "stdio")
    if kind == "stdio":
        return _stdio(name, _Said(said, environment, where), path.parent)
    if kind in {"http", "streamable-http", "streamableHttp"}:
        return _http(name, _Said(said, environment, where))
    if kind == "sse":
        raise ConfigError(
            f'{where}: type "sse" is the transport that MCP gave up in 2025 and is not supported; '
            'most such servers also speak "http", usually at …/mcp'
        )
    raise ConfigError(f'{where}: type is "stdio" or "http", not {kind!r}')


class _Said:
    """A server's description, read with its variables expanded."""

    def __init__(self, said: dict[str, Any], environment: Mapping[str, str], where: str) -> None:
        self._said = said
        self._environment = environment
        self.where = where

    def text(self, key: str) -> str:
        value = self._said.get(key, "")
        if not isinstance(value, str):
            raise ConfigError(f"{self.where}: {key} must be a text")
        return expand(value, self._environment, f"{self.where}, {key}")

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._said.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise ConfigError(f"{self.where}: {key} must be a list of texts")
        return tuple(expand(v, self._environment, f"{self.where}, {key}") for v in value)

    def table(self, key: str) -> dict[str, str]:
        value = self._said.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise ConfigError(f"{self.where}: {key} must be texts by name")
        return {
            k: expand(v, self._environment, f"{self.where}, {key}.{k}") for k, v in value.items()
        }

    def time(self, key: str, default: float, most: float) -> float:
        """A bound of ours; other programs have none by these names."""
        value = self._said.get(key, default)
        if type(value) not in {int, float} or not 0 < value <= most:
            raise ConfigError(f"{self.where}: {key} must be a number above 0, {most:g} at most")
        return float(value)

    def start_timeout_s(self) -> float:
        return self.time("start_timeout_s", START_S, MAX_START_S)

    def call_limit_s(self) -> float:
        return self.time("call_limit_s", MAX_CALL_S, MAX_CALL_S)


def _stdio(name: str, said: _Said, folder: Path) -> ServerSpec:
    command = said.text("command")
    if not command:
        raise ConfigError(f"{said.where} has neither a command nor a url")
    cwd = (folder / Path(said.text("cwd")).expanduser()).absolute()
    if not cwd.is_dir():
        raise ConfigError(f"{said.where}: cwd {cwd} is no folder")
    return ServerSpec(
        name=name,
        command=command,
        args=said.texts("args"),
        env=said.table("env"),
        cwd=cwd,
        start_timeout_s=said.start_timeout_s(),
        call_limit_s=said.call_limit_s(),
    )


def _http(name: str, said: _Said) -> ServerSpec:
    url = said.text("url")
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"{said.where}: url must be an http:// or https:// address")
    headers = said.table("headers")
    for header, value in headers.items():
        if not (header + value).isascii() or not (header + value).isprintable():
            raise ConfigError(f"{said.where}: header {header!r} has characters no header may have")
    return ServerSpec(
        name=name,
        url=url,
        headers=headers,
        start_timeout_s=said.start_timeout_s(),
        call_limit_s=said.call_limit_s(),
    )


def merged(*groups: tuple[ServerSpec, ...]) -> tuple[ServerSpec, ...]:
    """All servers of all files. A name that comes twice is an error: one would hide the other."""
    servers = [one for group in groups for one in group]
    names = [one.name for one in servers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"server {twice[0]!r} is named both in connector.toml and in --mcp-config"
        )
    if len(servers) > MAX_SERVERS:
        raise ConfigError(f"{len(servers)} servers; the gateway takes {MAX_SERVERS} at most")
    return tuple(servers)
