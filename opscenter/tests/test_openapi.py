"""The OpenAPI description: valid, whole, and shown without asking anybody else."""

import re
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from drf_spectacular.generators import SchemaGenerator
from rest_framework.views import APIView

# Pages that no person and no program of theirs calls.
NOT_DESCRIBED = {
    "/api/hello": "Claude Code's warm-up",
    "/api/v1/lago/webhooks": "Lago's, signed",
    "/api/schema": "the description itself",
    "/api/docs": "the description itself",
    "/api/mcp/ws/{user_id}": "a WebSocket",
    "/v1": "all other paths",
}


def described() -> dict[str, Any]:
    schema: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]  # it has no types
    return schema


def patterns(resolver: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for each in resolver.url_patterns:
        path = prefix + str(each.pattern).removeprefix("^")
        if isinstance(each, URLResolver):
            yield from patterns(each, path)
        elif isinstance(each, URLPattern):
            yield path, each.callback


def simple(path: str) -> str:
    """A pattern as the description writes it."""
    path = re.sub(r"\\Z|/\?\$|\$$", "", path).replace("(?:v1/)?", "").replace("(?s:/.*)?", "")
    while "(?P<" in path:
        path = _without_group(path)
    return "/" + path


def _without_group(path: str) -> str:
    start = path.index("(?P<")
    name = path[start + 4 : path.index(">", start)]
    depth, end = 0, start
    for end in range(start, len(path)):
        depth += {"(": 1, ")": -1}.get(path[end], 0)
        if depth == 0:
            break
    return f"{path[:start]}{{{name}}}{path[end + 1 :]}"


def test_it_is_valid_and_leaves_nothing_to_guess() -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=StringIO())


def test_it_describes_every_page_below_api() -> None:
    served = {simple(path): view for path, view in patterns(get_resolver())}
    api = {path: view for path, view in served.items() if path.startswith("/api/")}
    api |= {simple(path): view for path, view in patterns(get_resolver("proxy.urls"))}
    assert NOT_DESCRIBED.keys() <= api.keys()
    assert described()["paths"].keys() == api.keys() - NOT_DESCRIBED.keys()


def test_it_describes_every_method_and_names_each_once() -> None:
    paths = described()["paths"]
    names = [each["operationId"] for path in paths.values() for each in path.values()]
    assert len(names) == len(set(names))
    for path, view in (*patterns(get_resolver()), *patterns(get_resolver("proxy.urls"))):
        cls = getattr(view, "cls", None)
        if cls is None or not issubclass(cls, APIView) or simple(path) not in paths:
            continue
        methods = {name for name in ("get", "post", "put", "patch", "delete") if hasattr(cls, name)}
        assert paths[simple(path)].keys() == methods, path


def test_it_says_how_programs_say_who_they_are() -> None:
    schema = described()
    assert schema["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    for path in schema["paths"].values():
        for operation in path.values():
            assert {"apiKey": []} in operation["security"]
            assert "401" in operation["responses"]


@pytest.mark.parametrize(("query", "kind"), [("", "vnd.oai.openapi"), ("?format=json", "json")])
def test_it_is_served_to_all_in_both_forms(query: str, kind: str) -> None:
    answer = Client().get("/api/schema" + query)
    assert answer.status_code == 200
    assert kind in answer["content-type"]
    assert yaml.safe_load(answer.content)["info"]["title"] == "Ops-Center"


def test_it_shows_the_page_from_here_alone() -> None:
    page = Client().get("/api/docs")
    text = page.content.decode()
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert loaded
    assert all(one.startswith("/") and not one.startswith("//") for one in loaded)
    assert "'unsafe-inline'" not in page["content-security-policy"].partition("style-src")[0]
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    for one in loaded:
        assert Client().get(one.replace("&amp;", "&")).status_code == 200, one
