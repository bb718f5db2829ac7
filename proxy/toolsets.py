"""The tools of machines and MCP servers that a request names, read and checked (pure)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import msgspec

from proxy.wire.body import BodyError, JSONObject

TUNNEL = "tunnel"
KIND = "mcp_toolset"
MAX_SERVERS = 20  # of one request; each is listed before the first turn
MAX_TOOLS = 512  # of one request; a model is shown all of them each time
NAME_CHARS = 128
URL_CHARS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that a request, a route or an agent names."""

    name: str
    url: str
    connector: str = ""  # tunnel://<connector>/<server>; empty: whichever machine has it
    served: str = ""  # the server's name on the machine
    token: str = field(default="", repr=False)
    where: str = "mcp_servers"  # the field that errors name; empty: the operator has set it

    @property
    def is_tunnel(self) -> bool:
        """Whether a user's machine has it."""
        return bool(self.served)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a toolset says of one tool."""

    enabled: bool = True
    defer_loading: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One server and which of its tools are wanted."""

    server: Server
    default: Setting = Setting()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    pinned: Sequence[Mapping[str, Any]] | None = None  # the definitions to use; none are asked for
    cache_control: Any = None

    def setting(self, tool: str) -> Setting:
        """What counts for one tool."""
        return self.settings.get(tool, self.default)


def server_of(name: str, url: str, *, token: str = "", where: str = "") -> Server:
    """A server by its address. Raises BodyError, which names `where`."""
    try:
        parts = urlsplit(url)
    except ValueError as error:  # half an IPv6 address, letters that only look like others
        raise BodyError(f"{where}.url: is no address") from error
    if parts.scheme == TUNNEL:
        path = parts.path.strip("/")
        connector, served = (parts.netloc, path) if path else ("", parts.netloc)
        if not served or "/" in served or parts.query or parts.fragment:
            raise BodyError(f"{where}.url: say tunnel://<server> or tunnel://<connector>/<server>")
        return Server(name=name, url=url, connector=connector, served=served, where=where)
    # Whether plain http may be spoken there, the operator's list of allowed addresses says.
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise BodyError(f"{where}.url: must begin with https:// or tunnel://")
    return Server(name=name, url=url, token=token, where=where)


def wanted(body: JSONObject) -> list[Wanted]:
    """The toolsets of a request, each with its server. Raises BodyError in the API's wording."""
    servers = _servers(_listed(body, "mcp_servers"))
    found: dict[str, Wanted] = {}
    for at, entry in enumerate(_listed(body, "tools")):
        if not isinstance(entry, Mapping) or entry.get("type") != KIND:
            continue
        where = f"tools.{at}"
        name = _text(entry.get("mcp_server_name"), f"{where}.mcp_server_name", NAME_CHARS)
        if name not in servers:
            raise BodyError(f"{where}.mcp_server_name: {name!r} is not in mcp_servers")
        if name in found:
            raise BodyError(f"{where}.mcp_server_name: {name!r} has a toolset already")
        found[name] = _toolset(servers[name], entry, where)
    for name in servers:
        if name not in found:
            raise BodyError(f"mcp_servers: no tool of type {KIND} names {name!r}")
    return list(found.values())


def without_toolsets(body: JSONObject) -> list[msgspec.Raw]:
    """The request's other tools, each the bytes it was."""
    if not _listed(body, "tools"):
        return []
    raws = msgspec.json.decode(body.part("tools"), type=list[msgspec.Raw])
    return [raw for raw in raws if not _is_toolset(raw)]


def _is_toolset(raw: msgspec.Raw) -> bool:
    decoded = msgspec.json.decode(raw)
    return isinstance(decoded, dict) and decoded.get("type") == KIND


def _servers(listed: Sequence[Any]) -> dict[str, Server]:
    if len(listed) > MAX_SERVERS:
        raise BodyError(f"mcp_servers: at most {MAX_SERVERS}")
    servers: dict[str, Server] = {}
    for at, entry in enumerate(listed):
        where = f"mcp_servers.{at}"
        if not isinstance(entry, Mapping):
            raise BodyError(f"{where}: Input should be an object")
        if entry.get("type") != "url":
            raise BodyError(f"{where}.type: Input should be 'url'")
        name = _text(entry.get("name"), f"{where}.name", NAME_CHARS)
        if name in servers:
            raise BodyError(f"{where}.name: {name!r} stands twice")
        token = entry.get("authorization_token")
        if token is not None and not isinstance(token, str):
            raise BodyError(f"{where}.authorization_token: Input should be a valid string")
        url = _text(entry.get("url"), f"{where}.url", URL_CHARS)
        servers[name] = server_of(name, url, token=token or "", where=where)
    return servers


def _toolset(server: Server, entry: Mapping[str, Any], where: str) -> Wanted:
    default = _setting(entry.get("default_config"), Setting(), f"{where}.default_config")
    configs = entry.get("configs") or {}
    if not isinstance(configs, Mapping):
        raise BodyError(f"{where}.configs: Input should be an object")
    pinned = entry.get("tools")
    if pinned is not None:
        pinned = _pinned(pinned, f"{where}.tools")
    return Wanted(
        server=server,
        default=default,
        settings={
            name: _setting(config, default, f"{where}.configs.{name}")
            for name, config in configs.items()
        },
        pinned=pinned,
        cache_control=entry.get("cache_control"),
    )


def _setting(config: Any, default: Setting, where: str) -> Setting:
    if config is None:
        return default
    if not isinstance(config, Mapping):
        raise BodyError(f"{where}: Input should be an object")
    found = {}
    for name in ("enabled", "defer_loading"):
        found[name] = config.get(name, getattr(default, name))
        if not isinstance(found[name], bool):
            raise BodyError(f"{where}.{name}: Input should be a valid boolean")
    return Setting(**found)


def _pinned(tools: Any, where: str) -> list[Mapping[str, Any]]:
    if not isinstance(tools, list):
        raise BodyError(f"{where}: Input should be a valid list")
    for at, tool in enumerate(tools):
        is_tool = isinstance(tool, Mapping) and isinstance(tool.get("name"), str)
        if not is_tool or not isinstance(tool.get("input_schema"), Mapping):
            raise BodyError(f"{where}.{at}: must have a name and an input_schema")
        _text(tool["name"], f"{where}.{at}.name", NAME_CHARS)
    return tools


def _listed(body: JSONObject, name: str) -> Sequence[Any]:
    listed = body.value(name)
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise BodyError(f"{name}: Input should be a valid list")
    return listed


def _text(value: Any, where: str, most: int) -> str:
    if not isinstance(value, str) or not value:
        raise BodyError(f"{where}: Field required")
    if len(value) > most or not value.isprintable():
        raise BodyError(f"{where}: at most {most} printable characters")
    return value
