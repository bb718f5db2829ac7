"""The same pages, called by a program that holds an API key."""

from concurrent.futures import wait
from hashlib import sha256

import pytest
from rest_framework.test import APIClient

from accounts import auth
from accounts.models import ApiKey, AuditEntry, Membership
from accounts.principal import CALLBACK, KEYS_WRITE, MESSAGES, USAGE_READ
from accounts.tests.people import Person, Role

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/api-keys"


def holding(plaintext: str) -> APIClient:
    return APIClient(headers={"Authorization": f"Bearer {plaintext}"})


def test_it_acts_in_the_organization_and_for_the_user_of_the_key(
    alice: Person, charlie: Person
) -> None:
    Membership.objects.create(user=alice.user, organization=charlie.organization, role=Role.OWNER)
    mine, plaintext = alice.key(scopes=[KEYS_WRITE, MESSAGES])
    theirs, _ = charlie.key()
    client = holding(plaintext)
    answer = client.post(URL, {"name": "made", "scopes": [MESSAGES]}, format="json")
    made = answer.json()
    assert answer.status_code == 201
    assert (made["user"], made["organization"]) == ("alice", str(alice.organization.id))
    assert {key["id"] for key in client.get(URL).json()["results"]} == {mine.id, made["id"]}
    assert client.get(f"{URL}/{theirs.id}").status_code == 404  # the key is Acme's alone
    elsewhere = {"name": "x", "scopes": [MESSAGES], "organization": str(charlie.organization.id)}
    refused = client.post(URL, elsewhere, format="json")
    assert refused.status_code == 400
    assert list(refused.json()) == ["organization"]
    assert AuditEntry.objects.get().actor == f"key:{mine.id}"


@pytest.mark.parametrize("method", ["get", "post"])
def test_it_wants_the_scope_and_names_it(alice: Person, method: str) -> None:
    _, plaintext = alice.key(scopes=[MESSAGES])
    answer = getattr(holding(plaintext), method)(URL)
    assert answer.status_code == 403
    assert "lacks the scope keys:write" in answer.json()["detail"]


def test_it_passes_on_only_scopes_that_the_key_has(alice: Person) -> None:
    _, plaintext = alice.key(scopes=[KEYS_WRITE, MESSAGES])
    body = {"name": "x", "scopes": [MESSAGES, USAGE_READ]}
    answer = holding(plaintext).post(URL, body, format="json")
    assert answer.status_code == 403
    assert list(answer.json()) == ["scopes"]
    assert "usage:read" in answer.json()["scopes"][0]
    assert ApiKey.objects.count() == 1


def test_it_does_not_reach_a_higher_key_by_rotating_it(alice: Person, bob: Person) -> None:
    _, plaintext = alice.key(scopes=[KEYS_WRITE])
    higher, _ = alice.key(scopes=[KEYS_WRITE, CALLBACK])
    bobs, _ = bob.key(scopes=[KEYS_WRITE])
    client = holding(plaintext)
    for key in (higher, bobs):
        assert client.get(f"{URL}/{key.id}").status_code == 200  # an owner's key sees them
        assert client.post(f"{URL}/{key.id}/rotate").status_code == 403
        key.refresh_from_db()
        assert key.rotated_at is None
    assert client.delete(f"{URL}/{bobs.id}").status_code == 204  # and may close them


def test_it_sees_only_the_members_own_keys_with_a_members_key(alice: Person, bob: Person) -> None:
    alices, _ = alice.key()
    bobs, plaintext = bob.key()
    client = holding(plaintext)
    assert [key["id"] for key in client.get(URL).json()["results"]] == [bobs.id]
    assert client.get(f"{URL}/{alices.id}").status_code == 404


def test_it_can_rotate_and_revoke_itself(alice: Person) -> None:
    key, plaintext = alice.key()
    answer = holding(plaintext).post(f"{URL}/{key.id}/rotate", {"grace_hours": 0}, format="json")
    assert answer.status_code == 200
    assert holding(plaintext).get(URL).status_code == 401
    present = holding(answer.json()["key"])
    assert present.delete(f"{URL}/{key.id}").status_code == 204
    refused = present.get(URL)
    assert refused.status_code == 401
    assert "was revoked" in refused.json()["detail"]


def test_it_takes_the_odd_header_too(alice: Person) -> None:
    _, plaintext = alice.key()
    client = APIClient(headers={"x-api-key": f"Bearer {plaintext}"})
    assert client.get(URL).status_code == 200


def test_it_does_not_fall_back_to_the_session_when_a_key_is_wrong(alice: Person) -> None:
    client = alice.signed_in()
    answer = client.get(URL, headers={"x-api-key": "sk-uc-wrong"})
    assert answer.status_code == 401
    assert answer.json() == {"detail": auth.NOT_OURS}


def test_it_refuses_the_key_of_a_user_who_was_just_deleted(alice: Person) -> None:
    _, plaintext = alice.key()
    client = holding(plaintext)
    assert client.get(URL).status_code == 200
    wait(list(auth._under_way), timeout=30)
    alice.user.delete()  # the key is still in memory
    assert client.get(URL).status_code == 401


def test_it_needs_the_pepper_to_accept_a_key(alice: Person) -> None:
    key, plaintext = alice.key()
    # What somebody could write who reached the table but not the pepper.
    ApiKey.objects.filter(id=key.id).update(digest=sha256(plaintext.encode()).digest())
    assert holding(plaintext).get(URL).status_code == 401
