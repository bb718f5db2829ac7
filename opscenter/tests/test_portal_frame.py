"""What all pages of the portal share: who comes in, where they are, and what surrounds a page."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Organization
from accounts.principal import MESSAGES
from accounts.tests.people import Person, Role, alice, bob, charlie, uses_written
from mcp.models import Connector
from mcp.tests import machines
from opscenter.tests.portal_browser import HOSTILE, PAGES, browser, text

__all__ = ["alice", "bob", "charlie", "uses_written"]

# The page of Claude Code reads the routes on a thread of its own, which sees what is stored.
pytestmark = pytest.mark.django_db(transaction=True)

ASKS_ELSEWHERE = re.compile(r'(?:src|href|action)="(?:https?:)?//|@import|url\(')


@pytest.fixture
def both(alice: Person, charlie: Person) -> Person:
    """Alice, who is a member of Charlie's organization too."""
    Membership.objects.create(organization=charlie.organization, user=alice.user, role=Role.MEMBER)
    return alice


@pytest.mark.parametrize("path", PAGES)
def test_it_asks_whoever_is_not_signed_in_to_sign_in(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer["Location"]) == (302, f"/sign-in/?next={path}")


@pytest.mark.parametrize("path", PAGES)
def test_it_asks_no_other_host_and_keeps_nothing(alice: Person, path: str) -> None:
    answer = browser(alice).get(path)
    assert answer.status_code == 200
    assert answer["Content-Security-Policy"].startswith("default-src 'none'")
    assert "no-store" in answer["Cache-Control"]
    assert not ASKS_ELSEWHERE.search(text(answer))
    assert not re.search(r"<script(?! src=\"/static/)", text(answer))


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("method", ["put", "delete"])
def test_it_takes_nothing_else(alice: Person, path: str, method: str) -> None:
    assert getattr(browser(alice), method)(path).status_code in {403, 405}


def test_it_is_where_people_land_who_sign_in(alice: Person) -> None:
    alice.user.set_password("the right one")
    alice.user.save()
    form = {"username": "alice", "password": "the right one"}
    assert Client().post("/sign-in/", form)["Location"] == "/portal/"


def test_it_names_the_page_that_somebody_is_on(alice: Person) -> None:
    for path, name in (("/portal/keys/new/", "Keys"), ("/approvals/", "Approvals")):
        current = re.findall(
            r'aria-current="page">.*?</svg>([^<]+)<', text(browser(alice).get(path))
        )
        assert set(current) == {name}


def test_it_leads_staff_to_the_admin_and_nobody_else(alice: Person) -> None:
    assert 'href="/admin/"' not in text(browser(alice).get("/portal/"))
    User.objects.filter(pk=alice.user.pk).update(is_staff=True)
    assert 'href="/admin/"' in text(browser(alice).get("/portal/"))


def test_it_tells_somebody_without_an_organization_what_to_do(alice: Person) -> None:
    Membership.objects.all().delete()
    for path in (*PAGES, "/approvals/"):
        answer = browser(alice).get(path)
        assert answer.status_code == 200
        assert "do not belong to an organization" in text(answer) or path == "/approvals/"


def test_it_remembers_the_organization_that_was_chosen(both: Person, charlie: Person) -> None:
    client = browser(both)
    assert "Your own, in Acme." in text(client.get("/portal/usage/"))
    chosen = {"organization": str(charlie.organization.pk), "next": "/portal/usage/"}
    answer = client.post("/portal/organization/", _token(client) | chosen)
    assert (answer.status_code, answer["Location"]) == (302, "/portal/usage/")
    assert "Your own, in Other." in text(client.get("/portal/usage/"))


@pytest.mark.parametrize("wanted", ["", "no id", "a" * 10_000, None])
def test_it_chooses_no_organization_of_others(alice: Person, charlie: Person, wanted: Any) -> None:
    wanted = str(charlie.organization.pk) if wanted is None else wanted
    client = browser(alice)
    client.get("/portal/keys/new/")
    sent = {"organization": wanted, "next": "/portal/"}
    answer = client.post("/portal/organization/", _token(client) | sent, follow=True)
    assert "You are not a member of that organization." in text(answer)
    assert "Other" not in text(answer)


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "javascript:x", ""])
def test_it_leads_nobody_elsewhere(both: Person, charlie: Person, wanted: str) -> None:
    client = browser(both)
    chosen = {"organization": str(charlie.organization.pk), "next": wanted}
    answer = client.post("/portal/organization/", _token(client) | chosen)
    assert answer["Location"] == "/portal/"


