"""Is a tool's definition one? What a machine says of its tools is not believed unseen (pure)."""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

MAX_BYTES = 64 * 1024  # of one definition: it is sent to a model with each request
MAX_DEPTH = 32  # of a definition; deeper is an attack on whoever walks it
MAX_TOOLS = 512  # of one server
TITLE_CHARS = 200  # the column's width
NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")

_TYPES = {"string", "number", "integer", "boolean", "object", "array", "null"}
# Where a schema holds others, by the shape they are held in.
_ONE = ("not", "if", "then", "else", "contains", "propertyNames", "additionalProperties")
_ONE_MORE = ("items", "unevaluatedItems", "unevaluatedProperties", "additionalItems")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")

Json = Any


class DefinitionError(Exception):
    """This is no definition. `field` is where, the text is why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool as its server defines it, checked."""

    name: str
    title: str
    description: str
    input_schema: dict[str, Json]
    output_schema: dict[str, Json] | None
    annotations: dict[str, Json]
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A definition that is not taken."""

    name: str
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A server's tools, the good and the others."""

    tools: list[Tool] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Of all good ones together, in their order."""
        return hashlib.sha256("".join(tool.digest for tool in self.tools).encode()).hexdigest()


def check_all(tools: Sequence[Json]) -> Checked:
    """Each by itself: a bad one is left out and the others count."""
    checked = Checked()
    names: set[str] = set()
    for position, raw in enumerate(tools):
        where = f"tools[{position}]"
        try:
            if position >= MAX_TOOLS:
                raise DefinitionError("", f"a server has at most {MAX_TOOLS} tools")
            tool = check(raw)
            if tool.name in names:
                raise DefinitionError("name", "another tool of this server has this name")
        except DefinitionError as error:
            said = raw.get("name") if isinstance(raw, dict) else None
            name = said[:128] if isinstance(said, str) else ""
            at = f"{where}.{error.field}" if error.field else where
            checked.problems.append(Problem(name=name, field=at, reason=str(error)))
            continue
        names.add(tool.name)
        checked.tools.append(tool)
    return checked


def check(raw: Json) -> Tool:
    """The tool that `raw` defines. Raises DefinitionError."""
    if not isinstance(raw, dict):
        raise DefinitionError("", "a tool must be an object")
    digest = hashlib.sha256(_canonical(raw)).hexdigest()
    name = raw.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise DefinitionError("name", f"it must match {NAME.pattern}")
    annotations = _of_type(raw, "annotations", dict) or {}
    title = _of_type(raw, "title", str) or annotations.get("title") or ""
    schema = _of_type(raw, "inputSchema", dict)
    if schema is None:
        raise DefinitionError("inputSchema", "it is missing")
    output = _of_type(raw, "outputSchema", dict)
    _check_root(schema, "inputSchema")
    if output is not None:
        _check_root(output, "outputSchema")
    return Tool(
        name=name,
        title=title[:TITLE_CHARS] if isinstance(title, str) else "",
        description=_of_type(raw, "description", str) or "",
        input_schema=schema,
        output_schema=output,
        annotations=annotations,
        digest=digest,
    )


def has_effects(annotations: Mapping[str, Json]) -> bool:
    """Whether running the tool twice could do harm: all that do not plainly say otherwise."""
    hints = (annotations.get("readOnlyHint"), annotations.get("idempotentHint"))
    return not any(hint is True for hint in hints)


def _canonical(raw: dict[str, Json]) -> bytes:
    """The definition in the one way to write it. Raises DefinitionError where it cannot be kept."""
    _walk(raw)
    try:
        text = msgspec.json.encode(raw, order="deterministic")
    except (UnicodeError, OverflowError, TypeError, ValueError) as error:
        raise DefinitionError("", "it holds text or a number that JSON cannot") from error
    if len(text) > MAX_BYTES:
        raise DefinitionError("", f"it has {len(text)} bytes, and at most {MAX_BYTES} are taken")
    return text


def _walk(root: Json) -> None:
    """Look at every value, without recursion: it may be deeper than our stack."""
    left: list[tuple[Json, int]] = [(root, 1)]
    while left:
        value, depth = left.pop()
        if depth > MAX_DEPTH:
            raise DefinitionError("", f"it nests deeper than {MAX_DEPTH}")
        if isinstance(value, str) and "\0" in value:
            raise DefinitionError("", "it holds the character U+0000")
        if isinstance(value, float) and not math.isfinite(value):
            raise DefinitionError("", "it holds a number that JSON cannot")
        if isinstance(value, dict):
            left.extend((inner, depth + 1) for pair in value.items() for inner in pair)
        elif isinstance(value, list):
            left.extend((inner, depth + 1) for inner in value)


def _of_type(raw: dict[str, Json], name: str, kind: type[dict[str, Json]] | type[str]) -> Any:
    """The member, None where there is none. Raises DefinitionError for one of another type."""
    value = raw.get(name)
    if value is not None and not isinstance(value, kind):
        raise DefinitionError(name, f"it must be {'a string' if kind is str else 'an object'}")
    return value


def _check_root(schema: dict[str, Json], at: str) -> None:
    if schema.get("type") != "object":
        raise DefinitionError(at, '`type` must be "object"')
    left: list[tuple[str, Json]] = [(at, schema)]
    while left:
        at, inner = left.pop()
        if isinstance(inner, bool):
            continue  # a schema that takes all, or nothing
        if not isinstance(inner, dict):
            raise DefinitionError(at, "a schema must be an object or a boolean")
        _check_node(inner, at)
        left.extend(_inside(inner, at))


def _check_node(schema: dict[str, Json], at: str) -> None:
    kinds = schema.get("type", [])
    for kind in [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else [None]:
        if not isinstance(kind, str) or kind not in _TYPES:
            raise DefinitionError(f"{at}.type", f"it must be one or more of {sorted(_TYPES)}")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise DefinitionError(f"{at}.required", "it must be a list of names")
    if not isinstance(schema.get("enum", []), list):
        raise DefinitionError(f"{at}.enum", "it must be a list")
    # Whoever followed another one would ask an address that a stranger chose.
    reference = schema.get("$ref", "#")
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise DefinitionError(f"{at}.$ref", "it must point into the schema itself")


def _inside(schema: dict[str, Json], at: str) -> Iterator[tuple[str, Json]]:
    for word in (*_ONE, *_ONE_MORE):
        if word in schema:
            value = schema[word]
            # Before 2020-12 `items` could be a list, and some servers still write it so.
            yield from (
                _each(value, f"{at}.{word}")
                if isinstance(value, list)
                else [(f"{at}.{word}", value)]
            )
    for word in _LISTS:
        if word in schema:
            yield from _each(schema[word], f"{at}.{word}")
    for word in _MAPS:
        inner = schema.get(word, {})
        if not isinstance(inner, dict):
            raise DefinitionError(f"{at}.{word}", "it must be an object")
        yield from ((f"{at}.{word}.{name}", value) for name, value in inner.items())


def _each(values: Json, at: str) -> Iterator[tuple[str, Json]]:
    if not isinstance(values, list):
        raise DefinitionError(at, "it must be a list of schemas")
    yield from ((f"{at}[{position}]", value) for position, value in enumerate(values))
