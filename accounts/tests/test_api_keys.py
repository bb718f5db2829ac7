"""The REST pages about API keys, as a browser's session sees them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from rest_framework.test import APIClient

from accounts import keys, views
from accounts.models import ApiKey, AuditEntry
from accounts.principal import CALLBACK, MESSAGES, USAGE_READ
from accounts.tests.people import Person

URL = "/api/v1/api-keys"
DAY_ONE = datetime(2026, 1, 1, tzinfo=UTC)
SHOWN = {
    "id",
    "name",
    "organization",
    "user",
    "scopes",
    "is_service",
    "tags",
    "prefix",
    "created_at",
    "expires_at",
    "last_used_at",
    "rotated_at",
    "revoked_at",
    "status",
}


def post(person: Person, body: Any, url: str = URL) -> Any:
    return person.signed_in().post(url, body, format="json")


def test_it_makes_a_key_and_shows_it_once(alice: Person) -> None:
    answer = post(alice, {"name": "laptop"})
    shown = answer.json()
    assert answer.status_code == 201
    assert shown.keys() == SHOWN | {"key"}
    assert shown["name"] == "laptop"
    assert shown["scopes"] == [MESSAGES, CALLBACK]
    assert shown["prefix"] == f"sk-uc-{shown['id']}-…"
    assert shown["organization"] == str(alice.organization.id)
    assert shown["user"] == "alice"
    assert shown["status"] == "active"
    assert shown["expires_at"] is None
    stored = ApiKey.objects.get(id=shown["id"])
    assert bytes(stored.digest) == keys.digest(shown["key"])
    client = alice.signed_in()
    for later in (client.get(URL), client.get(f"{URL}/{shown['id']}")):
        assert later.status_code == 200
        assert shown["key"][-43:] not in later.content.decode()
        assert "digest" not in later.content.decode()


def test_it_makes_a_key_that_ends(alice: Person) -> None:
    shown = post(alice, {"name": "x", "expires_in_days": 30, "scopes": [USAGE_READ]}).json()
    key = ApiKey.objects.get(id=shown["id"])
    assert key.expires_at is not None
    assert abs(key.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    assert key.scopes == [USAGE_READ]


@pytest.mark.parametrize("slash", ["", "/"])
def test_it_answers_with_and_without_a_slash(alice: Person, slash: str) -> None:
    key, _ = alice.key()
    client = alice.signed_in()
    assert client.post(URL + slash, {"name": "x"}, format="json").status_code == 201
    assert client.get(URL + slash).status_code == 200
    assert client.get(f"{URL}/{key.id}{slash}").status_code == 200
    assert client.post(f"{URL}/{key.id}/rotate{slash}").status_code == 200
    assert client.delete(f"{URL}/{key.id}{slash}").status_code == 204


WRONG: list[tuple[str, Any]] = [
    ("name", {}),
    ("name", {"name": None}),
    ("name", {"name": ""}),
    ("name", {"name": "   "}),
    ("name", {"name": 5}),
    ("name", {"name": True}),
    ("name", {"name": ["x"]}),
    ("name", {"name": {"x": 1}}),
    ("name", {"name": "a\0b"}),
    ("name", {"name": "a" * 101}),
    ("name", {"name": "a" * 10_000}),
    ("scopes", {"name": "x", "scopes": []}),
    ("scopes", {"name": "x", "scopes": None}),
    ("scopes", {"name": "x", "scopes": "anthropic-proxy"}),
    ("scopes", {"name": "x", "scopes": ["admin"]}),
    ("scopes", {"name": "x", "scopes": [None]}),
    ("scopes", {"name": "x", "scopes": [["anthropic-proxy"]]}),
    ("scopes", {"name": "x", "scopes": {"anthropic-proxy": True}}),
    ("expires_in_days", {"name": "x", "expires_in_days": 0}),
    ("expires_in_days", {"name": "x", "expires_in_days": -1}),
    ("expires_in_days", {"name": "x", "expires_in_days": 3651}),
    ("expires_in_days", {"name": "x", "expires_in_days": "30"}),
    ("expires_in_days", {"name": "x", "expires_in_days": 1.5}),
    ("expires_in_days", {"name": "x", "expires_in_days": True}),
    ("expires_in_days", {"name": "x", "expires_in_days": 10**400}),
    ("organization", {"name": "x", "organization": "acme"}),
    ("organization", {"name": "x", "organization": None}),
    ("organization", {"name": "x", "organization": -1}),
    ("organization", {"name": "x", "organization": "0e9a4c52-6d1f-4b7a-9c3e-5f2b8d7a1c60"}),
    ("service", {"name": "x", "service": "yes"}),
    ("service", {"name": "x", "service": 1}),
    ("service", {"name": "x", "service": None}),
    ("service", {"name": "x", "service": []}),
    ("tags", {"name": "x", "tags": "a"}),
    ("tags", {"name": "x", "tags": None}),
    ("tags", {"name": "x", "tags": [5]}),
    ("tags", {"name": "x", "tags": [""]}),
    ("tags", {"name": "x", "tags": ["a,b"]}),
    ("tags", {"name": "x", "tags": ["a "]}),
    ("tags", {"name": "x", "tags": ["a", "a"]}),
    ("tags", {"name": "x", "tags": ["a" * 51]}),
    ("tags", {"name": "x", "tags": ["a\0b"]}),
    ("tags", {"name": "x", "tags": list("abcdefghijk")}),
    ("tags", {"name": "x", "tags": {"a": 1}}),
    ("expires_at", {"name": "x", "expires_at": "2030-01-01"}),
    ("user", {"name": "x", "user": 1}),
    ("non_field_errors", []),
    ("non_field_errors", "x"),
    ("non_field_errors", [1]),
]


@pytest.mark.parametrize(("field", "body"), WRONG, ids=lambda value: str(value)[:40])
def test_it_names_the_field_that_is_wrong(alice: Person, field: str, body: Any) -> None:
    answer = post(alice, body)
    assert answer.status_code == 400, answer.content
    assert list(answer.json()) == [field]
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"null", 400),
        (b"\xff\xfe", 400),
        (b'{"name": NaN}', 400),
        (b'{"name": "\\ud800"}', 400),
        (b'{"\\ud800": 1}', 400),
        (b'{"name": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", 400),
        (b'{"name": "' + b"a" * 100_000 + b'"}', 413),
    ],
    ids=lambda value: str(value)[:20],
)
def test_it_survives_any_body(alice: Person, body: bytes, status: int) -> None:
    answer = alice.signed_in().post(URL, body, content_type="application/json")
    assert answer.status_code == status, answer.content
    assert len(answer.content) < 1000


def test_it_gives_a_new_secret_with_the_grace_asked_for(alice: Person) -> None:
    key, former = alice.key()
    answer = post(alice, {"grace_hours": 2}, f"{URL}/{key.id}/rotate")
    shown = answer.json()
    key.refresh_from_db()
    assert answer.status_code == 200
    assert shown.keys() == SHOWN | {"key"}
    assert shown["id"] == key.id
    assert shown["key"] != former
    assert bytes(key.digest) == keys.digest(shown["key"])
    assert key.former_until is not None
    assert key.rotated_at is not None
    assert key.former_until - key.rotated_at == timedelta(hours=2)


def test_it_rotates_with_a_day_of_grace_when_nothing_is_said(alice: Person) -> None:
    key, _ = alice.key()
    assert alice.signed_in().post(f"{URL}/{key.id}/rotate").status_code == 200
    key.refresh_from_db()
    assert key.former_until is not None
    assert key.rotated_at is not None
    assert key.former_until - key.rotated_at == timedelta(hours=24)


@pytest.mark.parametrize("hours", [-1, 169, "24", None, 1.5, True])
def test_it_refuses_a_grace_out_of_bounds(alice: Person, hours: Any) -> None:
    key, _ = alice.key()
    answer = post(alice, {"grace_hours": hours}, f"{URL}/{key.id}/rotate")
    assert answer.status_code == 400
    assert list(answer.json()) == ["grace_hours"]


def test_it_answers_conflict_when_a_closed_key_is_to_be_rotated(alice: Person) -> None:
    key, _ = alice.key()
    keys.revoke(key)
    answer = post(alice, {}, f"{URL}/{key.id}/rotate")
    assert answer.status_code == 409
    assert "was revoked" in answer.json()["detail"]


def test_it_revokes_and_keeps_the_row(alice: Person) -> None:
    key, _ = alice.key()
    client = alice.signed_in()
    assert [client.delete(f"{URL}/{key.id}").status_code for _ in range(2)] == [204, 204]
    shown = client.get(f"{URL}/{key.id}").json()
    assert shown["status"] == "revoked"
    assert shown["revoked_at"] is not None
    assert AuditEntry.objects.filter(action="key.revoked").count() == 1


def test_it_tells_expired_from_active(alice: Person) -> None:
    key, _ = alice.key(expires_at=timezone.now())
    assert alice.signed_in().get(f"{URL}/{key.id}").json()["status"] == "expired"


def test_it_leaves_a_line_for_everything_that_was_done(alice: Person) -> None:
    key_id = post(alice, {"name": "laptop"}).json()["id"]
    post(alice, {"grace_hours": 3}, f"{URL}/{key_id}/rotate")
    alice.signed_in().delete(f"{URL}/{key_id}")
    lines = AuditEntry.objects.order_by("id")
    assert [line.action for line in lines] == ["key.created", "key.rotated", "key.revoked"]
    assert {line.actor for line in lines} == {f"user:{alice.user.pk}"}
    assert {line.subject for line in lines} == {f"key:{key_id}"}
    assert {line.organization_id for line in lines} == {alice.organization.id}
    assert lines[0].details == {
        "name": "laptop",
        "scopes": [MESSAGES, CALLBACK],
        "is_service": False,
        "tags": [],
    }
    assert lines[1].details == {"name": "laptop", "grace_hours": 3}


def test_it_says_when_there_are_more_keys_than_it_lists(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "KEYS_LISTED", 2)
    client = alice.signed_in()
    made = [alice.key(made_at=DAY_ONE + timedelta(days=day))[0].id for day in range(2)]
    page = client.get(URL).json()
    assert (page["limit"], page["has_more"]) == (2, False)
    made.append(alice.key(made_at=DAY_ONE + timedelta(days=2))[0].id)
    page = client.get(URL).json()
    assert [key["id"] for key in page["results"]] == [made[2], made[1]]  # the newest first
    assert page["has_more"] is True


def test_it_wants_somebody_to_be_signed_in(db: None) -> None:
    answer = APIClient().get(URL)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_it_wants_a_csrf_token_from_a_browser(alice: Person) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(alice.user)
    assert client.post(URL, {"name": "x"}, format="json").status_code == 403
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("path", ["/nope!", "/" + "a" * 17, "/%00", "/%C3%A9"])
def test_it_finds_nothing_under_what_is_no_id(alice: Person, path: str) -> None:
    assert alice.signed_in().get(URL + path).status_code == 404


def test_it_asks_the_database_this_often(
    alice: Person, bob: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for person in (alice, bob):
        for _ in range(5):
            key, _ = person.key()
    client = alice.signed_in()
    # Two of each are the session and its user.
    with django_assert_num_queries(3):
        client.get(URL)
    with django_assert_num_queries(3):
        client.get(f"{URL}/{key.id}")
    with django_assert_num_queries(7):  # savepoint, membership, key, audit, release
        client.post(URL, {"name": "x"}, format="json")
    with django_assert_num_queries(7):  # key, savepoint, update, audit, release
        client.post(f"{URL}/{key.id}/rotate")
    with django_assert_num_queries(7):
        client.delete(f"{URL}/{key.id}")
