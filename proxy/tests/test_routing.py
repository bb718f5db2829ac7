"""Which targets answer for a model, and in which order."""

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy import routing
from proxy.routing import Move, Moves, NoRouteError, RouteRule, Target
from proxy.tests.rules import ACME, OTHER, asking, nowhere, rule, upstream

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def chosen(
    rules: list[RouteRule], model: str = "m", moved: Moves = nowhere, **more: object
) -> tuple[Target, ...]:
    return routing.choose(rules, asking(model, **more), {}, moved)  # type: ignore[arg-type]  # passed on as they are


def names(
    rules: list[RouteRule], model: str = "m", moved: Moves = nowhere, **more: object
) -> list[str]:
    return [target.upstream.name for target in chosen(rules, model, moved, **more)]


def moves_of(*told: tuple[str, str, str]) -> Moves:
    """Moves as model, from and to, the newest first."""
    moves: list[Move] = [(NOW, *each) for each in told]
    return lambda home: moves if home == (ACME, "s") else []


def test_it_takes_the_lowest_position_of_all_that_match() -> None:
    rules = [rule("*", "rest", position=2), rule("claude-*", "big", position=1, target_model="q")]
    assert [(t.upstream.name, t.model) for t in chosen(rules, "claude-x")] == [("big", "q")]
    assert [(t.upstream.name, t.model) for t in chosen(rules, "gpt-4")] == [("rest", "gpt-4")]


def test_it_takes_the_closest_pattern_at_equal_positions() -> None:
    patterns = ["*", "claude-*", "claude-opus-*", "*-opus-*-*", "claude-opus-5"]
    rules = [rule(pattern, f"u{number}") for number, pattern in enumerate(patterns)]
    assert names(rules, "claude-opus-5") == ["u4"]
    assert names(rules, "claude-opus-6") == ["u2"]
    assert names(rules, "claude-haiku") == ["u1"]
    assert names(rules, "my-opus-5-5") == ["u3"]


def test_it_falls_back_along_one_pattern_only() -> None:
    rules = [
        rule("claude-*", "third", position=3),
        rule("claude-*", "first", position=1),
        rule("*", "cheap", position=2),
    ]
    assert names(rules, "claude-x") == ["first", "third"]


def test_it_passes_over_what_is_switched_off() -> None:
    rules = [
        rule("*", "a", position=1, enabled=False),
        rule("*", upstream("b", enabled=False), position=2),
        rule("*", "c", position=3),
    ]
    assert names(rules) == ["c"]


def test_it_takes_another_pattern_when_all_of_the_closest_is_switched_off() -> None:
    assert names([rule("m", "a", enabled=False), rule("*", "b")]) == ["b"]


def test_it_asks_an_organizations_own_routes_first() -> None:
    rules = [rule("*", "all"), rule("*", "own", organization_id=ACME)]
    assert names(rules) == ["own", "all"]
    assert names(rules, organization=OTHER) == ["all"]


def test_it_takes_a_loose_pattern_of_the_organizations_before_a_close_one_for_all() -> None:
    rules = [rule("m", "all"), rule("*", "own", organization_id=ACME)]
    assert names(rules) == ["own"]


def test_it_uses_the_organizations_credential_where_it_has_one() -> None:
    rules = [rule("*", upstream("a", credential="ours", problem="odd"))]
    own = {(ACME, "a"): ("theirs", ""), (OTHER, "b"): ("nobody's", "")}
    (with_own,) = routing.choose(rules, asking(), own, nowhere)
    assert (with_own.credential, with_own.is_own, with_own.problem) == ("theirs", True, "")
    (without,) = routing.choose(rules, asking(organization=OTHER), own, nowhere)
    assert (without.credential, without.is_own, without.problem) == ("ours", False, "odd")


def test_it_tells_why_an_own_credential_is_of_no_use_and_does_not_take_ours() -> None:
    rules = [rule("*", upstream("a", credential="ours"))]
    (target,) = routing.choose(rules, asking(), {(ACME, "a"): ("", "broken")}, nowhere)
    assert (target.credential, target.problem) == ("", "broken")


