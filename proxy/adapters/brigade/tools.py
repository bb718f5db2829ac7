"""The tools of a request as a task of Brigade's declares them: the client's and the machine's."""

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.adapters.brigade.conversation import cannot
from proxy.adapters.language import Handed
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
_TOOLSET = "mcp_toolset"

Declaration = dict[str, Any]


def declared(body: Mapping[str, Any], handed: Handed | None, dialect: str) -> list[Declaration]:
    """What Brigade is told of all tools. Raises BodyError for what it cannot be told."""
    kind = _choice(body, dialect)
    if kind == "none":
        return []
    found = [*_of_client(body, handed, dialect), *_of_machine(handed)]
    names = set()
    for one in found:
        if one["name"] in names:
            raise BodyError(f"tools: Tool names must be unique: {one['name']}")
        names.add(one["name"])
    return found


def servers(handed: Handed | None) -> list[dict[str, Any]]:
    """The servers of the user's machine that a task may use, each with its tools."""
    tools: dict[str, list[str]] = {}
    for tool in handed.tools if handed else ():
        tools.setdefault(tool.server, []).append(tool.name)
    url = handed.url if handed else ""
    return [{"name": name, "url": url, "tools": found} for name, found in tools.items()]


def _choice(body: Mapping[str, Any], dialect: str) -> str:
    choice = optional_object(body, "tool_choice")
    kind = string_of(choice, "type", "tool_choice") if choice else "auto"
    if kind not in {"auto", "none"} or choice.get("disable_parallel_tool_use") is True:
        cannot("tool_choice", dialect)  # nothing makes it call one, or only one
    return kind


def _of_client(
    body: Mapping[str, Any], handed: Handed | None, dialect: str
) -> Iterator[Declaration]:
    listed = body.get("tools")
    for number, one in enumerate(() if listed is None else a_list(listed, "tools")):
        at = f"tools.{number}"
        tool = an_object(one, at)
        kind = optional_string(tool, "type", at) or "custom"
        if kind == _TOOLSET and handed is not None:
            continue
        if kind == "custom":
            schema = an_object(required(tool, "input_schema", at), f"{at}.input_schema")
            description = optional_string(tool, "description", at)
        elif (meant := known(kind)) is not None:
            description, schema = meant
        else:
            cannot(f"{at} ({kind})", dialect)
        yield _declaration(name_of(tool, "name", at), description, schema, at, dialect)


def _of_machine(handed: Handed | None) -> Iterator[Declaration]:
    for tool in handed.tools if handed else ():
        at = f"mcp_servers.{tool.server}.{tool.name}"
        # What a schema says beyond this its server still checks when the tool is run.
        told = {name: value for name, value in tool.input_schema.items() if name in _ROOM}
        yield _declaration(tool.name, tool.description, told, at, "") | {"server": tool.server}


def _declaration(
    name: str, description: str, schema: Mapping[str, Any], at: str, dialect: str
) -> Declaration:
    extra = {key for key in schema if key not in _ROOM and key != "additionalProperties"}
    if extra:
        cannot(f"{at}.input_schema.{min(extra)}", dialect)
    return {
        "name": name,
        "description": description or name,
        "parameters": dict(schema.get("properties") or {}),
        "required": list(schema.get("required") or ()),
        "type": "mcp_tool",
    }
