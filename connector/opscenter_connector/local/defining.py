"""How a tool is defined to those who call it: its schemas, and what it does to the machine."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opscenter_connector.local.answers import Answer
from opscenter_connector.local.errand import Errand

Schema = dict[str, Any]
Arguments = Mapping[str, Any]
READ_ONLY = {"readOnlyHint": True, "openWorldHint": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool: what is to `run` in a thread, or to `wait` for on the loop. One of the two.

    Both are called with arguments that the schema has passed.
    """

    name: str
    title: str
    description: str
    arguments: dict[str, Schema]
    required: tuple[str, ...] = ()
    fields: dict[str, Schema]
    always: tuple[str, ...]  # of the fields
    hints: dict[str, Any]
    run: Callable[[Errand, Arguments], Answer] | None = None
    wait: Callable[[Errand, Arguments], Awaitable[Answer]] | None = None

    @property
    def changes(self) -> bool:
        return self.hints is not READ_ONLY

    @property
    def definition(self) -> dict[str, Any]:
        """As MCP has it."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": shape(self.arguments, self.required),
            "outputSchema": shape(self.fields, self.always),
            "annotations": {"title": self.title, **self.hints},
        }


def shape(properties: dict[str, Schema], required: tuple[str, ...]) -> Schema:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def string(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def whole(description: str, **more: Any) -> Schema:
    return {"type": "integer", "description": description, **more}


def boolean(description: str, **more: Any) -> Schema:
    return {"type": "boolean", "description": description, **more}


def listed(description: str, items: Schema) -> Schema:
    return {"type": "array", "description": description, "items": items}


PATH = string(
    "A path in an allowed folder: absolute, or relative to the first of them. Without .. and ~.",
    minLength=1,
    maxLength=4096,
)
