"""What operators do in the admin: tested, explained, and written down."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, Organization
from proxy import table
from proxy.models import Route, Upstream
from proxy.tests.listing import Listing, listing
from proxy.tests.test_admin import (
    ESCAPED,
    HTML,
    ROUTES,
    UPSTREAMS,
    operator,
    staff,
    upstream,
    upstream_form,
)

__all__ = ["listing", "operator", "upstream"]

EXPLAIN = ROUTES + "explain/"


@pytest.fixture(autouse=True)
def forgetful() -> None:
    """No test sees the routes of another: the table lives in memory for some seconds."""
    table._memory.forget(None)


def lines() -> list[tuple[str, Any]]:
    rows = AuditEntry.objects.order_by("id").values_list("action", "details")
    return list(rows)


def test_it_writes_down_who_changed_what(operator: Client) -> None:
    operator.post(UPSTREAMS + "add/", upstream_form(headers='{"x-secret": "abc"}'))
    row = Upstream.objects.get()
    form = upstream_form(base_url="http://10.0.0.9", headers='{"x-secret": "def"}')
    operator.post(f"{UPSTREAMS}{row.pk}/change/", form)
    (created, first), (changed, second) = lines()
    assert (created, changed) == ("upstream.created", "upstream.changed")
    assert (first["name"], first["headers"]) == ("gpu-box", "changed")
    assert second["changed"] == {
        "base_url": ["http://127.0.0.1:8000", "http://10.0.0.9"],
        "headers": "changed",  # one may hold a secret
    }
    assert {line.actor for line in AuditEntry.objects.all()} == {f"user:{User.objects.get().pk}"}


def test_it_writes_nothing_where_nothing_changed(operator: Client) -> None:
    operator.post(UPSTREAMS + "add/", upstream_form())
    AuditEntry.objects.all().delete()
    row = Upstream.objects.get()
    form = upstream_form() | {"tls_verify": "on" if row.tls_verify else ""}
    operator.post(f"{UPSTREAMS}{row.pk}/change/", {k: v for k, v in form.items() if v != ""})
    assert lines() == []


def test_it_writes_down_routes_that_are_edited_below_an_upstream(
    operator: Client, upstream: Upstream
) -> None:
    gone = Route.objects.create(pattern="gone", upstream=upstream)
    kept = Route.objects.create(pattern="kept", upstream=upstream)
    form = upstream_form(
        {"id": gone.pk, "upstream": upstream.pk, "pattern": "gone", "DELETE": "on"},
        {"id": kept.pk, "upstream": upstream.pk, "pattern": "kept", "position": 7, "weight": 1},
        {"upstream": upstream.pk, "pattern": "new", "position": 1, "weight": 1, "enabled": "on"},
        name="demo",
        kind="demo",
        base_url="",
    )
    form["routes-INITIAL_FORMS"] = 2
    for number in (0, 1):
        form[f"routes-{number}-position"] = 7
        form[f"routes-{number}-weight"] = 1
        form[f"routes-{number}-enabled"] = "on"
    answer = operator.post(f"{UPSTREAMS}{upstream.pk}/change/", form)
    assert answer.status_code == 302, answer.context["errors"]
    told = [line for line in lines() if line[0].startswith("route.")]
    assert [action for action, _ in told] == ["route.deleted", "route.changed", "route.created"]
    assert told[1][1]["changed"] == {"position": [100, 7]}
    assert {route.pattern for route in Route.objects.all()} == {"kept", "new"}


@pytest.mark.parametrize("how", ["page", "list"])
def test_it_writes_down_what_is_deleted(operator: Client, upstream: Upstream, how: str) -> None:
    if how == "page":
        operator.post(f"{UPSTREAMS}{upstream.pk}/delete/", {"post": "yes"})
    else:
        form = {"action": "delete_selected", "_selected_action": [upstream.pk], "post": "yes"}
        operator.post(UPSTREAMS, form)
    assert not Upstream.objects.exists()
    assert lines() == [("upstream.deleted", {"name": "demo"})]


@pytest.mark.django_db(transaction=True)
def test_it_tests_one_upstream_and_several(operator: Client, listing: Listing) -> None:
    listing.lists("qwen3", HTML)
    good = Upstream.objects.create(name="good", kind="compatible", base_url=listing.url)
    bad = Upstream.objects.create(name="bad", kind="openai", base_url="http://169.254.169.254")
    page = operator.get(reverse("admin:proxy_upstream_test_this", args=[good.pk]), follow=True)
    text = page.content.decode()
    assert "good: It is there. It lists 2 models: qwen3" in text
    assert HTML not in text
    assert ESCAPED in text
    form = {"action": "test_selected", "_selected_action": [good.pk, bad.pk]}
    text = operator.post(UPSTREAMS, form, follow=True).content.decode()
    assert "good: It is there" in text
    assert "bad: Its name leads to a link-local or metadata address" in text
    assert [heard["path"] for heard in listing.heard] == ["/v1/models"] * 2


@pytest.mark.parametrize("number", ["999", "abc", "1/change"])
def test_it_knows_what_is_no_upstream(operator: Client, number: str) -> None:
    assert operator.get(f"{UPSTREAMS}{number}/test/").status_code == 404


def test_it_tests_only_for_those_who_may_change(upstream: Upstream) -> None:
    page = reverse("admin:proxy_upstream_test_this", args=[upstream.pk])
    assert staff("view_upstream").get(page).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_it_explains_a_route(operator: Client, upstream: Upstream) -> None:
    acme = Organization.objects.create(name="Acme")
    Route.objects.create(pattern="claude-*", upstream=upstream, target_model="for-all")
    Route.objects.create(
        pattern="claude-*", upstream=upstream, target_model="theirs", organization=acme, position=1
    )
    assert operator.get(EXPLAIN).status_code == 200
    everyone = operator.get(EXPLAIN, {"model": "claude-x"})
    assert everyone.context["told"]["chosen"]["target_model"] == "for-all"
    asked = {"model": "claude-x", "organization": str(acme.pk), "session": "s"}
    page = operator.get(EXPLAIN, asked)
    assert page.context["told"]["chosen"]["target_model"] == "theirs"
    assert "theirs" in page.content.decode()


@pytest.mark.django_db(transaction=True)
def test_it_says_that_nothing_answers_and_shows_the_question_as_text(operator: Client) -> None:
    page = operator.get(EXPLAIN, {"model": HTML}).content.decode()
    assert "Nothing answers" in page
    assert HTML not in page


@pytest.mark.parametrize(
    ("field", "question"),
    [
        ("model", {"model": ""}),
        ("model", {"model": "m" * 257}),
        ("organization", {"model": "x", "organization": "nobody"}),
        ("session", {"model": "x", "session": "s" * 257}),
    ],
)
def test_it_says_what_is_wrong_with_a_question(
    operator: Client, field: str, question: dict[str, str]
) -> None:
    page = operator.get(EXPLAIN, question)
    assert list(page.context["form"].errors) == [field]


def test_it_explains_to_those_who_may_see_routes(db: None) -> None:
    assert staff("view_upstream").get(EXPLAIN).status_code == 403
