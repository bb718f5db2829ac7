"""Why a model goes where it goes, as people are told."""

from datetime import UTC, datetime
from typing import Any

from proxy import explain
from proxy.routing import Moves, Own, RouteRule
from proxy.tests.rules import ACME, OTHER, asking, nowhere, rule, upstream

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHAIN = [rule("*", name, position=number) for number, name in enumerate("abc")]


def explained(
    rules: list[RouteRule],
    *,
    model: str = "m",
    own: Own | None = None,
    moved: Moves = nowhere,
    unwell: str = "",
) -> dict[str, Any]:
    """With the upstreams named in `unwell` failing."""
    return explain.explained(
        rules,
        asking(model),
        own or {},
        moved,
        lambda rule: "It fails." if rule.upstream.name in unwell else "",
    )


def states(told: dict[str, Any]) -> list[tuple[str, str]]:
    return [(each["upstream"], each["state"]) for each in told["candidates"]]


def test_it_tells_who_answers_and_who_comes_next() -> None:
    told = explained(CHAIN)
    assert states(told) == [("a", "chosen"), ("b", "next"), ("c", "next")]
    assert told["chosen"] == told["candidates"][0]
    assert told["reason"] == "The closest pattern, *, and its lowest position."


def test_it_tells_who_is_passed_over_and_why() -> None:
    rules = [
        rule("m", "a"),
        rule("*", "b"),
        rule("x", "c"),
        rule("m", "d", enabled=False),
        rule("m", upstream("e", enabled=False)),
    ]
    why = {each["upstream"]: each["why"] for each in explained(rules)["candidates"]}
    assert why == {
        "a": "It answers.",
        "b": "The pattern m comes before it.",
        "c": "Its pattern does not match.",
        "d": "The route is switched off.",
        "e": "Its upstream is switched off.",
    }


def test_it_tells_that_one_has_failed() -> None:
    told = explained(CHAIN, unwell="a")
    assert states(told) == [("a", "unwell"), ("b", "chosen"), ("c", "next")]
    assert told["reason"] == "a comes first, but has failed lately."


def test_it_tells_that_all_have_failed() -> None:
    told = explained(CHAIN, unwell="abc")
    assert told["chosen"] is None
    assert "Every upstream" in told["reason"]


def test_it_tells_that_an_outage_has_moved_the_session() -> None:
    told = explained(CHAIN, moved=lambda home: [(NOW, "m", "a", "b")])
    assert states(told) == [("b", "chosen"), ("a", "next"), ("c", "next")]
    assert "An outage has moved this session here" in told["reason"]


def test_it_tells_that_the_weights_decide() -> None:
    assert "by weight" in explained([rule("*", "a"), rule("*", "b")])["reason"]


def test_it_tells_why_nothing_answers() -> None:
    told = explained([rule("x")])
    assert (told["chosen"], told["candidates"][0]["state"]) == (None, "passed over")
    assert "m is not served here" in told["reason"]
    assert explained([])["candidates"] == []


def test_it_tells_an_organization_nothing_of_anothers_routes() -> None:
    rules = [rule("*", "a"), rule("*", "theirs", organization_id=OTHER)]
    assert states(explained(rules)) == [("a", "chosen")]


def test_it_tells_whose_credential_is_shown_and_never_which() -> None:
    rules = [
        rule("*", upstream("a", credential="hidden"), position=1),
        rule("*", upstream("b", problem="hidden"), position=2),
        rule("*", "c", position=3, organization_id=ACME, target_model="q"),
        rule("*", "d", position=4),
    ]
    told = explained(rules, own={(ACME, "d"): ("hidden", ""), (OTHER, "c"): ("hidden", "")})
    shown = {each["upstream"]: each["credential"] for each in told["candidates"]}
    assert shown == {"a": "operator", "b": "operator", "c": "none", "d": "own"}
    assert "hidden" not in repr(told)
    third = told["candidates"][2]
    assert (third["target_model"], third["organization"]) == ("q", str(ACME))


def test_it_tells_a_bounded_number_of_candidates() -> None:
    rules = [rule("m", "a"), *(rule(f"x{number}", "a") for number in range(1000))]
    told = explained(rules)
    assert len(told["candidates"]) == explain.MOST
    assert told["chosen"] is not None
