"""Input schemas in a form that compilers of grammars take, however they are written."""

from typing import Any

import msgspec

from proxy.adapters.openai.schemas import MAX_DEPTH, MAX_NODES, NODE_BYTES, parameters


def test_a_schema_that_multiplies_itself_stays_small() -> None:
    levels = 40
    defs = {
        f"d{n}": {
            "properties": {"a": {"$ref": f"#/$defs/d{n + 1}"}, "b": {"$ref": f"#/$defs/d{n}"}}
        }
        | {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(levels)
    }
    schema = {"$defs": defs, "properties": {"x": {"$ref": "#/$defs/d0"}}}
    made = msgspec.json.encode(parameters(schema, "", plain=True))
    assert 100 < len(made) < MAX_NODES * NODE_BYTES


def test_a_long_text_that_is_referred_to_often_is_not_repeated_without_end() -> None:
    long = {"type": "string", "description": "x" * 10_000}
    properties = {f"p{n}": {"$ref": "#/$defs/long"} for n in range(1000)}
    schema = {"$defs": {"long": long}, "properties": properties}
    made = msgspec.json.encode(parameters(schema, "", plain=True))
    assert 10_000 < len(made) < 2 * MAX_NODES * NODE_BYTES


def test_a_long_name_that_is_referred_to_often_is_not_repeated_without_end() -> None:
    long = {"properties": {"x" * 10_000: True}}
    properties = {f"p{n}": {"$ref": "#/$defs/long"} for n in range(1000)}
    schema = {"$defs": {"long": long}, "properties": properties}
    made = msgspec.json.encode(parameters(schema, "", plain=True))
    assert 10_000 < len(made) < 2 * MAX_NODES * NODE_BYTES


def test_a_schema_is_cut_where_it_is_too_deep_for_a_compiler() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(2 * MAX_DEPTH):
        schema = {"type": "object", "properties": {"a": schema}}
    made: Any = parameters(schema, "", plain=True)
    depth = 0
    while "properties" in made:
        made, depth = made["properties"]["a"], depth + 1
    assert (made, depth) == ({}, MAX_DEPTH + 1)
