"""Keys in the portal: made and rotated once each, shown once, and only one's own."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core import signing
from django.test import Client
from django.utils import timezone

from accounts import keys, rates
from accounts.models import ApiKey, AuditEntry, Membership
from accounts.principal import APPROVE, MESSAGES
from accounts.rates import Rate
from accounts.tests.people import Person, Role, alice, bob, charlie, uses_written
from opscenter.portal import making
from opscenter.tests.portal_browser import (
    HOSTILE,
    browser,
    form_of,
    said,
    secrets_in,
    send,
    text,
)

__all__ = ["alice", "bob", "charlie", "uses_written"]

pytestmark = pytest.mark.django_db

LIST, NEW = "/portal/keys/", "/portal/keys/new/"
GOOD: dict[str, Any] = {"name": "laptop", "scopes": [MESSAGES], "days": "90"}


def listed(client: Client) -> set[str]:
    return {key.pk for key in ApiKey.objects.all() if key.prefix in text(client.get(LIST))}


def test_it_makes_a_key_and_shows_it_this_once(alice: Person) -> None:
    client = browser(alice)
    answer = send(client, NEW, **GOOD)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    (plaintext,) = secrets_in(answer)
    key = ApiKey.objects.get()
    assert bytes(key.digest) == keys.digest(plaintext)
    assert (key.user, key.organization, key.scopes) == (alice.user, alice.organization, [MESSAGES])
    assert key.expires_at is not None
    assert abs(key.expires_at - timezone.now() - timedelta(days=90)) < timedelta(minutes=5)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor) == ("key.created", f"user:{alice.user.pk}")
    assert secrets_in(client.get(LIST)) == set()
    for session in Session.objects.all():
        assert plaintext not in str(session.get_decoded())
    assert plaintext not in str(client.cookies)


def test_it_makes_one_key_of_one_form_however_often_it_is_sent(alice: Person) -> None:
    client = browser(alice)
    form = form_of(client, NEW)
    assert len(secrets_in(send(client, NEW, form, **GOOD))) == 1
    again = client.post(NEW, form | GOOD, follow=True)
    assert again.redirect_chain == [(LIST, 302)]
    assert "This form was sent before" in said(again)[0]
    assert secrets_in(again) == set()
    assert (ApiKey.objects.count(), AuditEntry.objects.count()) == (1, 1)
    assert len(secrets_in(send(client, NEW, **GOOD))) == 1  # a new form makes another


@pytest.mark.parametrize("ticket", ["", "a" * 10_000, "1:abc:def", "\0"])
def test_it_makes_none_of_a_form_that_is_not_ours(alice: Person, ticket: str) -> None:
    answer = send(browser(alice), NEW, **GOOD, ticket=ticket)
    assert answer.status_code == 200
    assert said(answer) == [making.STALE]
    assert ApiKey.objects.count() == 0


def test_it_makes_none_of_somebody_elses_form(alice: Person, bob: Person) -> None:
    theirs = form_of(browser(bob), NEW)["ticket"]
    assert "not complete" in said(send(browser(alice), NEW, **GOOD, ticket=theirs))[0]
    signed = signing.Signer(salt="another page").sign(f"{alice.user.pk}:abc")
    assert "not complete" in said(send(browser(alice), NEW, **GOOD, ticket=signed))[0]
    assert ApiKey.objects.count() == 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": ""}, "Give it a name"),
        ({"name": "x" * 10_000}, "at most 100 characters"),
        ({"name": "a\0b"}, "null characters"),
        ({"scopes": []}, "at least one thing"),
        ({"scopes": ["everything"]}, "one of those that are there"),
        ({"scopes": [HOSTILE * 1000]}, "one of those that are there"),
        ({"days": "-1"}, "one of those that are there"),
        ({"days": "9" * 10_000}, "one of those that are there"),
    ],
)
def test_it_says_what_is_wrong(alice: Person, wrong: dict[str, Any], words: str) -> None:
    answer = send(browser(alice), NEW, **GOOD | wrong)
    assert answer.status_code == 200
    assert words in " ".join(said(answer))
    assert "<script>alert" not in text(answer)
    assert len(text(answer)) < 100_000
    assert ApiKey.objects.count() == 0


def test_it_keeps_what_was_written_where_something_is_wrong(alice: Person) -> None:
    shown = text(send(browser(alice), NEW, name="my laptop", scopes=[APPROVE], days="0"))
    assert 'value="my laptop"' in shown
    assert f'value="{APPROVE}" checked' in shown
    assert f'value="{MESSAGES}" checked' not in shown


def test_it_gives_service_keys_to_owners_only(alice: Person, bob: Person) -> None:
    refused = send(browser(bob), NEW, **GOOD, service="on")
    assert "Only an owner or an admin" in said(refused)[0]
    assert ApiKey.objects.count() == 0
    assert "service" not in form_of(browser(bob), NEW)
    send(browser(alice), NEW, **GOOD, service="on")
    assert ApiKey.objects.get().is_service


def test_it_refuses_too_many(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rates.RATES, rates.KEY_SECRETS, Rate(limit=1, period_s=3600))
    client = browser(alice)
    assert send(client, NEW, **GOOD).status_code == 200
    refused = send(client, NEW, **GOOD)
    assert refused.status_code == 429
    assert "only 1 times in 60 minutes" in said(refused)[0]
    rotation = f"{LIST}{ApiKey.objects.get().pk}/rotate/"
    assert send(client, rotation, grace="0").status_code == 429


def test_it_lists_ones_own_keys_and_an_owner_those_of_all(
    alice: Person, bob: Person, charlie: Person
) -> None:
    of = {person.user.username: person.key()[0].pk for person in (alice, bob, charlie)}
    assert listed(browser(alice)) == {of["alice"], of["bob"]}
    assert listed(browser(bob)) == {of["bob"]}
    assert listed(browser(charlie)) == {of["charlie"]}


def test_it_lists_the_keys_of_one_organization_at_a_time(alice: Person, charlie: Person) -> None:
    Membership.objects.create(user=alice.user, organization=charlie.organization, role=Role.ADMIN)
    here, there = alice.key()[0].pk, charlie.key()[0].pk
    client = browser(alice)
    assert listed(client) == {here}
    of_before = form_of(client, NEW)
    assert client.get(f"{LIST}{there}/revoke/").status_code == 404
    token = form_of(client, NEW)["csrfmiddlewaretoken"]
    chosen = {"organization": str(charlie.organization.pk), "csrfmiddlewaretoken": token}
    client.post("/portal/organization/", chosen)
    assert listed(client) == {there}
    assert said(send(client, NEW, of_before, **GOOD)) == [making.STALE]
    assert ApiKey.objects.count() == 2
    send(client, NEW, **GOOD)
    assert ApiKey.objects.filter(user=alice.user, organization=charlie.organization).count() == 1


@pytest.mark.parametrize("action", ["rotate", "revoke"])
def test_it_hides_the_keys_of_others(
    alice: Person, bob: Person, charlie: Person, action: str
) -> None:
    key, _ = alice.key()
    for person in (bob, charlie):
        client = browser(person)
        token = {"csrfmiddlewaretoken": form_of(client, NEW)["csrfmiddlewaretoken"]}
        path = f"{LIST}{key.pk}/{action}/"
        assert client.get(path).status_code == 404
        assert client.post(path, token | {"grace": "0", "since": ""}).status_code == 404
    key.refresh_from_db()
    assert (key.revoked_at, key.rotated_at) == (None, None)


@pytest.mark.parametrize("key_id", ["nothing", "a" * 10_000, "%00", "%F0%9F%94%91"])
def test_it_has_no_page_of_a_key_that_is_not_there(alice: Person, key_id: str) -> None:
    for action in ("rotate", "revoke"):
        assert browser(alice).get(f"{LIST}{key_id}/{action}/").status_code == 404


def test_it_rotates_once_and_shows_the_new_secret(alice: Person) -> None:
    key, former = alice.key()
    client, path = browser(alice), f"{LIST}{key.pk}/rotate/"
    form = form_of(client, path)
    answer = send(client, path, form, grace="0")
    (plaintext,) = secrets_in(answer)
    assert plaintext != former
    assert "no-store" in answer["Cache-Control"]
    key.refresh_from_db()
    assert bytes(key.digest) == keys.digest(plaintext)
    again = client.post(path, form | {"grace": "0"}, follow=True)
    assert "was rotated since you opened that page" in said(again)[0]
    assert secrets_in(again) == set()
    key.refresh_from_db()
    assert bytes(key.digest) == keys.digest(plaintext)


def test_it_says_why_a_key_cannot_be_rotated(alice: Person) -> None:
    key, _ = alice.key()
    client, path = browser(alice), f"{LIST}{key.pk}/rotate/"
    send(client, path, grace="24")
    assert "its former secret still opens" in said(send(client, path, grace="24"))[0]
    assert "one of those that are there" in said(send(client, path, grace="9999"))[0]
    keys.revoke(key)
    assert "Only an active key" in said(send(client, path, grace="0"))[0]


def test_it_revokes_after_a_question(alice: Person) -> None:
    key, _ = alice.key("the laptop")
    client, path = browser(alice), f"{LIST}{key.pk}/revoke/"
    assert "Revoke the laptop?" in text(client.get(path))
    key.refresh_from_db()
    assert key.revoked_at is None
    form = form_of(client, path)
    answer = client.post(path, form, follow=True)
    assert said(answer) == ["the laptop is revoked and opens nothing any more."]
    assert client.post(path, form).status_code == 302  # a second time nothing happens
    assert [entry.action for entry in AuditEntry.objects.all()] == ["key.revoked"]


def test_it_tells_closed_keys_from_open_ones(alice: Person) -> None:
    assert "No key opens anything yet" in text(browser(alice).get(LIST))
    alice.key("expired", expires_at=timezone.now() - timedelta(days=1))
    keys.revoke(alice.key("revoked")[0])
    shown = text(browser(alice).get(LIST))
    assert "2 that open nothing any more" in shown
    assert "/rotate/" not in shown
