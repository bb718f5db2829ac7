"""Organizations' own credentials over REST: kept, tested, and seen by nobody else."""

from typing import Any

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import rates, sealed
from accounts.models import AuditEntry, Membership
from accounts.principal import KEYS_WRITE, MESSAGES
from accounts.rates import Rate
from accounts.tests.people import Person, Role, alice, bob, charlie, join, uses_written
from proxy.models import OwnCredential, Route, Upstream
from proxy.tests.listing import Listing, listing

__all__ = ["alice", "bob", "charlie", "listing", "uses_written"]

URL = "/api/v1/byok/keys"
SECRET = "sk-ant-own-secret"


@pytest.fixture
def hub(db: None) -> Upstream:
    """An upstream that is open to all."""
    row = Upstream.objects.create(name="hub", kind="anthropic", base_url="http://127.0.0.1:9")
    Route.objects.create(pattern="*", upstream=row)
    return row


def put(client: APIClient, name: str = "hub", **body: Any) -> Any:
    return client.put(f"{URL}/{name}", {"credential": SECRET, **body}, format="json")


def holding(plaintext: str) -> APIClient:
    return APIClient(headers={"Authorization": f"Bearer {plaintext}"})


def test_it_stores_a_credential_and_gives_none_back(alice: Person, hub: Upstream) -> None:
    client = alice.signed_in()
    answer = put(client)
    own = OwnCredential.objects.get()
    assert answer.status_code == 200
    assert sealed.opened(own.credential_sealed) == SECRET
    assert answer.json() == {
        "upstream": "hub",
        "kind": "anthropic",
        "organization": str(alice.organization.pk),
        "fingerprint": sealed.fingerprint(SECRET),
        "updated_at": answer.json()["updated_at"],
    }
    listed = client.get(URL).json()
    assert listed["results"] == [answer.json()]
    assert listed["upstreams"] == [{"upstream": "hub", "kind": "anthropic"}]
    line = AuditEntry.objects.get()
    assert (line.action, line.organization) == ("credential.stored", alice.organization)
    assert line.actor == f"user:{alice.user.pk}"
    for told in (answer.content, client.get(URL).content, str(line.details).encode()):
        assert SECRET.encode() not in told


def test_it_replaces_and_removes_it(alice: Person, hub: Upstream) -> None:
    client = alice.signed_in()
    put(client)
    assert put(client, credential="other").json()["fingerprint"] == sealed.fingerprint("other")
    assert OwnCredential.objects.count() == 1
    assert client.delete(f"{URL}/hub").status_code == 204
    assert not OwnCredential.objects.exists()
    assert client.delete(f"{URL}/hub").status_code == 404
    assert AuditEntry.objects.latest("id").action == "credential.forgotten"


def test_it_lets_only_owners_and_admins_write(alice: Person, bob: Person, hub: Upstream) -> None:
    put(alice.signed_in())
    client = bob.signed_in()
    assert len(client.get(URL).json()["results"]) == 1
    assert put(client).status_code == 403
    assert client.delete(f"{URL}/hub").status_code == 403
    assert client.post(f"{URL}/hub/test").status_code == 403
    Membership.objects.filter(user=bob.user).update(role=Role.ADMIN)
    assert put(client).status_code == 200


def test_it_keeps_tenants_apart(alice: Person, charlie: Person, hub: Upstream) -> None:
    put(alice.signed_in())
    client = charlie.signed_in()
    assert client.get(URL).json()["results"] == []
    assert client.delete(f"{URL}/hub").status_code == 404
    assert client.post(f"{URL}/hub/test").status_code == 404
    theirs = str(alice.organization.pk)
    for answer in (
        put(client, organization=theirs),
        client.delete(f"{URL}/hub?organization={theirs}"),
        client.post(f"{URL}/hub/test?organization={theirs}"),
    ):
        assert (answer.status_code, list(answer.json())) == (400, ["organization"])
    put(client, credential="charlies")
    mine = OwnCredential.objects.get(organization=alice.organization)
    assert sealed.opened(mine.credential_sealed) == SECRET
    assert OwnCredential.objects.count() == 2


def test_it_hides_upstreams_of_other_organizations(
    alice: Person, charlie: Person, hub: Upstream
) -> None:
    Route.objects.update(organization=alice.organization)
    Upstream.objects.create(name="unrouted", kind="openai", base_url="http://x")
    demo = Upstream.objects.create(name="demo", kind="demo")
    Route.objects.create(pattern="demo", upstream=demo)
    assert [row["upstream"] for row in alice.signed_in().get(URL).json()["upstreams"]] == ["hub"]
    assert charlie.signed_in().get(URL).json()["upstreams"] == []
    for name in ("hub", "unrouted", "demo", "no-such"):
        assert put(charlie.signed_in(), name).status_code == 404
    hub.enabled = False
    hub.save()
    assert put(alice.signed_in()).status_code == 404