def test_it_names_the_model_that_nobody_serves() -> None:
    with pytest.raises(NoRouteError, match=r"gpt-4 is not served here.*GET /v1/models"):
        chosen([rule("claude-*")], "gpt-4")


@pytest.mark.parametrize(
    ("closed", "why"),
    [
        (rule("m", "a", enabled=False), "its route is switched off"),
        (rule("m", upstream("a", enabled=False)), "its upstream a is switched off"),
    ],
)
def test_it_says_what_is_switched_off(closed: RouteRule, why: str) -> None:
    with pytest.raises(NoRouteError, match=why):
        chosen([closed])


def test_it_tells_nobody_of_another_organizations_routes() -> None:
    with pytest.raises(NoRouteError, match="not served here"):
        chosen([rule("m", organization_id=OTHER, enabled=False)])


def test_it_shares_sessions_by_weight() -> None:
    rules = [rule("*", "a", weight=1), rule("*", "b", weight=3), rule("*", "c", weight=6)]
    first = Counter(names(rules, session=f"session {n}")[0] for n in range(2000))
    assert [round(first[name] / 200) for name in "abc"] == [1, 3, 6]


def test_it_keeps_the_order_of_positions_around_a_pool() -> None:
    rules = [
        rule("*", "last", position=300),
        rule("*", "a"),
        rule("*", "b"),
        rule("*", "first", position=1),
    ]
    orders = {tuple(names(rules, session=f"session {n}")) for n in range(50)}
    assert orders == {("first", "a", "b", "last"), ("first", "b", "a", "last")}


def test_it_moves_only_the_sessions_of_a_route_that_goes() -> None:
    rules = [rule("*", name) for name in "abc"]
    for n in range(200):
        before = names(rules, session=f"session {n}")
        assert names(rules[:2], session=f"session {n}") == [x for x in before if x != "c"]


@given(st.text(max_size=5))
def test_it_places_a_session_whatever_it_is_called(session: str) -> None:
    rules = [rule("*", "a"), rule("*", "b")]
    assert names(rules, session=session) == names(rules[::-1], session=session)


CHAIN = [rule("*", name, position=number) for number, name in enumerate("abc")]


def test_it_asks_first_where_an_outage_has_moved_the_session() -> None:
    assert names(CHAIN, moved=moves_of(("m", "a", "b"))) == ["b", "a", "c"]


def test_it_goes_by_the_latest_move() -> None:
    assert names(CHAIN, moved=moves_of(("m", "b", "c"), ("m", "a", "b"))) == ["c", "a", "b"]


def test_it_moves_no_other_session_and_nobody_elses_of_the_same_name() -> None:
    moved = moves_of(("m", "a", "b"))
    assert names(CHAIN, moved=moved, session="t") == ["a", "b", "c"]
    assert names(CHAIN, moved=moved, organization=OTHER) == ["a", "b", "c"]


def test_it_moves_all_models_of_a_session_that_share_the_chain() -> None:
    assert names(CHAIN, moved=moves_of(("other", "a", "b"))) == ["b", "a", "c"]


def test_it_ignores_a_move_in_another_chain() -> None:
    told = [("other", "x", "y"), ("other", "x", "b"), ("m", "a", "gone")]
    assert names(CHAIN, moved=moves_of(*told)) == ["a", "b", "c"]


def test_it_stays_moved_when_the_place_it_left_is_taken_away() -> None:
    assert names(CHAIN[1:], moved=moves_of(("m", "a", "c"))) == ["c", "b"]


def test_it_never_shows_a_credential() -> None:
    config = upstream("a", credential="hidden", headers={"x": "hidden"}, tls_ca="hidden")
    shown = rule("*", config)
    (target,) = routing.choose([shown], asking(), {(ACME, "a"): ("hidden", "")}, nowhere)
    assert "hidden" not in repr((shown, target))
