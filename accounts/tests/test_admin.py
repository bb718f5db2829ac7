"""The admin pages about accounts."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts import audit, keys
from accounts.models import ApiKey, AuditEntry, Organization
from accounts.principal import APPROVE, MESSAGES
from accounts.tests.people import Person

KEYS = "/admin/accounts/apikey/"
TRAIL = "/admin/accounts/auditentry/"
KEY = r"sk-uc-[0-9a-z]{12}-[0-9A-Za-z]{43}"


@pytest.fixture
def operator(db: None) -> Client:
    """A superuser's browser."""
    client = Client()
    client.force_login(User.objects.create_superuser("operator", password="x"))
    return client


def choose(client: Client, action: str, *chosen: ApiKey, confirmed: bool = False) -> Any:
    form: dict[str, Any] = {"action": action, "_selected_action": [key.id for key in chosen]}
    return client.post(KEYS, form | ({"confirmed": "yes"} if confirmed else {}), follow=True)


def form_for(person: Person, **more: Any) -> dict[str, Any]:
    return {
        "organization": str(person.organization.id),
        "user": person.user.pk,
        "name": "laptop",
        "scopes": [MESSAGES],
        "expires_at_0": "",
        "expires_at_1": "",
        **more,
    }


@pytest.mark.parametrize(
    "page", ["user", "group", "organization", "membership", "apikey", "auditentry"]
)
def test_it_opens_every_page(operator: Client, alice: Person, page: str) -> None:
    alice.key()
    app = "auth" if page in {"user", "group"} else "accounts"
    if page == "membership":  # it lives inside its organization
        url = reverse("admin:accounts_organization_change", args=[alice.organization.id])
    else:
        url = reverse(f"admin:{app}_{page}_changelist")
    assert operator.get(url).status_code == 200
    if page not in {"membership", "auditentry"}:
        assert operator.get(reverse(f"admin:{app}_{page}_add")).status_code == 200


def test_it_makes_a_key_and_shows_it_once(operator: Client, alice: Person) -> None:
    answer = operator.post(KEYS + "add/", form_for(alice), follow=True)
    key = ApiKey.objects.get()
    (plaintext,) = set(re.findall(KEY, answer.content.decode()))
    assert bytes(key.digest) == keys.digest(plaintext)
    assert (key.name, key.scopes) == ("laptop", [MESSAGES])
    for url in (KEYS, f"{KEYS}{key.id}/change/", f"{KEYS}{key.id}/history/"):
        page = operator.get(url).content.decode()
        assert key.name in page
        assert not re.search(KEY, page)
        assert "digest" not in page
    line = AuditEntry.objects.get()
    operator_id = User.objects.get(username="operator").pk
    assert (line.action, line.actor) == (audit.KEY_CREATED, f"user:{operator_id}")


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("user", {"user": "charlie"}),
        ("scopes", {"scopes": ["admin"]}),
        ("scopes", {"scopes": []}),
        ("name", {"name": ""}),
        ("name", {"name": "a" * 101}),
        ("expires_at", {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}),
    ],
)
def test_it_names_what_is_wrong_with_a_new_key(
    operator: Client, alice: Person, charlie: Person, field: str, more: dict[str, Any]
) -> None:
    if more.get("user") == "charlie":
        more = {"user": charlie.user.pk}
    answer = operator.post(KEYS + "add/", form_for(alice, **more))
    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == [field]
    assert not ApiKey.objects.exists()


def test_nobody_gives_themselves_the_word_of_another(alice: Person, bob: Person) -> None:
    bob.user.is_staff = True
    bob.user.save()
    rights = Permission.objects.filter(codename__in=["add_apikey", "view_apikey"])
    bob.user.user_permissions.set(rights)
    client = Client()
    client.force_login(bob.user)

    def made(person: Person) -> int:
        client.post(KEYS + "add/", form_for(person, scopes=[MESSAGES, APPROVE]))
        return ApiKey.objects.filter(user=person.user).count()

    assert made(alice) == 0
    assert made(bob) == 1
    bob.user.user_permissions.add(Permission.objects.get(codename="change_user"))
    assert made(alice) == 1


def test_it_changes_the_name_of_a_key_and_nothing_else(operator: Client, alice: Person) -> None:
    key, _ = alice.key()
    before = ApiKey.objects.values().get()
    form = form_for(alice, name="desk", scopes=[], digest="x", revoked_at="2020-01-01")
    assert operator.post(f"{KEYS}{key.id}/change/", form).status_code == 302
    assert ApiKey.objects.values().get() == before | {"name": "desk"}
    assert AuditEntry.objects.get().action == audit.KEY_RENAMED


