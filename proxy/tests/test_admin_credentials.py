"""Credentials in the admin: they go in, and never come out."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from accounts import sealed
from accounts.models import AuditEntry, Organization
from proxy import credentials
from proxy.models import OwnCredential, Upstream
from proxy.tests.test_admin import UPSTREAMS, operator, staff, upstream_form

__all__ = ["operator"]

SECRET = "sk-stored-secret-0123456789"


@pytest.fixture
def box(db: None) -> Upstream:
    """An upstream with a stored credential."""
    row = Upstream(name="gpu-box", kind="compatible", base_url="http://127.0.0.1:8000")
    row.store(SECRET)
    row.save()
    return row


def page_of(row: Upstream) -> str:
    return f"{UPSTREAMS}{row.pk}/change/"


def test_it_stores_a_credential_and_shows_it_nowhere(operator: Client) -> None:
    form = upstream_form(credential=SECRET, credential_variable="")
    answer = operator.post(UPSTREAMS + "add/", form, follow=True)
    row = Upstream.objects.get()
    assert sealed.opened(row.credential_sealed) == SECRET
    pages = [answer, operator.get(page_of(row)), operator.get(f"{UPSTREAMS}{row.pk}/history/")]
    for page in pages:
        assert SECRET not in page.content.decode()
        assert row.credential_sealed not in page.content.decode()
    assert "stored" in pages[1].content.decode()
    assert SECRET not in str(list(LogEntry.objects.values()) + list(AuditEntry.objects.values()))
    actions = list(AuditEntry.objects.order_by("id").values_list("action", "subject"))
    there = f"upstream:{row.pk}"
    assert actions == [("upstream.created", there), ("credential.stored", there)]


def test_it_does_not_send_a_refused_credential_back(operator: Client) -> None:
    form = upstream_form(credential=SECRET, credential_variable="", name="two words")
    page = operator.post(UPSTREAMS + "add/", form)
    assert page.status_code == 200
    assert SECRET not in page.content.decode()


def test_it_keeps_the_credential_when_the_field_is_left_empty(
    operator: Client, box: Upstream
) -> None:
    form = upstream_form(credential_variable="", name="renamed")
    assert operator.post(page_of(box), form).status_code == 302
    row = Upstream.objects.get()
    assert (row.name, row.credential_sealed) == ("renamed", box.credential_sealed)
    assert not AuditEntry.objects.filter(action__startswith="credential.").exists()


def test_it_replaces_and_forgets(operator: Client, box: Upstream) -> None:
    operator.post(page_of(box), upstream_form(credential_variable="", credential="sk-other"))
    box.refresh_from_db()
    assert sealed.opened(box.credential_sealed) == "sk-other"
    operator.post(page_of(box), upstream_form(credential_variable="", forget_credential="on"))
    box.refresh_from_db()
    assert box.credential_sealed == ""
    trail = AuditEntry.objects.filter(action__startswith="credential.").order_by("id")
    assert [line.action for line in trail] == ["credential.stored", "credential.forgotten"]


def test_it_moves_from_a_stored_one_to_a_variable_in_one_step(
    operator: Client, box: Upstream
) -> None:
    operator.post(page_of(box), upstream_form(credential_variable="KEY", forget_credential="on"))
    box.refresh_from_db()
    assert (box.credential_sealed, box.credential_variable) == ("", "KEY")


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("credential", {"credential": "x", "credential_variable": "KEY"}),
        ("credential", {"credential": "two words", "credential_variable": ""}),
        ("credential", {"credential": "k" * 5000, "credential_variable": ""}),
        ("credential_variable", {"credential_variable": "KEY"}),  # beside the stored one
        ("forget_credential", {"credential": "x", "forget_credential": "on"}),
    ],
)
def test_it_says_at_the_field_what_excludes_what(
    operator: Client, box: Upstream, field: str, fields: dict[str, str]
) -> None:
    form = upstream_form(**({"credential_variable": ""} | fields))
    page = operator.post(page_of(box), form)
    assert page.status_code == 200
    assert field in page.context["adminform"].form.errors
    stored = Upstream.objects.get()
    assert (stored.credential_sealed, stored.credential_variable) == (box.credential_sealed, "")


def test_it_says_that_no_key_is_set_to_store_it_under(operator: Client, settings: Settings) -> None:
    settings.ENCRYPTION_KEYS = []
    form = upstream_form(credential=SECRET, credential_variable="")
    page = operator.post(UPSTREAMS + "add/", form)
    [text] = page.context["adminform"].form.errors["credential"]
    assert "OPSCENTER_ENCRYPTION_KEYS is not set" in text
    assert not Upstream.objects.exists()


@pytest.mark.parametrize("keys", [[], ["another-key-" + "k" * 32]])
def test_it_says_that_a_credential_cannot_be_decrypted(
    operator: Client, box: Upstream, settings: Settings, keys: list[str]
) -> None:
    settings.ENCRYPTION_KEYS = keys
    short = "no key fits" if keys else "no key is set"
    long = "no key in OPSCENTER_ENCRYPTION_KEYS fits" if keys else "ENCRYPTION_KEYS is not set"
    assert f"cannot be decrypted: {short}" in operator.get(UPSTREAMS).content.decode()
    assert long in operator.get(page_of(box)).content.decode()


def test_it_shows_no_field_for_it_to_those_who_may_only_look(box: Upstream) -> None:
    page = staff("view_upstream").get(page_of(box)).content.decode()
    assert 'name="credential"' not in page
    assert "stored" in page


def test_it_shows_and_removes_organizations_own(operator: Client, box: Upstream) -> None:
    acme = Organization.objects.create(name="Acme")
    own = credentials.store_own(acme, box, SECRET, "system")
    url = "/admin/proxy/owncredential/"
    for page in (url, f"{url}{own.pk}/change/"):
        text = operator.get(page).content.decode()
        assert own.fingerprint in text
        assert SECRET not in text
    assert operator.get(url + "add/").status_code == 403
    operator.post(f"{url}{own.pk}/delete/", {"post": "yes"})
    assert not OwnCredential.objects.exists()
    line = AuditEntry.objects.latest("id")
    assert (line.action, line.organization) == ("credential.forgotten", acme)
    assert line.actor == f"user:{User.objects.get().pk}"