def test_it_forgets_a_choice_that_is_no_longer_theirs(both: Person, charlie: Person) -> None:
    client = browser(both)
    chosen = {"organization": str(charlie.organization.pk), "next": "/portal/"}
    client.post("/portal/organization/", _token(client) | chosen)
    Membership.objects.filter(organization=charlie.organization, user=both.user).delete()
    assert "Your own, in Acme." in text(client.get("/portal/usage/"))


@pytest.mark.parametrize("path", ["/portal/keys/new/", "/portal/claude-code/", "/portal/machine/"])
def test_it_takes_no_form_from_another_page(alice: Person, path: str) -> None:
    client = browser(alice)
    client.get(path)
    assert client.post(path, {"name": "x"}).status_code == 403


def test_it_shows_every_name_inert(both: Person, charlie: Person) -> None:
    Organization.objects.update(name=HOSTILE)
    User.objects.filter(pk=both.user.pk).update(username=HOSTILE, first_name=HOSTILE[:20])
    both.key(name=HOSTILE)
    machine = machines.machine(both, HOSTILE, platform=HOSTILE, agent=HOSTILE)
    machines.server(machine, HOSTILE, HOSTILE, error=HOSTILE)
    client = browser(both)
    for path in (*PAGES, "/approvals/", "/portal/usage/?whose=all&by=user"):
        shown = text(client.get(path))
        assert "<script>alert" not in shown
        assert "\u202e" not in shown, path


# A session, its user, their memberships; and what the page itself is about.
@pytest.mark.parametrize(
    ("path", "queries"),
    [
        ("/portal/", 9),
        ("/portal/keys/", 4),
        ("/portal/keys/new/", 3),
        ("/portal/claude-code/", 4),
        ("/portal/claude-code/seen/?key=abcdef123456", 4),
        ("/portal/machine/", 6),
        ("/portal/machine/there/", 6),
        ("/portal/usage/", 5),
        ("/portal/usage/?whose=all&by=user", 5),
        ("/portal/limits/", 8),
        ("/approvals/", 6),
    ],
)
def test_it_asks_the_database_this_often_however_much_there_is(
    alice: Person, bob: Person, path: str, queries: int, django_assert_num_queries: Any
) -> None:
    for person in (alice, bob):
        for number in range(3):
            person.key(f"key {number}")
            machines.server(machines.machine(person, f"m{number}"), "files", "read", "write")
    client = browser(alice)
    client.get(path)
    with django_assert_num_queries(queries):
        assert client.get(path).status_code == 200


def _token(client: Client) -> dict[str, str]:
    shown = text(client.get("/portal/keys/new/"))
    found = re.search(r'csrfmiddlewaretoken" value="(\w+)"', shown)
    assert found is not None
    return {"csrfmiddlewaretoken": found[1]}


def test_a_machine_that_is_offline_is_not_connected(alice: Person) -> None:
    alice.key("one", [MESSAGES])
    laptop = machines.machine(alice, "laptop")
    there = {"closed_at": None, "last_seen_at": timezone.now(), "kind": Connector.Kind.TUNNEL}
    Connector.objects.filter(pk=laptop.pk).update(**there)
    assert "is offline" not in text(browser(alice).get("/portal/"))
    gone = {"closed_at": timezone.now(), "last_seen_at": timezone.now() - timedelta(hours=3)}
    Connector.objects.filter(pk=laptop.pk).update(**gone)
    page = text(browser(alice).get("/portal/"))
    assert "laptop is offline, last seen 3\xa0hours ago" in page


@pytest.mark.parametrize(("path", "status"), [("/nowhere/", 404), ("/admin/live/", 403)])
def test_a_page_that_is_not_there_leads_back(alice: Person, path: str, status: int) -> None:
    alice.user.is_staff = True
    alice.user.save()
    answer = browser(alice).get(path)
    assert answer.status_code == status
    assert 'href="/"' in text(answer)
