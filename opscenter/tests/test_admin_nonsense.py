"""Nonsense in the admin's addresses and forms gets an answer, and never a traceback."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import transaction
from django.forms import BaseForm
from django.test import Client

from accounts import sane
from accounts.tests.people import Person, alice
from billing.tests.admin import operator

__all__ = ["alice", "operator"]

pytestmark = pytest.mark.django_db

NONSENSE = ["nonsense", "\0", "9" * 30, "0001-01-01T00:00:00+14:00"]
TABLES = {model._meta.label_lower: site for model, site in admin.site._registry.items()}
by_table = pytest.mark.parametrize("table", TABLES)


@pytest.fixture
def unshaken(operator: Client) -> Client:
    """A superuser's browser, which reports a defect as the status that people would see."""
    operator.raise_request_exception = False
    return operator


def path_of(table: str) -> str:
    return f"/admin/{table.replace('.', '/')}/"


def asked(client: Client, path: str, data: dict[str, Any] | None = None) -> int:
    """The status, with the test's transaction unharmed by what the database refused."""
    with transaction.atomic():
        answer = client.get(path) if data is None else client.post(path, data)
        transaction.set_rollback(True)
    return answer.status_code


def parameters(table: str) -> Iterator[str]:
    """What the list of this table can be filtered by."""
    yield "q"
    for one in TABLES[table].list_filter:
        name = one[0] if isinstance(one, tuple) else one
        yield from (f"{name}__exact", f"{name}__gte") if isinstance(name, str) else ()
        yield getattr(name, "parameter_name", "")


@by_table
def test_a_list(unshaken: Client, alice: Person, table: str) -> None:
    path = path_of(table)
    found = {
        (name, value): asked(unshaken, f"{path}?{urlencode({name: value})}")
        for name in parameters(table)
        for value in NONSENSE
    }
    assert {one: status for one, status in found.items() if status >= 500} == {}


@by_table
def test_an_address(unshaken: Client, alice: Person, table: str) -> None:
    path = path_of(table)
    found = {
        (value, page): asked(unshaken, f"{path}{urlencode({'': value})[1:]}/{page}/")
        for value in NONSENSE
        for page in ("change", "password")
    }
    assert {one: status for one, status in found.items() if status >= 500} == {}


@by_table
def test_an_action(unshaken: Client, alice: Person, table: str) -> None:
    actions = TABLES[table].actions or ()
    found = {
        (str(name), value): asked(
            unshaken, path_of(table), {"action": name, "_selected_action": value, "index": value}
        )
        for name in actions
        for value in NONSENSE
    }
    assert {one: status for one, status in found.items() if status >= 500} == {}


@by_table
def test_a_form(unshaken: Client, alice: Person, table: str) -> None:
    path = f"{path_of(table)}add/"
    page = unshaken.get(path)
    if page.status_code != 200:
        assert page.status_code == 403  # rows of this table are not made here
        return
    form = page.context["adminform"].form
    shown = [name for block in page.context["adminform"] for line in block for name in line.fields]
    assert shown  # or nobody can make such a row
    fields = dict(named(form))
    for formset in page.context["inline_admin_formsets"]:
        fields |= dict(named(formset.formset.management_form))
        row = formset.formset.empty_form
        fields |= {name.replace("__prefix__", "0"): "" for name, _ in named(row)}
        fields[f"{formset.formset.prefix}-TOTAL_FORMS"] = "1"
    found = {
        (name, value): asked(unshaken, path, fields | {name: value})
        for name in fields
        for value in NONSENSE[:3]
    }
    assert {one: status for one, status in found.items() if status >= 500} == {}


def named(form: BaseForm) -> Iterator[tuple[str, Any]]:
    for name, field in form.fields.items():
        value = form.get_initial_for_field(field, name)
        yield form.add_prefix(name), "" if value is None or isinstance(value, list) else value


@pytest.mark.parametrize("value", NONSENSE)
@pytest.mark.parametrize("name", ["term", "app_label", "model_name", "field_name"])
def test_what_completes_a_field(unshaken: Client, alice: Person, name: str, value: str) -> None:
    asking = {"app_label": "accounts", "model_name": "apikey", "field_name": "user", "term": "a"}
    assert asked(unshaken, f"/admin/autocomplete/?{urlencode(asking | {name: value})}") < 500


def test_the_pages_of_ours(unshaken: Client, alice: Person) -> None:
    pages = ["/admin/", "/admin/live/", "/admin/billing/usage/", "/portal/usage/", "/portal/keys/"]
    names = ["days", "from", "to", "part", "group_by", "organization", "range", "since", "page"]
    found = {
        (page, name, value): asked(unshaken, f"{page}?{urlencode({name: value})}")
        for page in pages
        for name in names
        for value in NONSENSE
    }
    assert {one: status for one, status in found.items() if status >= 500} == {}
    assert User.objects.filter(username="operator").exists()


def test_a_nul_is_no_part_of_an_address_of_ours(unshaken: Client) -> None:
    # SQLite takes one; what PostgreSQL does with it, the tests above say there.
    answer = unshaken.get("/admin/accounts/apikey/?q=a%00b")
    assert answer.status_code == 400 and "NUL" in answer.content.decode()
    key = TABLES["accounts.apikey"].model._meta.pk
    assert not sane.is_key(key, "a\0b") and sane.is_key(key, "ab")
