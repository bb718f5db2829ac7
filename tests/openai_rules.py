"""What OpenAI's Chat Completions refuses, as the first fault that it would name."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

Body = Mapping[str, Any]

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MAX_ID_CHARS = 40
MAX_TOOLS = 128
MAX_STOPS = 4
# fmt: off
KNOWN = frozenset({
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "messages", "metadata", "modalities", "model", "n",
    "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
    "prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier",
    "seed", "service_tier", "stop", "store", "stream", "stream_options", "temperature",
    "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
})
# fmt: on
PARTS = {
    "system": {"text"},
    "developer": {"text"},
    "user": {"text", "image_url", "input_audio", "file"},
    "assistant": {"text", "refusal"},
    "tool": {"text"},
}
EFFORTS = {"none", "minimal", "low", "medium", "high", "xhigh"}


class Fault(NamedTuple):
    """What is wrong, and where."""

    message: str
    param: str
    code: str | None = None


def fault_of(body: Body, *, unknown: Collection[str]) -> Fault | None:
    """The first fault; `unknown` names what this server does not know besides.

    Such a name is a parameter, a field of messages (`messages.reasoning_content`) or a word of
    schemas (`schema.$schema`).
    """
    checks: list[Iterator[Fault]] = [
        _parameters(body, unknown),
        _messages(body.get("messages"), unknown),
        _tools(body.get("tools"), unknown),
        _companions(body),
        _bounds(body),
    ]
    return next((fault for check in checks for fault in check), None)


def _parameters(body: Body, unknown: Collection[str]) -> Iterator[Fault]:
    for name in body:
        if name not in KNOWN or name in unknown:
            text = f"Unrecognized request argument supplied: {name}"
            yield Fault(text, name, "unknown_parameter")
    if not isinstance(body.get("model"), str) or not body["model"]:
        yield Fault("you must provide a model parameter", "model")
    if "max_tokens" in body and "max_completion_tokens" in body:
        text = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        yield Fault(text, "max_tokens")


def _messages(messages: Any, unknown: Collection[str]) -> Iterator[Fault]:
    if not isinstance(messages, list) or not messages:
        yield Fault("Invalid 'messages': empty array.", "messages", "empty_array")
        return
    waiting: set[str] = set()  # calls that no message has answered yet
    for number, message in enumerate(messages):
        at = f"messages[{number}]"
        if message.get("role") not in PARTS:
            yield Fault(f"Invalid value: '{message.get('role')}'.", f"{at}.role", "invalid_value")
            return
        yield from _fields(message, at, unknown)
        yield from _content(message, at)
        yield from _paired(message, at, waiting)
    if waiting:
        yield Fault(_unanswered(waiting), "messages")


def _fields(message: Body, at: str, unknown: Collection[str]) -> Iterator[Fault]:
    for name in message:
        if f"messages.{name}" in unknown:
            text = f"Additional properties are not allowed ('{name}' was unexpected) - '{at}'"
            yield Fault(text, at)


def _paired(message: Body, at: str, waiting: set[str]) -> Iterator[Fault]:
    if message["role"] == "tool":
        yield from _answered(message, at, waiting)
        return
    if waiting:
        yield Fault(_unanswered(waiting), at)
    waiting.clear()
    for call in message.get("tool_calls", []):
        yield from _call(call, f"{at}.tool_calls", waiting)


def _unanswered(waiting: Collection[str]) -> str:
    return (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to"
        f" each 'tool_call_id'. The following had none: {', '.join(sorted(waiting))}"
    )


def _content(message: Body, at: str) -> Iterator[Fault]:
    role, content = message["role"], message.get("content")
    if isinstance(content, str):
        return
    if content is None:
        if role != "assistant" or not message.get("tool_calls"):
            yield Fault("Invalid value for 'content': expected a string, got null.", at)
        return
    if not isinstance(content, list) or not content:
        yield Fault("Invalid 'content': expected a string or an array of parts.", at)
        return
    for part in content:
        if part.get("type") not in PARTS[role]:
            text = f"Invalid content type '{part.get('type')}' in a message of '{role}'."
            yield Fault(text, f"{at}.content", "invalid_value")


def _answered(message: Body, at: str, waiting: set[str]) -> Iterator[Fault]:
    given = message.get("tool_call_id")
    if given not in waiting:
        text = (
            "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
        )
        yield Fault(f"Invalid parameter: {text}", f"{at}.role")
    waiting.discard(given or "")


def _call(call: Body, at: str, waiting: set[str]) -> Iterator[Fault]:
    given, function = call.get("id"), call.get("function") or {}
    if not isinstance(given, str) or not 0 < len(given) <= MAX_ID_CHARS or given in waiting:
        text = f"expected a string of at most {MAX_ID_CHARS} characters, and no other call's"
        yield Fault(f"Invalid '{at}.id': {text}.", at, "string_above_max_length")
        return
    waiting.add(given)
    if call.get("type") != "function" or not NAME.fullmatch(str(function.get("name"))):
        yield Fault("Invalid call: a function with a legal name was expected.", at)
    if not _is_json(function.get("arguments")):
        yield Fault("Invalid 'arguments': expected a JSON object as a string.", at)


def _is_json(arguments: Any) -> bool:
    try:
        return isinstance(arguments, str) and isinstance(json.loads(arguments), dict)
    except ValueError:
        return False


def _tools(tools: Any, unknown: Collection[str]) -> Iterator[Fault]:
    if tools is None:
        return
    if not isinstance(tools, list) or not 0 < len(tools) <= MAX_TOOLS:
        yield Fault(f"Invalid 'tools': expected 1 to {MAX_TOOLS}.", "tools")
        return
    names = [tool.get("function", {}).get("name") for tool in tools]
    for number, tool in enumerate(tools):
        at = f"tools[{number}].function"
        if tool.get("type") != "function" or set(tool) != {"type", "function"}:
            yield Fault(f"Invalid tool: {sorted(tool)}.", at, "invalid_value")
        if not NAME.fullmatch(str(names[number])):
            text = f"Invalid '{at}.name': string does not match pattern '^[a-zA-Z0-9_-]+$'."
            yield Fault(text, at, "invalid_value")
        if names.count(names[number]) > 1:
            yield Fault(f"Function names must be unique: {names[number]}", at)
        yield from _schema(tool["function"].get("parameters", {"type": "object"}), at, unknown)


def _schema(schema: Any, at: str, unknown: Collection[str]) -> Iterator[Fault]:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        text = f"Invalid schema for {at}: schema must be a JSON Schema of 'type: \"object\"'."
        yield Fault(text, at, "invalid_function_parameters")
        return
    yield from (
        Fault(f"Invalid schema for {at}: '{word}' is not permitted.", at)
        for word in schema
        if f"schema.{word}" in unknown
    )


# A parameter that means nothing without another one.
COMPANIONS = {
    "stream_options": "stream",
    "tool_choice": "tools",
    "parallel_tool_calls": "tools",
}


def _companions(body: Body) -> Iterator[Fault]:
    for name, needed in COMPANIONS.items():
        if body.get(name) is not None and not body.get(needed):
            yield Fault(f"'{name}' is only allowed when '{needed}' is specified.", name)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_stop(value: Any) -> bool:
    stops = [value] if isinstance(value, str) else value
    return isinstance(stops, list) and 0 < len(stops) <= MAX_STOPS and all(stops)


BOUNDS: Mapping[str, Callable[[Any], bool]] = {
    "max_tokens": _is_count,
    "max_completion_tokens": _is_count,
    "stop": _is_stop,
    "temperature": lambda value: isinstance(value, int | float) and 0 <= value <= 2,
    "top_p": lambda value: isinstance(value, int | float) and 0 <= value <= 1,
    "reasoning_effort": lambda value: value in EFFORTS,
    "stream": lambda value: isinstance(value, bool),
    "stream_options": lambda value: isinstance(value, dict) and set(value) <= {"include_usage"},
    "user": lambda value: isinstance(value, str),
    "parallel_tool_calls": lambda value: isinstance(value, bool),
}


def _bounds(body: Body) -> Iterator[Fault]:
    for name, is_good in BOUNDS.items():
        if name in body and not is_good(body[name]):
            text = f"Invalid value for '{name}': {body[name]!r}"
            yield Fault(text, name, "invalid_value")
