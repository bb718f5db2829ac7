"""JSON Schemas of draft 2020-12, made plain enough for the servers that compile them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from proxy.wire.body import BodyError

MAX_DEPTH = 30  # real schemas have under ten levels; deeper ones become "anything"
MAX_NODES = 5_000  # references may multiply a small schema without end
NODE_BYTES = 200  # a longer node counts for as many as it is long

Schema = dict[str, Any]

_ROOT = frozenset({"$schema", "$id"})
# What every compiler of grammars knows. The rest only narrows what these allow.
_PLAIN = frozenset(
    {
        "type",
        "title",
        "description",
        "enum",
        "required",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
    }
)


def parameters(schema: Mapping[str, Any], at: str, *, plain: bool) -> Schema:
    """The schema of a tool's input. Raises BodyError unless it is one of an object.

    By default no constraint is lost. A `plain` one has no references and no keyword but the most
    common, and so allows a little more than the one it was made from.
    """
    kind = schema.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise BodyError(f"{at}.type: Input should be 'object'")
    made = simplified(schema) if plain else without_identity(schema)
    given = made.get("properties")
    return made | {"type": "object", "properties": given if isinstance(given, Mapping) else {}}


def without_identity(schema: Mapping[str, Any]) -> Schema:
    """The schema without the words that only say which dialect it is in."""
    return {word: value for word, value in schema.items() if word not in _ROOT}


def simplified(schema: Mapping[str, Any]) -> Schema:
    """The plain form of a whole schema."""
    return _Simplifier(schema).of(schema, ())


class _Simplifier:
    """One schema's way into the plain form, bounded in depth and in size."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._left = MAX_NODES

    def of(self, node: Any, inside: tuple[str, ...], depth: int = 0) -> Schema:
        """The plain form of `node`, which is reached through the references `inside`."""
        self._left -= 1
        if not isinstance(node, Mapping):
            return {}
        plain = {word: value for word, value in node.items() if word in _PLAIN}
        if "const" in node:
            plain["enum"] = [node["const"]]
        reference = node.get("$ref")
        members = node.get("properties")
        members = members if isinstance(members, Mapping) else {}
        self._left -= len(msgspec.json.encode([plain, reference, *members])) // NODE_BYTES
        if depth > MAX_DEPTH or self._left < 0:
            return {}
        plain |= self._nested(node, inside, depth + 1)
        more = [self.of(part, inside, depth + 1) for part in self._listed(node, "allOf")]
        if isinstance(reference, str) and reference not in inside:
            # A schema within itself has no plain form: where it begins again, anything may stand.
            target = _found(self._root, reference)
            more.append(self.of(target, (*inside, reference), depth + 1))
        return _merged([plain, *more])

    def _nested(self, node: Mapping[str, Any], inside: tuple[str, ...], depth: int) -> Schema:
        made: Schema = {}
        members = node.get("properties")
        if isinstance(members, Mapping):
            made["properties"] = {
                name: self.of(part, inside, depth) for name, part in members.items()
            }
        for word in ("items", "additionalProperties"):
            if isinstance(node.get(word), Mapping):
                made[word] = self.of(node[word], inside, depth)
        if isinstance(node.get("additionalProperties"), bool):
            made["additionalProperties"] = node["additionalProperties"]
        either = [*self._listed(node, "anyOf"), *self._listed(node, "oneOf")]
        if either:
            made["anyOf"] = [self.of(part, inside, depth) for part in either]
        return made

    def _listed(self, node: Mapping[str, Any], word: str) -> list[Any]:
        value = node.get(word)
        return value[: max(self._left, 0)] if isinstance(value, list) else []


def _merged(parts: list[Schema]) -> Schema:
    """What all the parts ask for; where two speak of the same word, the first one counts."""
    if len(parts) == 1:
        return parts[0]
    whole: Schema = {}
    for part in reversed(parts):
        properties = whole.get("properties", {}) | part.get("properties", {})
        whole |= part | ({"properties": properties} if properties else {})
    listed = [part["required"] for part in parts if isinstance(part.get("required"), list)]
    names = [name for names in listed for name in names if isinstance(name, str)]
    return whole | ({"required": [*dict.fromkeys(names)]} if names else {})


def _found(root: Mapping[str, Any], reference: str) -> Any:
    """What a reference inside the same document points to; None where there is no such thing."""
    if not reference.startswith("#"):
        return None
    found: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        if not isinstance(found, Mapping):
            return None
        found = found.get(step.replace("~1", "/").replace("~0", "~"))
    return found
