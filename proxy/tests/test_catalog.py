"""Which models are listed, how they are described, and in which pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import catalog, routing
from proxy.tests.rules import ACME, OTHER, rule, upstream


def test_it_lists_named_routes_first_and_known_models_that_a_pattern_covers() -> None:
    rules = [rule("claude-opus-*"), rule("team", "b", position=2), rule("brigade", position=1)]
    found = routing.published(rules, catalog.KNOWN, ACME)
    assert list(found) == ["brigade", "team", "claude-opus-5-5"]


def test_it_lists_a_name_once_by_the_route_that_answers() -> None:
    rules = [rule("m", "later", position=2), rule("m", "sooner", position=1)]
    found = routing.published(rules, [], ACME)
    assert [shown.upstream.name for shown in found.values()] == ["sooner"]


def test_it_lists_for_an_organization_what_is_for_all_or_its_own() -> None:
    rules = [rule("shared"), rule("acmes", organization_id=ACME)]
    assert list(routing.published(rules, [], ACME)) == ["acmes", "shared"]
    assert list(routing.published(rules, [], OTHER)) == ["shared"]


def test_it_lists_nothing_that_is_switched_off() -> None:
    rules = [rule("a", enabled=False), rule("b", upstream("u", enabled=False))]
    assert routing.published(rules, catalog.KNOWN, ACME) == {}


def test_it_shows_what_the_operator_says_before_what_is_known() -> None:
    told = rule("claude-opus-5-5", display_name="Ours", description="Better", lifecycle="retired")
    shown = catalog.described("claude-opus-5-5", told)
    assert (shown["display_name"], shown["description"]) == ("Ours", "Better")
    assert (shown["lifecycle"], shown["line"]) == ("retired", "opus")


def test_it_shows_the_name_where_nobody_says_more() -> None:
    shown = catalog.described("qwen", rule("qwen"))
    assert (shown["display_name"], shown["line"], shown["max_tokens"]) == ("qwen", None, None)
    assert "description" not in shown


def test_it_shows_the_upstreams_limits() -> None:
    limits = upstream("u", context_window=131_072, max_output_tokens=8192)
    shown = catalog.described("m", rule("m", limits))
    assert (shown["max_input_tokens"], shown["max_tokens"]) == (131_072, 8192)


@pytest.mark.parametrize(
    ("kind", "is_known"), [("openai", True), ("anthropic", False), ("compatible", False)]
)
def test_it_knows_the_capabilities_of_its_own_translation_only(kind: str, is_known: bool) -> None:
    shown = catalog.described("m", rule("m", upstream("u", kind=kind)))
    assert (shown["capabilities"] is not None) == is_known


@given(st.integers(1, 5), st.integers(0, 12))
def test_it_pages_through_all_models_once_in_both_directions(limit: int, count: int) -> None:
    models = [catalog.described(f"m{n}", rule()) for n in range(count)]
    seen: list[str] = []
    after = ""
    while True:
        page = catalog.page(models, catalog.Page(limit=limit, after_id=after, before_id=""))
        seen += [model["id"] for model in page["data"]]
        if not page["has_more"]:
            break
        after = page["last_id"]
    assert seen == [model["id"] for model in models]
    if seen:
        back: list[str] = [seen[-1]]
        page = {"has_more": True}
        while page["has_more"]:
            page = catalog.page(models, catalog.Page(limit=limit, after_id="", before_id=back[0]))
            back = [model["id"] for model in page["data"]] + back
        assert back == seen
