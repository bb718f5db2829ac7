"""The admin's live page."""

from html import unescape

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.tests.people import Person, alice
from billing.tests.admin import HTML, operator, staff
from mcp.models import Connector
from mcp.states import State
from mcp.tests import machines
from mcp.tests.test_approval_pages import waiting

__all__ = ["alice", "operator"]

pytestmark = pytest.mark.django_db

LIVE = "/admin/live/"


def test_it_shows_what_is_so_now(
    operator: Client, alice: Person, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    laptop = machines.machine(alice, "laptop")
    gone = machines.machine(alice, "gone")
    Connector.objects.filter(pk=gone.pk).update(closed_at=timezone.now())
    for number in range(3):
        machines.call(laptop, State.QUEUED, tool=f"read-{number}")
    machines.call(laptop, State.SUCCEEDED, tool="over")
    waiting(alice, {"command": "make"})
    with django_assert_num_queries(5):  # session, user, machines, calls, approvals
        page = operator.get(LIVE, {"part": "1"}).content.decode()
    assert "laptop" in page and "gone" not in page
    assert page.count("read-") == 3 and "over" not in page
    assert "Approvals that wait: 1" in page
    assert "<html" not in page and "<html" in operator.get(LIVE).content.decode()


def test_it_is_quiet_where_nothing_is(operator: Client) -> None:
    page = operator.get(LIVE).content.decode()
    for words in ("No machine is connected", "Nothing waits and nothing runs", "for a person."):
        assert words in page


def test_names_stay_names(operator: Client, alice: Person) -> None:
    laptop = machines.machine(alice, HTML)
    machines.call(laptop, State.QUEUED, tool=HTML)
    page = operator.get(LIVE).content.decode()
    assert HTML not in page and unescape(page).count(HTML) >= 3


def test_only_who_may_see_calls_sees_it(client: Client) -> None:
    assert client.get(LIVE).status_code == 302
    assert staff("view_upstream").get(LIVE).status_code == 403
    assert Client().post(LIVE).status_code in {302, 403, 405}
