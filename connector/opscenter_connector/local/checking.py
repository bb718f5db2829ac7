"""What is wrong with a tool's arguments, in words that say what to do (pure)."""

from collections.abc import Callable, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from opscenter_connector.local.defining import Tool

NO_BACKGROUND = (
    "nothing runs in the background here: all that a command starts ends with it. Leave the "
    "argument away, and give the command a timeout that is long enough"
)
BACKGROUND = {"background": NO_BACKGROUND, "run_in_background": NO_BACKGROUND}
MAX_SAID = 300  # characters of what was wrong about an argument: a value may be a megabyte

KINDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}
# By what the schema demands, with what it says of it.
_SAY: Mapping[str, Callable[[Any], str]] = {
    "type": lambda kind: f"must be {KINDS.get(kind, kind)}",
    "minLength": lambda _: "must not be empty",
    "maxLength": lambda most: f"is too long: at most {most:,} characters",
    "minimum": lambda least: f"must be {least} or more",
    "exclusiveMinimum": lambda below: f"must be more than {below}",
    "maximum": lambda most: f"must be {most} or less",
    "exclusiveMaximum": lambda above: f"must be less than {above}",
}


def check_of(tool: Tool) -> Draft202012Validator:
    """Made once for each tool: that takes a while."""
    return Draft202012Validator(tool.definition["inputSchema"])


def wrong(tool: Tool, check: Draft202012Validator, arguments: Mapping[str, Any]) -> str:
    """The first thing that is wrong, or nothing."""
    if not isinstance(arguments, Mapping):
        return f"the arguments of {tool.name} must be an object: {_there(tool)}"
    unknown = sorted(arguments.keys() - tool.arguments.keys())
    if unknown:
        if reason := BACKGROUND.get(unknown[0]):
            return reason
        named = unknown[0][:MAX_SAID]
        return f"{tool.name} has no argument {named!r}; there are {_there(tool)}"
    if lacking := [name for name in tool.required if name not in arguments]:
        said = tool.arguments[lacking[0]].get("description", "")
        return f"{tool.name} needs the argument {lacking[0]}: {said}"
    error = best_match(check.iter_errors(arguments))
    return "" if error is None else f"{tool.name}: {_worded(tool, error)}"


def _there(tool: Tool) -> str:
    return ", ".join(tool.arguments)


def _worded(tool: Tool, error: ValidationError) -> str:
    """Without the value: whoever sent it has it, and logs need not."""
    where = ".".join(str(step) for step in error.absolute_path)
    if (say := _SAY.get(str(error.validator))) is not None:
        return f"{where} {say(error.validator_value)}"
    described = tool.arguments.get(where.split(".")[0], {}).get("description", "")
    return f"{where} does not fit. {described}".strip()