@pytest.mark.parametrize("action", ["revoke_selected", "rotate_selected"])
def test_it_asks_before_it_acts(operator: Client, alice: Person, action: str) -> None:
    key, _ = alice.key()
    answer = choose(operator, action, key)
    assert "Yes, I am sure" in answer.content.decode()
    assert key.prefix in answer.content.decode()
    key.refresh_from_db()
    assert (key.revoked_at, key.rotated_at) == (None, None)


def test_it_revokes_what_was_chosen(operator: Client, alice: Person, bob: Person) -> None:
    chosen, _ = alice.key()
    other, _ = bob.key()
    closed, _ = bob.key()
    keys.revoke(closed)
    answer = choose(operator, "revoke_selected", chosen, closed, confirmed=True)
    page = answer.content.decode()
    assert "1 revoked." in page
    assert "1 left alone" in page
    chosen.refresh_from_db()
    other.refresh_from_db()
    assert chosen.revoked_at is not None
    assert other.revoked_at is None
    assert AuditEntry.objects.get().subject == f"key:{chosen.id}"


def test_it_rotates_and_shows_each_new_key_once(operator: Client, alice: Person) -> None:
    key, former = alice.key()
    expired, _ = alice.key(expires_at=timezone.now())
    page = choose(operator, "rotate_selected", key, expired, confirmed=True).content.decode()
    (plaintext,) = set(re.findall(KEY, page))
    key.refresh_from_db()
    assert plaintext != former
    assert bytes(key.digest) == keys.digest(plaintext)
    assert "1 left alone" in page
    assert not re.search(KEY, operator.get(KEYS).content.decode())


def test_it_rotates_only_as_many_as_somebody_can_copy(
    operator: Client, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accounts.admin.keys.ROTATED_AT_ONCE", 1)  # two keys are too many
    chosen = [alice.key()[0] for _ in range(2)]
    answer = choose(operator, "rotate_selected", *chosen, confirmed=True)
    assert "Choose at most 1 keys" in answer.content.decode()
    assert not ApiKey.objects.filter(rotated_at__isnull=False).exists()


def test_it_never_deletes_a_key(operator: Client, alice: Person) -> None:
    key, _ = alice.key()
    assert operator.post(f"{KEYS}{key.id}/delete/", {"post": "yes"}).status_code == 403
    choose(operator, "delete_selected", key)
    # Nor by way of what the key hangs on.
    for url in (
        reverse("admin:auth_user_delete", args=[alice.user.pk]),
        reverse("admin:accounts_organization_delete", args=[alice.organization.id]),
    ):
        assert operator.post(url, {"post": "yes"}).status_code == 403
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("status", ["active", "expired", "revoked"])
def test_it_filters_by_status(operator: Client, alice: Person, status: str) -> None:
    alice.key("an active one")
    alice.key("an expired one", expires_at=timezone.now())
    keys.revoke(alice.key("a revoked one")[0])
    listed = operator.get(KEYS, {"status": status}).context["cl"].result_list
    assert [key.status(now=timezone.now()) for key in listed] == [status]


def test_it_searches_keys(operator: Client, alice: Person, charlie: Person) -> None:
    key, _ = alice.key()
    charlie.key("other")
    for word in (key.id, "laptop", "Acme", "alice"):
        listed = operator.get(KEYS, {"q": word}).context["cl"].result_list
        assert [found.id for found in listed] == [key.id], word


def test_it_only_shows_the_trail(operator: Client, alice: Person) -> None:
    audit.record("key.created", "key:x", audit.SYSTEM, alice.organization, {"name": "x"})
    line = AuditEntry.objects.get()
    change = f"{TRAIL}{line.pk}/change/"
    assert operator.get(TRAIL).status_code == 200
    assert operator.get(change).status_code == 200
    assert operator.get(f"{TRAIL}add/").status_code == 403
    assert operator.post(change, {"actor": "nobody"}).status_code == 403
    assert operator.post(f"{TRAIL}{line.pk}/delete/", {"post": "yes"}).status_code == 403
    operator.post(TRAIL, {"action": "delete_selected", "_selected_action": [line.pk], "post": "y"})
    assert AuditEntry.objects.get().actor == audit.SYSTEM


def test_it_asks_the_database_as_often_for_many_rows_as_for_one(
    operator: Client, alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    def add(number: int) -> None:
        organization = Organization.objects.create(name=f"O{number}")
        user = User.objects.create(username=f"u{number}")
        keys.issue(organization, user, "x", [MESSAGES], None)
        audit.record("key.created", "key:x", audit.SYSTEM, organization, {})

    add(0)
    for rows in (1, 20):
        if rows > 1:
            for number in range(1, rows):
                add(number)
        with django_assert_num_queries(5):  # session, user, a count, rows, alarms
            operator.get(KEYS)
        with django_assert_num_queries(5):  # no count, but the actions of the filter
            operator.get(TRAIL)
