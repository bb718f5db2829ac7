"""GET /api/v1/usage: what it takes, and who sees what."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from accounts.models import Membership, Organization
from accounts.principal import MESSAGES, USAGE_READ
from accounts.tests.people import Person, Role, join
from billing.tests.usage_rows import NOON, keep, row

URL = "/api/v1/usage"
RANGE = {"from": "2026-11-01", "to": "2026-12-01"}


def ask(client: APIClient, **query: Any) -> Any:
    return client.get(URL, RANGE | query)


def with_key(person: Person, scopes: list[str]) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {person.key(scopes=scopes)[1]}")
    return client


def operator() -> APIClient:
    person = join("olga", Organization.objects.create(name="Operators"), Role.OWNER)
    person.user.is_staff = True
    person.user.save()
    sees = Permission.objects.get(codename="view_usagerollup")
    person.user.user_permissions.add(sees)
    return person.signed_in()


def costs(answer: Any, field: str) -> dict[Any, int]:
    assert answer.status_code == 200, answer.content
    return {each[field]: each["cost_nano"] for each in answer.json()["results"]}


@pytest.fixture
def used(alice: Person, bob: Person, charlie: Person) -> None:
    """Alice used 1, Bob 2, Charlie 4."""
    keep([row(who, cost_nano=n) for who, n in ((alice, 1), (bob, 2), (charlie, 4))])


def test_it_shows_sums_totals_and_the_range(alice: Person) -> None:
    key, _ = alice.key("laptop")
    keep([row(alice, key=key.id, input_tokens=7, cost_nano=12_345_678, duration_ms=50)])
    answer = ask(alice.signed_in(), group_by="day,key").json()
    sums = {
        **dict.fromkeys(("requests",), 1),
        **dict.fromkeys(("failed", "estimated", "output_tokens", "cache_read_tokens"), 0),
        **dict.fromkeys(("cache_write_5m_tokens", "cache_write_1h_tokens"), 0),
        **dict.fromkeys(("server_tool_uses", "tool_calls"), 0),
        "input_tokens": 7,
        "cost_nano": 12_345_678,
        "cost": "0.012345678",
        "duration_ms": 50,
    }
    assert answer == {
        "from": "2026-11-01T00:00:00Z",
        "to": "2026-12-01T00:00:00Z",
        "group_by": ["day", "key"],
        "organization": str(alice.organization.pk),
        "user": None,
        "results": [{"day": "2026-11-25", "key": key.id, "key_name": "laptop", **sums}],
        "totals": sums,
        "limit": 1000,
        "has_more": False,
    }


def test_it_answers_for_the_present_month_unless_asked_otherwise(alice: Person) -> None:
    now = timezone.now()
    keep([row(alice, now, cost_nano=1), row(alice, now - timedelta(days=32), cost_nano=2)])
    answer = alice.signed_in().get(URL).json()
    assert answer["totals"]["cost_nano"] == 1
    assert answer["from"] == f"{now:%Y-%m}-01T00:00:00Z"


def test_it_covers_whole_hours_and_says_so(alice: Person) -> None:
    query = {"from": "2026-11-25T12:34:00+02:00", "to": "2026-11-25T12:00:01"}
    keep([row(alice, NOON, cost_nano=1)])
    answer = ask(alice.signed_in(), group_by="hour", **query).json()
    assert (answer["from"], answer["to"]) == ("2026-11-25T10:00:00Z", "2026-11-25T13:00:00Z")
    assert [each["hour"] for each in answer["results"]] == ["2026-11-25T12:00:00Z"]
    by_tag = ask(alice.signed_in(), group_by="tag", **query).json()
    assert (by_tag["from"], by_tag["to"]) == ("2026-11-25T00:00:00Z", "2026-11-26T00:00:00Z")


@pytest.mark.usefixtures("used")
def test_it_shows_an_owner_all_of_the_organization_and_a_member_their_own(
    alice: Person, bob: Person, charlie: Person
) -> None:
    dora = join("dora", alice.organization, Role.ADMIN)
    seen = {
        who.user.username: costs(ask(who.signed_in(), group_by="user"), "user_name")
        for who in (alice, bob, charlie, dora)
    }
    assert seen == {
        "alice": {"alice": 1, "bob": 2},
        "dora": {"alice": 1, "bob": 2},
        "bob": {"bob": 2},
        "charlie": {"charlie": 4},
    }
    for who, total in ((alice, 3), (bob, 2), (charlie, 4)):
        assert ask(who.signed_in()).json()["totals"]["cost_nano"] == total


@pytest.mark.django_db(transaction=True)  # keys are read on threads of their own
@pytest.mark.usefixtures("used")
def test_it_shows_a_key_what_its_owner_sees_in_its_organization(
    alice: Person, bob: Person, charlie: Person
) -> None:
    Membership.objects.create(user=bob.user, organization=charlie.organization, role=Role.OWNER)
    assert costs(ask(with_key(bob, [USAGE_READ]), group_by="user"), "user_name") == {"bob": 2}
    there = {"organization": str(charlie.organization.pk)}
    assert costs(ask(bob.signed_in(), group_by="user", **there), "user_name") == {"charlie": 4}
    assert ask(with_key(bob, [USAGE_READ]), **there).status_code == 400
    assert ask(with_key(alice, [USAGE_READ])).json()["totals"]["cost_nano"] == 3


@pytest.mark.django_db(transaction=True)  # keys are read on threads of their own
@pytest.mark.parametrize("path", ["", "/current", "/export"])
def test_it_wants_the_scope_or_a_session(alice: Person, path: str) -> None:
    assert APIClient().get(URL + path).status_code == 401
    refused = with_key(alice, [MESSAGES]).get(URL + path)
    assert refused.status_code == 403
    assert USAGE_READ in refused.json()["detail"]
    assert with_key(alice, [USAGE_READ]).get(URL + path).status_code == 200


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("path", ["", "/current", "/export"])
def test_it_answers_alike_for_organizations_of_others_and_unknown_ones(
    alice: Person, charlie: Person, path: str
) -> None:
    ids = (str(charlie.organization.pk), "7a0f6a3c-0d29-4f0b-b6b6-2d2f2f0e9a11")
    answers = [alice.signed_in().get(URL + path, {"organization": each}) for each in ids]
    assert [each.status_code for each in answers] == [400, 400]
    assert answers[0].content == answers[1].content


@pytest.mark.usefixtures("used")
def test_it_answers_alike_for_users_of_others_and_unknown_ones(alice: Person, bob: Person) -> None:
    answers = [ask(bob.signed_in(), user=each) for each in (alice.user.pk, 10**6)]
    assert [each.status_code for each in answers] == [403, 403]
    assert answers[0].content == answers[1].content
    assert ask(bob.signed_in(), user=bob.user.pk).json()["totals"]["cost_nano"] == 2


@pytest.mark.usefixtures("used")
def test_it_shows_nothing_by_the_id_of_a_stranger(alice: Person, charlie: Person) -> None:
    answer = ask(alice.signed_in(), user=charlie.user.pk).json()
    assert (answer["results"], answer["totals"]["requests"]) == ([], 0)


@pytest.mark.usefixtures("used")
def test_it_shows_operators_all_organizations_or_one(alice: Person, charlie: Person) -> None:
    client = operator()
    by_organization = costs(ask(client, group_by="organization"), "organization_name")
    assert by_organization == {alice.organization.name: 3, charlie.organization.name: 4}
    narrow = ask(client, organization=str(charlie.organization.pk))
    assert narrow.json()["totals"]["cost_nano"] == 4
    unknown = ask(client, organization="7a0f6a3c-0d29-4f0b-b6b6-2d2f2f0e9a11")
    assert list(unknown.json()) == ["organization"]


def test_it_lets_nobody_else_group_by_organization(alice: Person) -> None:
    assert ask(alice.signed_in(), group_by="organization").status_code == 403


@pytest.mark.django_db(transaction=True)  # keys are read on threads of their own
def test_it_treats_a_key_of_staff_as_a_key(alice: Person, charlie: Person) -> None:
    keep([row(charlie, cost_nano=4)])
    alice.user.is_staff = True
    alice.user.save()
    assert ask(with_key(alice, [USAGE_READ])).json()["totals"]["cost_nano"] == 0


@pytest.mark.parametrize(
    ("query", "field", "words"),
    [
        ({"group_by": "session,key"}, "group_by", "day, user, organization"),
        ({"group_by": "session,tag"}, "group_by", "session and tag"),
        ({"group_by": "tag", "model": "opus"}, "model", "day, user, organization"),
        ({"group_by": "session,hour"}, "group_by", "session and hour"),
        ({"group_by": "day,hour"}, "group_by", "one of them"),
        ({"group_by": "day,day"}, "group_by", "twice"),
        ({"group_by": "day,model,user"}, "group_by", "At most 2"),
        ({"group_by": "colour"}, "group_by", "'colour'"),
        ({"group_by": ""}, "group_by", "blank"),
        ({"groupby": "day"}, "groupby", "no such field"),
        ({"from": "yesterday"}, "from", "2026-11-25"),
        ({"from": "2026-02-30"}, "from", "2026-11-25"),
        ({"from": "9999-12-31"}, "from", "2026-11-25"),
        ({"from": "2026-12-01"}, "to", "later"),
        ({"from": "2020-01-01"}, "to", "366 days"),
        ({"limit": "0"}, "limit", "1"),
        ({"limit": "10001"}, "limit", "10000"),
        ({"user": "9" * 30}, "user", ""),
        ({"organization": "acme"}, "organization", ""),
        ({"model": "a\0b"}, "model", ""),
    ],
)
def test_it_refuses_what_it_cannot_answer_and_names_it(
    alice: Person, query: dict[str, str], field: str, words: str
) -> None:
    refused = ask(alice.signed_in(), **query)
    assert refused.status_code == 400
    assert list(refused.json()) == [field]
    assert words in " ".join(refused.json()[field])


def test_it_refuses_a_parameter_that_is_there_twice(alice: Person) -> None:
    refused = alice.signed_in().get(f"{URL}?model=opus&model=haiku")
    assert (refused.status_code, list(refused.json())) == (400, ["model"])


@pytest.mark.parametrize(
    ("group_by", "limit", "count"),
    [("day", 9, 4), ("model", 1, 5), ("user", 9, 5), ("user,key", 9, 6), ("tag", 9, 5)],
)
def test_it_asks_the_database_a_fixed_number_of_times(
    alice: Person,
    django_assert_num_queries: DjangoAssertNumQueries,
    group_by: str,
    limit: int,
    count: int,
) -> None:
    keep([row(alice, model=f"model-{n}", tags=["a"]) for n in range(3)])
    client = alice.signed_in()
    with django_assert_num_queries(count):  # session, user, membership; then the sums and the names
        ask(client, group_by=group_by, limit=limit)


def test_staff_without_the_right_see_what_is_theirs(used: None, alice: Person) -> None:
    alice.user.is_staff = True
    alice.user.save()
    Membership.objects.filter(user=alice.user).update(role=Role.MEMBER)
    assert costs(alice.signed_in().get("/api/v1/usage?group_by=user"), "user") == {alice.user.pk: 1}
