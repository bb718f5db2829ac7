"""The tools of a request as a task of Brigade's declares them: the client's and the machine's."""

from collections.abc import Mapping
from typing import Any

from proxy.adapters.brigade.conversation import cannot
from proxy.adapters.language import Call
from proxy.adapters.openai.client_tools import known
from proxy.adapters.openai.fields import (
    a_list,
    an_object,
    name_of,
    optional_object,
    optional_string,
    required,
    string_of,
)
from proxy.wire.body import BodyError

# A declaration has room for these alone. A schema that says more would be another one without it.
_ROOM = frozenset({"type", "properties", "required", "description", "title", "$schema"})

Declaration = dict[str, Any]


def declared(body: Mapping[str, Any], call: Call, dialect: str) -> list[Declaration]:
    """What Brigade is told of all tools. Raises BodyError for what it cannot be told."""
    if _choice(body, dialect) == "none":
        return []
    machine = {tool.name: tool for tool in call.machine}
    found: dict[str, Declaration] = {}
    listed = body.get("tools")
    for number, one in enumerate(() if listed is None else a_list(listed, "tools")):
        at = f"tools.{number}"
        tool = an_object(one, at)
        name = name_of(tool, "name", at)
        if name in found:
            raise BodyError("tools: Tool names must be unique.")
        description, schema = _meant(tool, at, dialect)
        if name in machine:
            # What its schema says beyond this is still checked where it runs.
            schema = {key: value for key, value in schema.items() if key in _ROOM}
            found[name] = _declaration(name, description, schema)
            found[name]["server"] = machine[name].server
        else:
            _refuse_what_has_no_room(schema, at, dialect)
            found[name] = _declaration(name, description, schema)
    return list(found.values())


def servers(call: Call) -> list[dict[str, Any]]:
    """The servers of the user's machine that a task may use, each with its tools."""
    tools: dict[str, list[str]] = {}
    for tool in call.machine:
        tools.setdefault(tool.server, []).append(tool.name)
    url = call.handed.url if call.handed else ""
    return [{"name": name, "url": url, "tools": found} for name, found in tools.items() if url]


def _choice(body: Mapping[str, Any], dialect: str) -> str:
    choice = optional_object(body, "tool_choice")
    kind = string_of(choice, "type", "tool_choice") if choice else "auto"
    if kind not in {"auto", "none"} or choice.get("disable_parallel_tool_use") is True:
        cannot("tool_choice", dialect)  # nothing makes it call one, or only one
    return kind


def _meant(tool: Mapping[str, Any], at: str, dialect: str) -> tuple[str, Mapping[str, Any]]:
    """The description and the schema of a tool that a client or the gateway runs."""
    kind = optional_string(tool, "type", at) or "custom"
    if kind == "custom":
        schema = an_object(required(tool, "input_schema", at), f"{at}.input_schema")
        return optional_string(tool, "description", at), schema
    return known(kind) or cannot(f"{at} ({kind})", dialect)


def _refuse_what_has_no_room(schema: Mapping[str, Any], at: str, dialect: str) -> None:
    extra = {key for key in schema if key not in _ROOM and key != "additionalProperties"}
    if extra:
        cannot(f"{at}.input_schema.{min(extra)}", dialect)


def _declaration(name: str, description: str, schema: Mapping[str, Any]) -> Declaration:
    return {
        "name": name,
        "description": description or name,
        "parameters": dict(schema.get("properties") or {}),
        "required": list(schema.get("required") or ()),
        "type": "mcp_tool",  # the only one there is; `mcp_servers` says which may be run there
    }
