"""Lago's official contract, where it lies beside the repository; else the little that we need."""

import json
import pickle
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from tests.environment import ROOT, VAR

OFFICIAL = ROOT.parent / "shared" / "reference" / "lago-openapi.yaml"
_SAMPLE = {"type": ["string", "integer", "number"]}
_EVENT = {
    "type": "object",
    "required": ["transaction_id", "external_subscription_id", "code"],
    "properties": {
        "transaction_id": {"type": "string"},
        "external_subscription_id": {"type": "string"},
        "code": {"type": "string"},
        "timestamp": {"type": ["integer", "string"]},
        "properties": {"type": "object", "additionalProperties": _SAMPLE},
    },
}


def _body(name: str, *required: str) -> dict[str, Any]:
    inner = {"type": "object", "required": list(required)}
    return {"type": "object", "required": [name], "properties": {name: inner}}


# Used where the official contract is not at hand. Bodies only; of queries and answers it is silent.
_BUILT_IN: dict[tuple[str, str], dict[str, Any] | None] = {
    ("POST", "/events/batch"): {
        "type": "object",
        "required": ["events"],
        "properties": {"events": {"type": "array", "items": _EVENT}},
    },
    ("GET", "/events"): None,
    ("GET", "/events/{transaction_id}"): None,
    ("POST", "/customers"): _body("customer", "external_id"),
    ("GET", "/customers/{external_customer_id}"): None,
    ("GET", "/customers/{external_customer_id}/current_usage"): None,
    ("POST", "/billable_metrics"): _body("billable_metric"),
    ("PUT", "/billable_metrics/{code}"): _body("billable_metric"),
    ("GET", "/billable_metrics/{code}"): None,
    ("POST", "/plans"): _body(
        "plan", "name", "code", "interval", "amount_cents", "amount_currency", "pay_in_advance"
    ),
    ("PUT", "/plans/{code}"): _body("plan"),
    ("GET", "/plans/{code}"): None,
    ("POST", "/plans/{code}/charges"): _body("charge", "billable_metric_id", "charge_model"),
    ("POST", "/subscriptions"): _body(
        "subscription", "external_customer_id", "plan_code", "external_id"
    ),
    ("GET", "/subscriptions/{external_id}"): None,
    ("GET", "/webhooks/public_key"): None,
}


@cache
def _official() -> dict[str, Any] | None:
    if not OFFICIAL.exists():
        return None
    found = _parsed()
    for name in ("EventInputObject", "EventObject"):
        # "One of string, integer, number" would forbid every integer, for it is a number too.
        values = found["components"]["schemas"][name]["properties"]["properties"]
        values["additionalProperties"]["anyOf"] = values["additionalProperties"].pop("oneOf")
    return found


def _parsed() -> dict[str, Any]:
    """The contract as it is, kept as a pickle: it is almost a megabyte of YAML."""
    kept = VAR / f"lago-{OFFICIAL.stat().st_mtime_ns}.pickle"
    found: dict[str, Any]
    if kept.exists():
        found = pickle.loads(kept.read_bytes())  # noqa: S301  (we wrote it)
        return found
    found = yaml.load(OFFICIAL.read_text(), Loader=yaml.CSafeLoader)
    # Renamed into place: another process may be reading.
    fresh = kept.with_suffix(f".{id(found)}")
    fresh.write_bytes(pickle.dumps(found))
    fresh.rename(kept)
    return found


def request_faults(method: str, path: str, query: Mapping[str, str], body: Any) -> list[str]:
    """What the contract holds against a request; `path` without /api/v1."""
    spec = _official()
    if spec is None:
        return _built_in_faults(method, path, body)
    found = _operation(spec, method, path)
    if found is None:
        return [f"{method} {path} is not in the contract"]
    operation, shared = found
    parameters = [_resolved(spec, p) for p in [*operation.get("parameters", []), *shared]]
    known = {p["name"] for p in parameters if p["in"] == "query"}
    faults = [f"unknown query parameter {name}" for name in query if name not in known]
    needed = {p["name"] for p in parameters if p["in"] == "query" and p.get("required")}
    faults += [f"{name} is missing in the query" for name in needed - query.keys()]
    schema = _json_schema(operation.get("requestBody"))
    if (schema is None) != (body is None):
        return [*faults, "a body where there is none, or none where there is one"]
    return [*faults, *(_faults(schema, body) if schema is not None else ())]


