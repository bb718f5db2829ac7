"""Who sees which keys: nobody anything of another organization."""

from typing import Any

import pytest

from accounts.models import Membership
from accounts.tests.people import Person, Role, join

URL = "/api/v1/api-keys"


def make(person: Person, **more: str) -> Any:
    return person.signed_in().post(URL, {"name": "x", **more}, format="json")


def test_it_shows_a_member_their_own_keys_and_an_owner_all(
    alice: Person, bob: Person, charlie: Person
) -> None:
    made = [person.key(name)[0].id for person, name in ((alice, "a"), (bob, "b"), (charlie, "c"))]

    def listed(person: Person) -> set[str]:
        return {key["id"] for key in person.signed_in().get(URL).json()["results"]}

    assert listed(alice) == {made[0], made[1]}
    assert listed(bob) == {made[1]}
    assert listed(charlie) == {made[2]}


@pytest.mark.parametrize("action", ["show", "rotate", "revoke"])
def test_it_hides_the_keys_of_others(
    alice: Person, bob: Person, charlie: Person, action: str
) -> None:
    key, _ = alice.key()

    def status(person: Person) -> int:
        client, url = person.signed_in(), f"{URL}/{key.id}"
        answers = {
            "show": lambda: client.get(url),
            "rotate": lambda: client.post(f"{url}/rotate"),
            "revoke": lambda: client.delete(url),
        }
        return int(answers[action]().status_code)

    assert [status(charlie), status(bob)] == [404, 404]
    key.refresh_from_db()
    assert (key.revoked_at, key.rotated_at) == (None, None)
    dora = join("dora", alice.organization, Role.ADMIN)
    assert status(dora) in {200, 204}


def test_it_lets_a_person_choose_among_their_own_organizations(
    alice: Person, charlie: Person
) -> None:
    theirs = str(charlie.organization.id)
    refused = make(alice, organization=theirs)
    assert refused.status_code == 400
    assert list(refused.json()) == ["organization"]
    Membership.objects.create(user=alice.user, organization=charlie.organization, role=Role.MEMBER)
    assert make(alice, organization=theirs).json()["organization"] == theirs
    oldest = make(alice).json()["organization"]
    assert oldest == str(alice.organization.id)
    elsewhere, _ = charlie.key()  # being owner in one makes nobody owner in the other
    assert alice.signed_in().get(f"{URL}/{elsewhere.id}").status_code == 404


def test_it_has_no_key_for_a_person_without_organization(alice: Person) -> None:
    alice.key()
    Membership.objects.all().delete()
    assert list(make(alice).json()) == ["organization"]
    assert alice.signed_in().get(URL).json()["results"] == []
