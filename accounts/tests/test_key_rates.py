"""How many keys somebody may make and rotate over REST in an hour."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from accounts import rates
from accounts.models import ApiKey
from accounts.rates import Rate
from accounts.tests.people import Person

# Keys are read on threads of their own, which see only what is stored.
pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/api-keys"
LIMIT = 3


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rates.RATES, rates.KEY_SECRETS, Rate(limit=LIMIT, period_s=3600))


def make(client: APIClient, **body: Any) -> Any:
    return client.post(URL, {"name": "x", **body}, format="json")


def test_it_makes_so_many_and_no_more(alice: Person, bob: Person) -> None:
    client = alice.signed_in()
    assert [make(client).status_code for _ in range(LIMIT + 1)] == [201] * LIMIT + [429]
    refused = make(client)
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert refused.json()["detail"].startswith(
        f"A user can make and rotate keys only {LIMIT} times in 60 minutes. Try again in "
    )
    assert ApiKey.objects.count() == LIMIT
    assert make(bob.signed_in()).status_code == 201
    assert client.get(URL).status_code == 200


def test_it_counts_rotations_too_and_all_keys_of_a_user_together(alice: Person) -> None:
    key, plaintext = alice.key()
    rotated = f"{URL}/{key.id}/rotate"
    by_key = APIClient(headers={"Authorization": f"Bearer {plaintext}"})
    client = alice.signed_in()
    assert client.post(rotated).status_code == 200
    assert make(by_key).status_code == 201
    assert make(client).status_code == 201
    digest = ApiKey.objects.get(id=key.id).digest
    assert client.post(rotated, {"grace_hours": 0}, format="json").status_code == 429
    assert make(by_key).status_code == 429
    assert ApiKey.objects.get(id=key.id).digest == digest
    assert client.delete(f"{URL}/{key.id}").status_code == 204  # revoking is never too much


def test_it_does_not_count_what_was_wrong(alice: Person, charlie: Person) -> None:
    client = alice.signed_in()
    key, _ = alice.key()
    other = str(charlie.organization.id)
    for _ in range(LIMIT + 1):
        assert make(client, name="").status_code == 400
        assert make(client, organization=other).status_code == 400
        wrong = client.post(f"{URL}/{key.id}/rotate", {"grace_hours": -1}, format="json")
        assert wrong.status_code == 400
        assert client.post(f"{URL}/nosuchkey/rotate").status_code == 404
    assert make(client).status_code == 201


def test_it_shipped_with_thirty_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert rates.RATES[rates.KEY_SECRETS] == Rate(limit=30, period_s=3600)