def answer_faults(method: str, path: str, status: int, body: Any) -> list[str]:
    """What the contract holds against an answer of the stand-in itself."""
    spec = _official()
    found = _operation(spec, method, path) if spec else None
    if spec is None or found is None:
        return []
    response = found[0]["responses"].get(str(status))
    if response is None:
        return [f"status {status} is not in the contract"]
    schema = _json_schema(_resolved(spec, response))
    return list(_faults(schema, body)) if schema is not None else []


def _built_in_faults(method: str, path: str, body: Any) -> list[str]:
    for (known, template), schema in _BUILT_IN.items():
        if known == method and _fits(template, path):
            return [e.message for e in Draft202012Validator(schema or {}).iter_errors(body)]
    return [f"{method} {path} is not known"]


def _operation(spec: Any, method: str, path: str) -> tuple[dict[str, Any], list[Any]] | None:
    # A path without parameters is closer than one with: /events/batch is not an event.
    for template in sorted(spec["paths"], key=lambda template: template.count("{")):
        operations = spec["paths"][template]
        if _fits(template, path) and method.lower() in operations:
            return operations[method.lower()], operations.get("parameters", [])
    return None


def _fits(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", template), path) is not None


def _resolved(spec: Any, node: dict[str, Any]) -> Any:
    while "$ref" in node:
        name = node["$ref"]
        node = spec
        for part in name.removeprefix("#/").split("/"):
            node = node[part]
    return node


def _json_schema(holder: Any) -> dict[str, Any] | None:
    content = (holder or {}).get("content", {})
    found: dict[str, Any] | None = content.get("application/json", {}).get("schema")
    return found


def _faults(schema: dict[str, Any], value: Any) -> Iterator[str]:
    spec = _official() or {}
    for error in _validator(json.dumps(schema)).iter_errors(value):
        yield f"{'/'.join(map(str, error.path))}: {error.message[:200]}"
    yield from _unknown(spec, schema, value, "")


@cache
def _validator(schema: str) -> Any:
    """Made once: it reads the whole contract to find what it refers to."""
    spec = _official() or {}
    inlined = _inlined(spec, json.loads(schema), ())
    return Draft202012Validator({**inlined, "components": spec["components"]})


def _inlined(spec: Any, node: Any, above: tuple[str, ...]) -> Any:
    """The schema with what it refers to in its place, which is looked up much faster."""
    if isinstance(node, list):
        return [_inlined(spec, part, above) for part in node]
    if not isinstance(node, dict):
        return node
    name = node.get("$ref")
    if name in above:
        return node
    if isinstance(name, str):
        return _inlined(spec, _resolved(spec, node), (*above, name))
    return {key: _inlined(spec, part, above) for key, part in node.items()}


def _unknown(spec: Any, schema: Any, value: Any, where: str) -> Iterator[str]:
    """Members that the contract has no name for: it does not forbid them, but they are mistakes."""
    members, items, is_open = _members(spec, schema)
    if isinstance(value, dict) and members and not is_open:
        for name, inner in value.items():
            if name not in members:
                yield f"{where}/{name}: not in the contract"
            else:
                yield from _unknown(spec, members[name], inner, f"{where}/{name}")
    if isinstance(value, list) and items is not None:
        for inner in value:
            yield from _unknown(spec, items, inner, f"{where}[]")


def _members(spec: Any, schema: Any) -> tuple[dict[str, Any], Any, bool]:
    node = _resolved(spec, schema)
    members, items = dict(node.get("properties", {})), node.get("items")
    is_open = "additionalProperties" in node or "oneOf" in node or "anyOf" in node
    for part in node.get("allOf", []):
        more, more_items, more_open = _members(spec, part)
        for name, inner in more.items():
            members.setdefault(name, inner)
        items, is_open = items or more_items, is_open or more_open
    return members, items, is_open