def test_it_lets_a_person_choose_among_their_organizations(
    alice: Person, charlie: Person, hub: Upstream
) -> None:
    Membership.objects.create(user=alice.user, organization=charlie.organization, role=Role.ADMIN)
    there = str(charlie.organization.pk)
    client = alice.signed_in()
    assert put(client, organization=there).json()["organization"] == there
    assert client.delete(f"{URL}/hub").status_code == 404  # her own has none
    assert client.delete(f"{URL}/hub?organization={there}").status_code == 204


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("credential", {"credential": ""}),
        ("credential", {"credential": None}),
        ("credential", {"credential": 7}),
        ("credential", {"credential": "two words"}),
        ("credential", {"credential": "line\n"}),
        ("credential", {"credential": "schlüssel"}),
        ("credential", {"credential": "k" * 4097}),
        ("organization", {"organization": "mine"}),
        ("credentials", {"credentials": "x"}),
    ],
)
def test_it_names_the_field_that_is_wrong(
    alice: Person, hub: Upstream, field: str, body: dict[str, Any]
) -> None:
    answer = put(alice.signed_in(), **body)
    assert answer.status_code == 400
    assert list(answer.json()) == [field]
    assert not OwnCredential.objects.exists()


def test_it_says_that_the_operator_has_set_no_key(
    alice: Person, hub: Upstream, settings: Settings
) -> None:
    put(alice.signed_in())
    settings.ENCRYPTION_KEYS = []
    for answer in (put(alice.signed_in()), alice.signed_in().post(f"{URL}/hub/test")):
        assert answer.status_code == 503
        assert "Ask its operator" in answer.json()["detail"]


@pytest.mark.django_db(transaction=True)
def test_it_tests_the_stored_credential(alice: Person, hub: Upstream, listing: Listing) -> None:
    hub.base_url, hub.credential_variable = listing.url, "OPERATORS_KEY"
    hub.save()
    listing.lists("claude-a")
    client = alice.signed_in()
    assert client.post(f"{URL}/hub/test").status_code == 404
    put(client)
    found = client.post(f"{URL}/hub/test").json()
    assert (found["ok"], found["credential"], found["models"]) == (True, "accepted", ["claude-a"])
    assert listing.heard[0]["x-api-key"] == SECRET
    listing.status, listing.headers = 302, {"location": "http://10.0.0.1/internal"}
    answer = client.post(f"{URL}/hub/test")
    assert answer.json()["ok"] is False
    assert b"10.0.0.1" not in answer.content  # an operator's network is none of a tenant's business
    Route.objects.all().delete()
    assert client.post(f"{URL}/hub/test").status_code == 400


@pytest.mark.django_db(transaction=True)
def test_it_takes_a_key_with_the_scope_for_its_own_organization(
    alice: Person, charlie: Person, hub: Upstream
) -> None:
    Membership.objects.create(user=alice.user, organization=charlie.organization, role=Role.OWNER)
    key, plaintext = alice.key(scopes=[KEYS_WRITE])
    assert put(holding(plaintext)).status_code == 200
    assert AuditEntry.objects.get().actor == f"key:{key.id}"
    elsewhere = put(holding(plaintext), organization=str(charlie.organization.pk))
    assert elsewhere.status_code == 400
    _, weaker = alice.key(scopes=[MESSAGES])
    assert holding(weaker).get(URL).status_code == 403


@pytest.mark.django_db
def test_it_asks_strangers_who_they_are(hub: Upstream) -> None:
    client = APIClient()
    assert [client.get(URL).status_code, put(client).status_code] == [401, 401]


def test_it_tests_so_often_for_all_of_an_organization(
    alice: Person,
    charlie: Person,
    hub: Upstream,
    listing: Listing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(rates.RATES, rates.OWN_CREDENTIAL_TESTS, Rate(limit=2, period_s=60))
    Upstream.objects.filter(pk=hub.pk).update(base_url=listing.url)
    dana = join("dana", alice.organization, Role.ADMIN)
    assert alice.signed_in().post(f"{URL}/hub/test").status_code == 404  # counts for nothing
    for person in (alice, charlie):
        put(person.signed_in())
    statuses = [who.signed_in().post(f"{URL}/hub/test").status_code for who in (alice, dana)]
    assert statuses == [200, 200]
    heard = len(listing.heard)
    refused = dana.signed_in().post(f"{URL}/hub/test")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert "only 2 times in 1 minute." in refused.json()["detail"]
    assert len(listing.heard) == heard
    assert charlie.signed_in().post(f"{URL}/hub/test").status_code == 200
