"""Definitions of tools that are taken, and those that are not."""

import json
from typing import Any

import pytest

from mcp import definitions
from mcp.definitions import DefinitionError

SCHEMA = {"type": "object", "properties": {"path": {"type": ["string", "null"]}}}


def tool(**more: Any) -> dict[str, Any]:
    return {"name": "read", "inputSchema": SCHEMA} | more


def schema(**more: Any) -> dict[str, Any]:
    return tool(inputSchema={"type": "object"} | more)


def nested(depth: int) -> Any:
    found: Any = {"type": "object"}
    for _ in range(depth):
        found = {"type": "object", "properties": {"a": found}}
    return found


def test_it_takes_all_that_mcp_describes() -> None:
    raw = tool(
        title="Read",
        description="Read a file.\nReally.",
        outputSchema={"type": "object", "required": ["text"]},
        annotations={"readOnlyHint": True, "title": "unused"},
        icons=[{"src": "https://example.com/i.png"}],
        _meta={"anything": 1},
    )
    found = definitions.check(raw)
    assert (found.name, found.title, found.description) == ("read", "Read", raw["description"])
    assert (found.input_schema, found.output_schema) == (SCHEMA, raw["outputSchema"])
    assert found.annotations == raw["annotations"]


@pytest.mark.parametrize(
    "raw",
    [
        schema(additionalProperties=False, required=[], enum=[], minProperties=1),
        schema(properties={"a": True, "b": {"$ref": "#/$defs/b"}}, **{"$defs": {"b": {}}}),
        schema(properties={"a": {"type": "array", "items": [{"type": "string"}, {}]}}),
        schema(anyOf=[{"required": ["a"]}, {"not": {"const": 1}}]),
        schema(**{"$schema": "https://json-schema.org/draft/2020-12/schema"}),
    ],
)
def test_it_takes_schemas_as_servers_write_them(raw: dict[str, Any]) -> None:
    definitions.check(raw)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ("read", ""),
        ({"inputSchema": SCHEMA}, "name"),
        (tool(name=""), "name"),
        (tool(name="a b"), "name"),
        (tool(name="read\n"), "name"),
        (tool(name="x" * 129), "name"),
        (tool(name=7), "name"),
        (tool(title=7), "title"),
        (tool(description=["x"]), "description"),
        (tool(annotations=[]), "annotations"),
        ({"name": "read"}, "inputSchema"),
        (tool(inputSchema="object"), "inputSchema"),
        (tool(inputSchema={}), "inputSchema"),
        (tool(inputSchema={"type": "array"}), "inputSchema"),
        (tool(inputSchema={"type": ["object"]}), "inputSchema"),
        (tool(outputSchema={"type": "string"}), "outputSchema"),
        (schema(properties=[]), "inputSchema.properties"),
        (schema(properties={"a": "string"}), "inputSchema.properties.a"),
        (schema(properties={"a": {"type": "text"}}), "inputSchema.properties.a.type"),
        (schema(properties={"a": {"type": [["string"]]}}), "inputSchema.properties.a.type"),
        (schema(properties={"a": {"type": 7}}), "inputSchema.properties.a.type"),
        (schema(required="path"), "inputSchema.required"),
        (schema(required=[7]), "inputSchema.required"),
        (schema(enum="a"), "inputSchema.enum"),
        (schema(anyOf={}), "inputSchema.anyOf"),
        (schema(oneOf=[7]), "inputSchema.oneOf[0]"),
        (schema(items=[{"$ref": 7}]), "inputSchema.items[0].$ref"),
        (schema(**{"$ref": "https://example.com/schema"}), "inputSchema.$ref"),
        (schema(**{"$defs": {"a": {"$ref": "file:///etc/passwd"}}}), "inputSchema.$defs.a.$ref"),
        (tool(description="x" * 70_000), ""),
        (tool(description="\0"), ""),
        (tool(description="\ud800"), ""),
        (tool(_meta={"a\0": 1}), ""),
        (schema(maximum=float("inf")), ""),
        (tool(inputSchema=nested(20)), ""),
    ],
)
def test_it_names_what_is_wrong(raw: Any, field: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        definitions.check(raw)
    assert caught.value.field == field
    assert str(caught.value)


def test_it_needs_no_stack_for_what_is_deep() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DefinitionError, match="deeper than 32"):
        definitions.check(tool(_meta={"a": deep}))
    while deep:
        deep = deep[0]  # or its end would need one


def test_it_leaves_the_bad_ones_out_and_keeps_the_order() -> None:
    found = definitions.check_all(
        [tool(name="b"), tool(name="a"), 7, tool(name="b"), {"name": "c"}]
    )
    assert [one.name for one in found.tools] == ["b", "a"]
    assert [(one.name, one.field) for one in found.problems] == [
        ("", "tools[2]"),
        ("b", "tools[3].name"),
        ("c", "tools[4].inputSchema"),
    ]


def test_it_takes_so_many_tools() -> None:
    found = definitions.check_all([tool(name=f"t{number}") for number in range(514)])
    assert len(found.tools) == 512
    assert [one.field for one in found.problems] == ["tools[512]", "tools[513]"]


def test_it_sees_every_change_and_no_other() -> None:
    one = definitions.check(tool())
    reordered = json.loads(json.dumps(dict(reversed(tool().items()))))
    assert definitions.check(reordered).digest == one.digest
    assert definitions.check(tool(description="x")).digest != one.digest
    assert definitions.check(tool(_meta={"unknown": 1})).digest != one.digest
    both = definitions.check_all([tool(name="a"), tool(name="b")])
    assert both.digest != definitions.check_all([tool(name="b"), tool(name="a")]).digest


@pytest.mark.parametrize(
    ("annotations", "effects"),
    [
        ({}, True),
        ({"readOnlyHint": True}, False),
        ({"idempotentHint": True}, False),
        ({"readOnlyHint": False, "idempotentHint": False}, True),
        ({"readOnlyHint": "true"}, True),
        ({"readOnlyHint": 1}, True),
        ({"destructiveHint": False}, True),
    ],
)
def test_it_takes_only_a_plain_word_for_harmless(
    annotations: dict[str, Any], effects: bool
) -> None:
    assert definitions.has_effects(annotations) is effects
