"""The tools of a request: which are offered, under which name, and which one must be called."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.adapters.openai.client_tools import known
from proxy.adapters.openai.fields import (
    a_list,
    a_string,
    an_object,
    name_of,
    optional_object,
    optional_string,
    required,
    string_of,
)
from proxy.adapters.openai.names import tool_name
from proxy.adapters.openai.schemas import parameters
from proxy.adapters.openai.translation import Profile
from proxy.adapters.openai.turns import Placed, Turn
from proxy.wire.body import BodyError

_SERVER_TOOLS = (
    "web_search_",
    "web_fetch_",
    "code_execution_",
    "tool_search_tool_",
    "advisor_",
    "mcp_toolset",
)
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}

Declared = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the server is told of the tools."""

    fields: Mapping[str, Any]  # `tools`, `tool_choice`, `parallel_tool_calls`
    declared: list[Declared]  # the tools that are sent, as the client declared them
    names: Mapping[str, str]  # the name sent to the client's, where they differ


def offered(body: Mapping[str, Any], turns: list[Turn], profile: Profile) -> Offer:
    """The tools that this request offers. Raises BodyError."""
    changes = _changes(turns)
    all_tools = [*_listed(body), *_defined_later(turns)]
    _check_names(all_tools)
    choice = _choice(body)
    forced = choice.get("name") if choice.get("type") == "tool" else None
    searched = any(_type_of(tool, at).startswith("tool_search_tool_") for at, tool in all_tools)
    sent: list[Declared] = []
    functions = []
    for at, tool in all_tools:
        # Where the API would have searched, nobody can: then the model must see them all.
        hidden = tool.get("defer_loading") is True and not searched
        if changes.get(str(tool.get("name")), not hidden):
            function = _function(tool, at, profile)
            if function is not None:
                sent.append(tool)
                functions.append({"type": "function", "function": function})
            elif forced == tool.get("name", at):
                raise _not_here(tool, at)
    if all_tools and not any(_is_possible(tool, at) for at, tool in all_tools):
        raise _not_here(all_tools[0][1], all_tools[0][0])
    return Offer(
        fields=_fields(functions, choice, sent, profile),
        declared=sent,
        names=_renamed(all_tools),
    )


def _listed(body: Mapping[str, Any]) -> Iterator[tuple[str, Declared]]:
    tools = body.get("tools")
    for number, tool in enumerate(() if tools is None else a_list(tools, "tools")):
        at = f"tools.{number}"
        yield at, an_object(tool, at)


def _defined_later(turns: list[Turn]) -> Iterator[tuple[str, Declared]]:
    """The tools that a system message defines in the middle of the conversation."""
    for at, block in _blocks(turns, "tool_addition"):
        tool = an_object(required(block, "tool", at), f"{at}.tool")
        if tool.get("type") == "tool_definition":
            place = f"{at}.tool.definition"
            yield place, an_object(required(tool, "definition", f"{at}.tool"), place)


def _blocks(turns: Iterable[Turn], *kinds: str) -> Iterator[Placed]:
    for turn in turns:
        for at, block in turn.blocks:
            if block["type"] in kinds:
                yield at, block


def _changes(turns: list[Turn]) -> dict[str, bool]:
    """Which tools the conversation has loaded or added, and which it has withdrawn."""
    changes: dict[str, bool] = {}
    for _, block in _blocks(
        turns, "tool_result", "tool_search_tool_result", "tool_addition", "tool_removal"
    ):
        for reference in _references(block):
            name = reference.get("tool_name", reference.get("name"))
            if isinstance(name, str):
                changes[name] = block["type"] != "tool_removal"
    return changes


def _references(block: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    held = block.get("content", block.get("tool"))
    if isinstance(held, Mapping):
        held = held.get("tool_references", held)
    for one in held if isinstance(held, list) else [held]:
        if isinstance(one, Mapping) and one.get("type") == "tool_reference":
            yield one


def _type_of(tool: Declared, at: str) -> str:
    return optional_string(tool, "type", at) or "custom"


def _is_possible(tool: Declared, at: str) -> bool:
    kind = _type_of(tool, at)
    return kind == "custom" or known(kind) is not None


def _not_here(tool: Declared, at: str) -> BodyError:
    kind = _type_of(tool, at)
    if kind.startswith(_SERVER_TOOLS):
        return BodyError(f"{at}: {kind} is run by the API, and this upstream has no such tool")
    return BodyError(f"{at}: the upstream of this model does not know tools of the type {kind}")


def _function(tool: Declared, at: str, profile: Profile) -> dict[str, Any] | None:
    kind = _type_of(tool, at)
    plain = "schema keywords" in profile.conceded
    if kind == "custom":
        name = name_of(tool, "name", at)
        place = f"{at}.input_schema"
        schema = an_object(required(tool, "input_schema", at), place)
        description = optional_string(tool, "description", at)
        function = {
            "name": tool_name(name),
            "parameters": parameters(schema, place, plain=plain),
        }
        return function | ({"description": description} if description else {})
    meant = known(kind)
    if meant is None:
        return None
    description, schema = meant
    name = name_of(tool, "name", at)
    return {"name": tool_name(name), "description": description, "parameters": schema}


def _check_names(tools: Iterable[tuple[str, Declared]]) -> None:
    seen = set()
    for at, tool in tools:
        name = a_string(tool.get("name", at), f"{at}.name")
        if name in seen:
            raise BodyError("tools: Tool names must be unique.")
        seen.add(name)


def _renamed(tools: Iterable[tuple[str, Declared]]) -> dict[str, str]:
    names = (str(tool["name"]) for _, tool in tools if "name" in tool)
    return {sent: name for name in names if (sent := tool_name(name)) != name}


def _choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    choice = optional_object(body, "tool_choice")
    if body.get("tool_choice") is None:
        return choice
    kind = string_of(choice, "type", "tool_choice")
    if kind != "tool" and kind not in _CHOICES:
        raise BodyError("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
    if kind == "tool":
        name_of(choice, "name", "tool_choice")
    return choice


def _fields(
    functions: list[dict[str, Any]],
    choice: Mapping[str, Any],
    sent: list[Declared],
    profile: Profile,
) -> dict[str, Any]:
    kind = choice.get("type")
    if kind == "tool" and choice["name"] not in {tool["name"] for tool in sent}:
        raise BodyError(f"tool_choice.name: Tool '{choice['name']}' not found in provided tools")
    if not functions:
        return {}
    fields: dict[str, Any] = {"tools": functions}
    if kind == "tool":
        called = {"name": tool_name(choice["name"])}
        fields["tool_choice"] = {"type": "function", "function": called}
    elif kind is not None:
        fields["tool_choice"] = _CHOICES[kind]
    alone = choice.get("disable_parallel_tool_use") is True
    if alone and "parallel_tool_calls" not in profile.conceded:
        fields["parallel_tool_calls"] = False
    return fields
