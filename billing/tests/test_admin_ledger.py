"""The ledger in the admin: everybody who may look finds a request, nobody changes one."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import ApiKey, Organization
from accounts.tests.people import Person, alice
from billing.admin.links import LINK
from billing.models import UsageRecord
from billing.tests.admin import ESCAPED, HTML, operator, price, record, staff

__all__ = ["alice", "operator"]

LEDGER = "/admin/billing/usagerecord/"


def found(client: Client, term: str) -> list[UsageRecord]:
    page = client.get(LEDGER, {"q": term})
    assert page.status_code == 200
    return list(page.context["cl"].result_list)


def test_it_asks_as_often_for_many_rows_as_for_few(
    operator: Client, alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operator.get(LEDGER)  # Django looks content types up once per process
    for count in (10, 20):
        for number in range(10):
            other = Organization.objects.create(name=f"organization {number}")
            record(alice, organization=other)
        with django_assert_num_queries(8):
            page = operator.get(LEDGER)
        assert len(page.context["cl"].result_list) == count
        assert {row.username for row in page.context["cl"].result_list} == {alice.user.username}


def test_it_never_counts_the_whole_ledger(
    operator: Client, alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    row = record(alice)
    found(operator, row.session_id)
    for look in (lambda: found(operator, row.session_id), lambda: operator.get(LEDGER)):
        with django_assert_num_queries(8) as seen:
            look()
        asked = [query["sql"] for query in seen.captured_queries]
        asked = [sql for sql in asked if '"parent_id" IN (' not in sql]  # by an index, of a page
        assert not [sql for sql in asked if "COUNT(" in sql and "usagerecord" in sql]


def test_it_shows_one_request_whole(
    operator: Client, alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    row = record(alice)
    operator.get(LEDGER)
    operator.get(f"{LEDGER}{row.id}/change/")
    with django_assert_num_queries(10):  # four of them for what else belongs to the request
        answer = operator.get(f"{LEDGER}{row.id}/change/")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert f"req_{row.id.hex}" in page
    assert all(text in page for text in ("qwen3:8b", row.session_id, "0123456789ab", "123"))
    assert '<input type="submit" value="Save"' not in page


def test_it_shows_what_was_used_by_who_is_gone(operator: Client, alice: Person) -> None:
    key, _ = alice.key()
    row = record(alice, api_key_id=key.id)
    ApiKey.objects.all().delete()
    User.objects.filter(id=alice.user.pk).delete()
    assert '<td class="field-username' in (listed := operator.get(LEDGER).content.decode())
    assert "gone" in listed
    page = operator.get(f"{LEDGER}{row.id}/change/")
    assert page.status_code == 200
    assert key.id in page.content.decode()


@pytest.mark.parametrize("spelled", ["{0.hex}", "{0}", "req_{0.hex}", " req_{0.hex} "])
def test_it_finds_a_request_by_its_id(operator: Client, alice: Person, spelled: str) -> None:
    record(alice)
    row = record(alice)
    assert found(operator, spelled.format(row.id)) == [row]


def test_it_finds_a_session_and_a_model(operator: Client, alice: Person) -> None:
    record(alice)
    session = "6d2c7a44-93a1-4b0e-8d57-0a6cf1f9e3b2"  # as Claude Code names them
    row = record(alice, requested_model="another", session_id=session)
    assert found(operator, session) == [row]
    assert found(operator, "another") == [row]
    assert found(operator, "anoth") == []


@pytest.mark.parametrize("term", ["req_", "req_zz", "'; --", "%", "é" * 300, "a b c"])
def test_it_finds_nothing_by_nonsense(operator: Client, alice: Person, term: str) -> None:
    record(alice)
    assert found(operator, term) == []


def test_it_takes_no_change_from_anybody(operator: Client, alice: Person) -> None:
    row = record(alice)
    before = UsageRecord.objects.values().get()
    one = f"{LEDGER}{row.id}/"
    form = {"state": "failed", "input_tokens": "0", "post": "yes", "_save": "Save"}
    pages = [LEDGER + "add/", one + "change/", one + "delete/"]
    assert [operator.post(page, form).status_code for page in pages] == [403] * 3
    assert operator.get(LEDGER + "add/").status_code == 403
    assert operator.get(one + "delete/").status_code == 403
    assert UsageRecord.objects.values().get() == before


def test_it_offers_no_way_to_delete_many(operator: Client, alice: Person) -> None:
    row = record(alice)
    form = {"action": "delete_selected", "_selected_action": [str(row.id)], "post": "yes"}
    operator.post(LEDGER, form)
    assert UsageRecord.objects.get() == row
    assert "delete_selected" not in operator.get(LEDGER).content.decode()


def test_it_keeps_the_ledger_of_an_organization_that_is_to_be_deleted(
    operator: Client, alice: Person
) -> None:
    record(alice)
    page = f"/admin/accounts/organization/{alice.organization.id}/delete/"
    answer = operator.post(page, {"post": "yes"})
    assert answer.status_code < 500
    assert UsageRecord.objects.count() == 1
    assert Organization.objects.filter(id=alice.organization.id).exists()


def test_it_shows_what_strangers_wrote_as_text(operator: Client, alice: Person) -> None:
    alice.organization.name = HTML
    alice.organization.save()
    row = record(
        alice,
        requested_model=HTML,
        served_model=HTML,
        session_id=HTML,
        agent_id=HTML,
        error_type=HTML,
        usage={"service_tier": HTML},
        kept_headers={"user-agent": f"agent {HTML}"},
        tags=[HTML, "ci"],
        flags=HTML,
    )
    for url in (LEDGER, f"{LEDGER}{row.id}/change/", f"{LEDGER}?q={HTML}"):
        page = operator.get(url).content.decode()
        assert HTML not in page
        assert ESCAPED in page


def test_it_refuses_staff_without_permission(alice: Person) -> None:
    row = record(alice)
    client = staff("view_user")
    pages = [LEDGER, f"{LEDGER}{row.id}/change/", f"{LEDGER}{row.id}/history/"]
    assert [client.get(page).status_code for page in pages] == [403] * 3


def test_it_takes_no_change_from_staff_with_every_permission(alice: Person) -> None:
    row = record(alice)
    verbs = ("view", "add", "change", "delete")
    client = staff(*(f"{verb}_usagerecord" for verb in verbs))
    assert client.get(LEDGER).status_code == 200
    assert client.post(f"{LEDGER}{row.id}/change/", {"state": "failed"}).status_code == 403
    assert client.post(f"{LEDGER}{row.id}/delete/", {"post": "yes"}).status_code == 403
    assert UsageRecord.objects.get().state == "completed"


def test_it_shows_money_to_the_last_nano_dollar(operator: Client, alice: Person) -> None:
    version = price("*")
    row = record(alice, cost_nano=1_234_000_000_001, price_id=version.pk)
    page = operator.get(f"{LEDGER}{row.id}/change/").content.decode()
    assert "$1,234.000000001" in page
    assert f"/admin/billing/price/{version.pk}/change/" in page
    assert "$1,234.00" in operator.get(LEDGER).content.decode()


def test_it_links_steps_and_corrections_both_ways(operator: Client, alice: Person) -> None:
    row = record(alice)
    step = record(alice, parent_id=row.id)
    correction = record(alice, state="correction", corrects_id=row.id, cost_nano=-5)
    page = operator.get(f"{LEDGER}{row.id}/change/").content.decode()
    assert all(f"{LEDGER}{other.id}/change/" in page for other in (step, correction))
    for other in (step, correction):
        page = operator.get(f"{LEDGER}{other.id}/change/").content.decode()
        assert f"{LEDGER}{row.id}/change/" in page


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ("unpriced__exact=1", {"unpriced": True}),
        ("estimated__exact=1", {"estimated": True}),
        ("flags__isempty=0", {"flags": "left"}),
        ("upstream=gpu-box", {"upstream": "gpu-box"}),
        ("agent=writer", {"agent": "writer"}),
        ("rows=steps", {"parent_id": uuid4()}),
        ("state__exact=failed", {"state": "failed"}),
    ],
)
def test_it_finds_what_is_worth_a_second_look(
    operator: Client, alice: Person, asked: str, fields: dict[str, Any]
) -> None:
    record(alice)
    row = record(alice, **fields)
    page = operator.get(f"{LEDGER}?{asked}")
    assert list(page.context["cl"].result_list) == [row]


def test_it_lists_requests_alone_with_what_each_comes_to(operator: Client, alice: Person) -> None:
    plain = record(alice)
    root = record(alice, cost_nano=10**9)
    steps = [record(alice, parent_id=root.id, cost_nano=10**9) for _ in range(2)]
    correction = record(alice, state="correction", corrects_id=root.id, cost_nano=5)
    page = operator.get(f"{LEDGER}?rows=requests")
    assert list(page.context["cl"].result_list) == [root, plain]
    assert page.content.decode().count("3 steps, $3.00") == 1
    page = operator.get(LEDGER)
    assert list(page.context["cl"].result_list) == [correction, *reversed(steps), root, plain]
    to_root = f'<a href="{LEDGER}{root.id}/change/" class="{LINK}">a step</a>'
    assert page.content.decode().count(to_root) == 2


@pytest.mark.parametrize("tags", [None, [], {"a": 1}, "text", [1, None]])
def test_it_shows_whatever_stands_where_tags_should(
    operator: Client, alice: Person, tags: Any
) -> None:
    row = record(alice, tags=tags)
    assert operator.get(f"{LEDGER}{row.id}/change/").status_code == 200
