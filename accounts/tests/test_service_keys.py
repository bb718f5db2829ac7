"""Keys of programs, and the tags that keys bring along."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from rest_framework.test import APIClient

from accounts import audit, auth, keys
from accounts.models import ApiKey, AuditEntry, Membership, Organization
from accounts.principal import MESSAGES, Principal
from accounts.tests.people import Person, Role, join

# Keys are read on threads of their own, which see only what is stored.
pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/api-keys"
ADMIN = "/admin/accounts/apikey/"


def make(client: APIClient, **body: Any) -> Any:
    return client.post(URL, {"name": "ci", **body}, format="json")


def by_key(person: Person) -> APIClient:
    return APIClient(headers={"Authorization": f"Bearer {person.key()[1]}"})


def principal(plaintext: str) -> Principal:
    return async_to_sync(auth.identify)(plaintext, "")


def test_it_makes_one_with_tags(alice: Person) -> None:
    shown = make(alice.signed_in(), service=True, tags=["team-a", "project:x"]).json()
    assert (shown["is_service"], shown["tags"]) == (True, ["team-a", "project:x"])
    key = ApiKey.objects.get()
    assert (key.is_service, key.tags) == (True, ["team-a", "project:x"])
    details = AuditEntry.objects.get().details
    assert (details["is_service"], details["tags"]) == (True, ["team-a", "project:x"])
    caller = principal(shown["key"])
    assert (caller.subject, caller.tags) == (f"key:{key.id}", ("team-a", "project:x"))


def test_it_makes_a_persons_key_unless_it_is_asked(alice: Person) -> None:
    shown = make(alice.signed_in()).json()
    assert (shown["is_service"], shown["tags"]) == (False, [])
    caller = principal(shown["key"])
    assert (caller.subject, caller.tags) == (f"user:{alice.user.pk}", ())


def test_it_counts_two_keys_of_a_person_as_one_and_of_programs_as_two(alice: Person) -> None:
    client = alice.signed_in()
    persons = {principal(make(client).json()["key"]).subject for _ in range(2)}
    programs = {principal(make(client, service=True).json()["key"]).subject for _ in range(2)}
    assert (len(persons), len(programs)) == (1, 2)


@pytest.mark.parametrize(
    ("role", "status"), [(Role.OWNER, 201), (Role.ADMIN, 201), (Role.MEMBER, 403)]
)
def test_it_lets_only_owners_and_admins_make_them(alice: Person, role: Role, status: int) -> None:
    dana = join("dana", alice.organization, role)
    for client in (dana.signed_in(), by_key(dana)):
        before = ApiKey.objects.filter(is_service=True).count()
        answer = make(client, service=True, tags=["a"])
        assert answer.status_code == status
        assert ApiKey.objects.filter(is_service=True).count() - before == (status == 201)
        if status == 403:
            assert "Only an owner or an admin" in answer.json()["service"][0]
        assert make(client, tags=["a"]).status_code == 201


def test_it_asks_for_the_role_in_the_organization_of_the_key(alice: Person) -> None:
    other = Organization.objects.create(name="Other")
    Membership.objects.create(user=alice.user, organization=other, role=Role.MEMBER)
    client = alice.signed_in()
    assert make(client, service=True, organization=str(other.id)).status_code == 403
    assert make(client, service=True, organization=str(alice.organization.id)).status_code == 201


def test_it_stays_one_when_it_is_rotated(alice: Person) -> None:
    client = alice.signed_in()
    key_id = make(client, service=True, tags=["a"]).json()["id"]
    shown = client.post(f"{URL}/{key_id}/rotate").json()
    assert (shown["is_service"], shown["tags"]) == (True, ["a"])
    caller = principal(shown["key"])
    assert (caller.subject, caller.tags) == (f"key:{key_id}", ("a",))


def test_it_makes_one_on_the_command_line(bob: Person) -> None:
    wanted = ("--user", "bob", "--name", "ci", "--service", "--tag", "a", "--tag", " b ")
    call_command("createapikey", *wanted, "--tag", "a")
    key = ApiKey.objects.get()
    assert (key.is_service, key.tags) == (True, ["a", "b"])
    call_command("createapikey", "--user", "bob", "--name", "laptop")
    assert not ApiKey.objects.get(name="laptop").is_service


@pytest.mark.parametrize("tag", ["", "a,b", "a" * 51])
def test_it_names_a_wrong_tag_on_the_command_line(bob: Person, tag: str) -> None:
    with pytest.raises(CommandError, match="--tag: "):
        call_command("createapikey", "--user", "bob", "--name", "ci", "--tag", tag)
    assert not ApiKey.objects.exists()


@pytest.fixture
def operator(db: None) -> Client:
    """A superuser's browser."""
    client = Client()
    client.force_login(User.objects.create_superuser("operator", password="x"))
    return client


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


def test_it_makes_one_in_the_admin(operator: Client, alice: Person) -> None:
    form = form_for(alice, is_service="on", tags="team-a, project:x,")
    assert operator.post(f"{ADMIN}add/", form).status_code == 302
    key = ApiKey.objects.get()
    assert (key.is_service, key.tags) == (True, ["team-a", "project:x"])
    page = operator.get(f"{ADMIN}{key.id}/change/").content.decode()
    assert 'value="team-a, project:x"' in page


def test_it_names_wrong_tags_in_the_admin(operator: Client, alice: Person) -> None:
    answer = operator.post(f"{ADMIN}add/", form_for(alice, tags="<b>"))
    errors = answer.context["adminform"].form.errors
    assert list(errors) == ["tags"]
    assert "is no tag; write letters" in errors["tags"][0]
    assert not ApiKey.objects.exists()


def everything_but_its_use() -> dict[str, Any]:
    """The key's row. When it was last used is written by a thread, a moment later."""
    row = ApiKey.objects.values().get()
    return {name: value for name, value in row.items() if name != "last_used_at"}


def test_it_changes_tags_in_the_admin_and_nothing_else(operator: Client, alice: Person) -> None:
    key, plaintext = alice.key()
    assert principal(plaintext).tags == ()
    before = everything_but_its_use()
    change = f"{ADMIN}{key.id}/change/"
    form = {"name": "laptop", "tags": "b, a", "is_service": "on", "scopes": []}
    assert operator.post(change, form).status_code == 302
    assert everything_but_its_use() == before | {"tags": ["b", "a"]}
    line = AuditEntry.objects.get()
    assert (line.action, line.details) == (audit.KEY_TAGGED, {"tags": ["b", "a"]})
    assert operator.post(change, form).status_code == 302
    assert AuditEntry.objects.count() == 1  # a second time changed nothing
    assert operator.post(change, form | {"tags": ""}).status_code == 302
    assert ApiKey.objects.get().tags == []


def test_it_forgets_the_former_tags_at_once(alice: Person) -> None:
    key, plaintext = alice.key()
    assert principal(plaintext).tags == ()
    key.tags = ["a"]
    keys.describe(key)
    assert principal(plaintext).tags == ("a",)
