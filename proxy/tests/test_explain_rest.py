"""`GET /api/v1/routes/explain`: why a model goes where it goes, for those it concerns."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from rest_framework.test import APIClient

from accounts.models import Membership
from accounts.principal import KEYS_WRITE, MESSAGES
from accounts.tests.people import Person, Role, alice, charlie, uses_written
from proxy import table
from proxy.models import Route, Upstream

__all__ = ["alice", "charlie", "uses_written"]

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/routes/explain"


@pytest.fixture(autouse=True)
def routes(alice: Person, charlie: Person) -> None:
    """One for all, and one that is Acme's alone. No test sees those of another."""
    row = Upstream.objects.create(name="hub", kind="openai", base_url="http://hub")
    Route.objects.create(pattern="m", upstream=row, target_model="for-all")
    Route.objects.create(
        pattern="m", upstream=row, target_model="acmes", organization=alice.organization, position=1
    )
    table._memory.forget(None)


def target(client: APIClient, **query: Any) -> str:
    answer = client.get(URL, {"model": "m", **query})
    assert answer.status_code == 200, answer.json()
    return str(answer.json()["chosen"]["target_model"])


def test_it_answers_each_for_their_own_organization(alice: Person, charlie: Person) -> None:
    assert target(alice.signed_in()) == "acmes"
    answer = charlie.signed_in().get(URL, {"model": "m", "session": "s"})
    assert answer.json()["chosen"]["target_model"] == "for-all"
    assert "acmes" not in answer.content.decode()
    assert answer.json()["reason"]


def test_it_says_that_nothing_answers(alice: Person) -> None:
    told = alice.signed_in().get(URL, {"model": "unknown"}).json()
    assert told["chosen"] is None
    assert "unknown is not served here" in told["reason"]


def test_it_lets_staff_alone_choose_any_organization(alice: Person, charlie: Person) -> None:
    theirs = str(alice.organization.pk)
    refused = charlie.signed_in().get(URL, {"model": "m", "organization": theirs})
    assert (refused.status_code, list(refused.json())) == (400, ["organization"])
    charlie.user.is_staff = True
    charlie.user.save()
    refused = charlie.signed_in().get(URL, {"model": "m", "organization": theirs})
    assert (refused.status_code, list(refused.json())) == (400, ["organization"])
    charlie.user.user_permissions.add(Permission.objects.get(codename="view_route"))
    staff = charlie.signed_in()
    assert target(staff, organization=theirs) == "acmes"
    assert target(staff) == "for-all"
    nobody = {"model": "m", "organization": "00000000-0000-0000-0000-000000000001"}
    assert list(staff.get(URL, nobody).json()) == ["organization"]


def test_it_lets_a_person_choose_among_their_own(alice: Person, charlie: Person) -> None:
    Membership.objects.create(user=charlie.user, organization=alice.organization, role=Role.MEMBER)
    assert target(charlie.signed_in()) == "for-all"
    assert target(charlie.signed_in(), organization=str(alice.organization.pk)) == "acmes"


def test_it_takes_a_key_that_may_send_messages(alice: Person, charlie: Person) -> None:
    alice.user.is_staff = True  # a key of staff is still one organization's
    alice.user.save()
    _, plaintext = alice.key(scopes=[MESSAGES])
    client = APIClient(headers={"x-api-key": plaintext})
    assert target(client) == "acmes"
    elsewhere = {"model": "m", "organization": str(charlie.organization.pk)}
    assert list(client.get(URL, elsewhere).json()) == ["organization"]
    _, other = alice.key(scopes=[KEYS_WRITE])
    assert APIClient(headers={"x-api-key": other}).get(URL, {"model": "m"}).status_code == 403
    assert APIClient().get(URL, {"model": "m"}).status_code == 401


@pytest.mark.parametrize(
    ("field", "query"),
    [
        ("model", {}),
        ("model", {"model": ""}),
        ("model", {"model": "m" * 257}),
        ("session", {"model": "m", "session": "s" * 257}),
        ("organization", {"model": "m", "organization": "mine"}),
        ("modell", {"model": "m", "modell": "m"}),
    ],
)
def test_it_names_the_field_that_is_wrong(alice: Person, field: str, query: dict[str, str]) -> None:
    answer = alice.signed_in().get(URL, query)
    assert (answer.status_code, list(answer.json())) == (400, [field])
