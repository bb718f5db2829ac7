"""Which target answers for a model, and what is listed."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import catalog, routing
from proxy.routing import NoRouteError, RouteRule, UpstreamConfig


def rule(pattern: str, *, to: str = "a", target: str = "", shown: str = "") -> RouteRule:
    upstream = UpstreamConfig(
        name=to,
        kind="anthropic",
        base_url="http://a",
        credential_header="x-api-key",
        credential_variable="KEY",
        credential="hidden",
    )
    return RouteRule(pattern=pattern, upstream=upstream, target_model=target, display_name=shown)


def test_it_takes_the_first_rule_that_matches() -> None:
    rules = [rule("claude-opus-*", to="big", target="qwen"), rule("*", to="rest")]
    assert routing.choose(rules, "claude-opus-5-5").upstream.name == "big"
    assert routing.choose(rules, "claude-opus-5-5").model == "qwen"
    assert routing.choose(rules, "gpt-4").upstream.name == "rest"
    assert routing.choose(rules, "gpt-4").model == "gpt-4"


def test_it_names_the_model_that_nobody_serves() -> None:
    with pytest.raises(NoRouteError, match="gpt-4"):
        routing.choose([rule("claude-*")], "gpt-4")


@given(st.text(max_size=8))
def test_it_takes_everything_but_the_star_literally(model: str) -> None:
    assert routing.matches("*", model)
    assert routing.matches(model, model)
    assert routing.matches("a.c", model) == (model == "a.c")


@given(st.text("ab*", max_size=6), st.text("ab", max_size=8))
def test_it_means_by_a_star_what_a_shell_does(pattern: str, model: str) -> None:
    assert routing.matches(pattern, model) == fnmatchcase(model, pattern)


def test_it_decides_soon_whatever_the_pattern() -> None:
    assert not routing.matches("*a" * 100 + "b", "a" * 256)


def test_it_lists_named_routes_first_and_known_models_that_a_pattern_covers() -> None:
    rules = [rule("brigade", shown="Brigade"), rule("claude-opus-*")]
    assert routing.published(rules, catalog.KNOWN) == {"brigade": "Brigade", "claude-opus-5-5": ""}


def test_it_never_shows_a_credential() -> None:
    assert "hidden" not in repr(rule("*"))


@given(st.integers(1, 5), st.integers(0, 12))
def test_it_pages_through_all_models_once_in_both_directions(limit: int, count: int) -> None:
    models = [catalog.described(f"m{n}", "") for n in range(count)]
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
