"""A tool's schema as model providers take it: an object at its root, and no choice there (pure)."""

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]
_CHOICES = ("anyOf", "oneOf")


def plain_root(schema: Mapping[str, Any]) -> Schema:
    """The same with what stands in a union at its root put together.

    All properties of all branches may be given then; only what each demands must be. The tool
    itself still judges what it is given.
    """
    found = {key: value for key, value in schema.items() if key not in {*_CHOICES, "allOf"}}
    properties = dict(_mapping(found.get("properties")))
    required = set(_names(found.get("required")))
    for branch in _branches(schema.get("allOf")):
        properties |= _mapping(branch.get("properties"))
        required |= set(_names(branch.get("required")))
    for name in _CHOICES:
        branches = _branches(schema.get(name))
        for branch in branches:
            properties = {**_mapping(branch.get("properties")), **properties}
        if branches:
            required |= set.intersection(*[set(_names(one.get("required"))) for one in branches])
    if properties or "properties" in found:
        found["properties"] = properties
    if required:
        found["required"] = sorted(required)
    return {**found, "type": "object"}


def _branches(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _names(value: Any) -> Sequence[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
