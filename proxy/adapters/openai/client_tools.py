"""The tools whose schema Anthropic's models know by heart, written out for all others."""

from typing import Any

Schema = dict[str, Any]

_TEXT = {"type": "string"}
_LINE = {"type": "integer", "minimum": 0}
_RANGE = {
    "type": "array",
    "items": {"type": "integer"},
    "minItems": 2,
    "maxItems": 2,
    "description": "For view: the first and the last line to show, counted from 1; -1 is the end.",
}


def _object(required: list[str], **members: Schema) -> Schema:
    return {"type": "object", "properties": members, "required": required}


def _saying(schema: Schema, description: str) -> Schema:
    return schema | {"description": description}


def _command(*names: str) -> Schema:
    return {"type": "string", "enum": list(names), "description": "What to do."}


_BASH = _object(
    [],
    command=_saying(_TEXT, "The command line to run. Left out only together with restart."),
    restart={"type": "boolean", "description": "Start the shell anew instead."},
)

_EDITING = {
    "path": _saying(_TEXT, "The absolute path of the file or directory."),
    "view_range": _RANGE,
    "file_text": _saying(_TEXT, "For create: the whole text of the new file."),
    "old_str": _saying(_TEXT, "For str_replace: the text to replace, which stands there once."),
    "new_str": _saying(_TEXT, "For str_replace: the text to put in its place."),
    "insert_line": _saying(_LINE, "For insert: the line after which to insert; 0 is the top."),
    "insert_text": _saying(_TEXT, "For insert: the text to insert."),
}
_EDITOR = _object(
    ["command", "path"],
    command=_command("view", "create", "str_replace", "insert"),
    **_EDITING,
)
# The first ones could undo, and took the text to insert as `new_str`.
_OLD_EDITOR = _object(
    ["command", "path"],
    command=_command("view", "create", "str_replace", "insert", "undo_edit"),
    **{name: schema for name, schema in _EDITING.items() if name != "insert_text"}
    | {"new_str": _saying(_TEXT, "For str_replace: the new text. For insert: what to insert.")},
)

_MEMORY = _object(
    ["command"],
    command=_command("view", "create", "str_replace", "insert", "delete", "rename"),
    **_EDITING
    | {
        "path": _saying(_TEXT, "The path below /memories. Every command but rename needs it."),
        "old_path": _saying(_TEXT, "For rename: the present path."),
        "new_path": _saying(_TEXT, "For rename: the path afterwards."),
    },
)

_BASH_SAYS = "Run a command in a shell that stays open between calls."
_EDITOR_SAYS = "View, create and edit text files."
_MEMORY_SAYS = "Keep notes in files that outlast this conversation. Look there before you begin."

# By the beginning of the type: what the tool does, and its input. The first match counts.
_KNOWN = (
    ("bash_", _BASH_SAYS, _BASH),
    ("text_editor_20241022", _EDITOR_SAYS, _OLD_EDITOR),
    ("text_editor_20250124", _EDITOR_SAYS, _OLD_EDITOR),
    ("text_editor_", _EDITOR_SAYS, _EDITOR),
    ("memory_", _MEMORY_SAYS, _MEMORY),
)


def known(kind: str) -> tuple[str, Schema] | None:
    """The description and the input schema of a client tool of Anthropic's, None for others."""
    for beginning, description, schema in _KNOWN:
        if kind.startswith(beginning):
            return description, schema
    return None
