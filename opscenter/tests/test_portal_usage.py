"""Usage, plan and the first page: the numbers are the ledger's, and only one's own."""

import csv
import re
from collections.abc import Mapping
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, Organization
from accounts.tests.people import Person, alice, bob, charlie, uses_written
from billing.models import Plan, Subscription
from billing.tests.usage_rows import keep, row
from mcp.tests import machines
from mcp.tests.test_approval_pages import waiting
from opscenter.tests.portal_browser import browser, said, text

__all__ = ["alice", "bob", "charlie", "uses_written"]

pytestmark = pytest.mark.django_db(transaction=True)  # an export reads on a thread of its own

PAGE, LIMITS, HOME = "/portal/usage/", "/portal/limits/", "/portal/"


@pytest.fixture
def usage(alice: Person, bob: Person, charlie: Person) -> None:
    now = timezone.now()
    key, _ = alice.key("the laptop")
    keep(
        [
            row(alice, now, key=key.pk, input_tokens=1_001, cost_nano=2 * 10**9),
            row(alice, now - timedelta(days=3), model="claude-haiku-5", output_tokens=502),
            row(alice, now - timedelta(days=20), agent="tester", cache_read_tokens=7_003),
            row(bob, now, model="claude-of-bob", input_tokens=20_004, cost_nano=10**9),
            row(charlie, now, model="claude-of-charlie", input_tokens=300_005),
        ]
    )


def numbers(client: Client, path: str = PAGE, **query: str) -> dict[str, str]:
    shown = text(client.get(path, query))
    return dict(re.findall(r"<div><dt>([^<]+)</dt><dd>([^<]+)</dd></div>", shown))


def rows(client: Client, **query: str) -> Mapping[str, str]:
    """The last table's names, each with its cost."""
    table = text(client.get(PAGE, query)).rpartition("<tbody>")[2]
    return dict(re.findall(r'<tr><th scope="row">([^<]+)</th><td>([^<]+)</td>', table))


@pytest.mark.usefixtures("usage")
def test_it_adds_up_ones_own_usage(alice: Person) -> None:
    found = numbers(browser(alice))
    assert found == {
        "Cost": "$2.00",
        "Requests": "2",
        "Input": "1,001",
        "Output": "502",
        "Cache reads": "0",
        "Cache writes": "0",
    }
    assert numbers(browser(alice), range="24h")["Requests"] == "1"
    assert numbers(browser(alice), range="30d")["Cache reads"] == "7,003"
    first = f"{timezone.now() - timedelta(days=4):%Y-%m-%d}"
    last = f"{timezone.now() - timedelta(days=2):%Y-%m-%d}"
    assert numbers(browser(alice), range="custom", first=first, last=last)["Output"] == "502"


@pytest.mark.usefixtures("usage")
def test_it_groups_it(alice: Person) -> None:
    client = browser(alice)
    assert rows(client) == {"claude-opus-5-5": "$2.00", "claude-haiku-5": "$0.00", "All": "$2.00"}
    assert "the laptop" in rows(client, by="key")
    assert "tester" in rows(client, by="agent", range="30d")
    assert set(rows(client, by="user", whose="all")) == {"alice", "bob", "All"}


@pytest.mark.usefixtures("usage")
def test_it_shows_a_bar_and_a_row_for_each_day(alice: Person) -> None:
    shown = text(browser(alice).get(PAGE))
    assert shown.count('<rect class="all"') == 7
    assert shown.count('<rect class="t1"') == 1
    assert f"{timezone.now():%d %b %Y}: 1,001 tokens" in shown
    assert text(browser(alice).get(PAGE, {"range": "24h"})).count('<rect class="all"') == 24


@pytest.mark.usefixtures("usage")
def test_it_shows_an_owner_everybodys_and_a_member_their_own(
    alice: Person, bob: Person, charlie: Person
) -> None:
    assert numbers(browser(alice), whose="all")["Input"] == "21,005"
    assert numbers(browser(bob))["Input"] == "20,004"
    assert numbers(browser(charlie), whose="all")["Input"] == "300,005"
    for query in ({"whose": "all"}, {"by": "user"}):
        refused = browser(bob).get(PAGE, query)
        assert said(refused) == ["Choose one of those that are there."]
        assert "1,001" not in text(refused)
        assert "alice" not in text(refused)


def test_it_is_called_as_in_the_earlier_guide(bob: Person) -> None:
    shown = re.sub(r"<[^>]+>|\s+", " ", text(browser(bob).get(PAGE)))
    assert re.search(r"Billing\s+\u203a\s+Usage", shown)


@pytest.mark.usefixtures("usage")
@pytest.mark.parametrize(("whose", "users"), [("mine", {"alice"}), ("all", {"alice", "bob"})])
def test_it_exports_what_it_shows(alice: Person, bob: Person, whose: str, users: set[str]) -> None:
    client = browser(alice)
    link = re.search(
        r'href="(/api/v1/usage/export[^"]+)"', text(client.get(PAGE, {"whose": whose}))
    )
    assert link is not None
    answer: Any = client.get(link[1].replace("&amp;", "&"))
    assert answer.status_code == 200
    lines = list(csv.DictReader(StringIO(_read(answer).decode())))
    of = {str(person.user.pk): person.user.username for person in (alice, bob)}
    assert {of[line["user"]] for line in lines} == users
    others = {"user": str(alice.user.pk)}
    assert browser(bob).get("/api/v1/usage/export", others).status_code == 403


def _read(answer: Any) -> bytes:
    async def read() -> bytes:
        return b"".join([part async for part in answer.streaming_content])

    return async_to_sync(read)()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"range": "forever"}, "one of those that are there"),
        ({"by": "x" * 10_000}, "one of those that are there"),
        ({"range": "custom"}, "Choose a day"),
        ({"range": "custom", "first": "2026-11-20"}, "To: Choose a day"),
        ({"range": "custom", "first": "yesterday", "last": "2026-11-20"}, "Write a day as"),
        ({"range": "custom", "first": "2026-11-20", "last": "2026-11-19"}, "before the first"),
        ({"range": "custom", "first": "2020-01-01", "last": "2026-11-19"}, "at most 366 days"),
        ({"range": "custom", "first": "0001-01-01", "last": "0001-01-02"}, "this century"),
        ({"range": "custom", "first": "9999-12-31", "last": "9999-12-31"}, "this century"),
        ({"range": "custom", "first": "\0", "last": "<script>alert(1)</script>"}, "Write a day as"),
    ],
)
def test_it_says_what_is_wrong_with_a_question(
    alice: Person, query: dict[str, str], words: str
) -> None:
    answer = browser(alice).get(PAGE, query)
    assert answer.status_code == 200
    assert words in " ".join(said(answer))
    assert "<script>alert" not in text(answer)
    assert "Export" not in text(answer)


def test_it_tells_somebody_who_used_nothing_what_to_do(alice: Person) -> None:
    shown = text(browser(alice).get(PAGE))
    assert "Nothing was used in this time" in shown
    assert 'href="/portal/claude-code/"' in shown


@pytest.mark.usefixtures("usage")
def test_it_says_what_is_left_of_a_limit(alice: Person, bob: Person) -> None:
    plan = Plan.objects.create(code="pro-2", name="Pro", tokens_per_day=2_002)
    Subscription.objects.create(organization=alice.organization, plan=plan, requests_per_day=50)
    shown = re.sub(r"<[^>]+>|\s+", " ", text(browser(alice).get(LIMITS)))
    assert "on the plan Pro" in re.sub(r" +", " ", shown)
    assert re.search(r"1,001 +left of 2,002 · 1,001 used", shown)
    assert "Begins anew in" in shown
    assert "The whole organization" in shown
    assert "The whole organization" not in text(browser(bob).get(LIMITS))
    assert "20,004 used" in text(browser(bob).get(LIMITS))


def test_it_says_why_a_subscription_is_suspended(alice: Person) -> None:
    Subscription.objects.create(
        organization=alice.organization,
        plan=Plan.objects.create(code="pro-2", name="Pro"),
        state="suspended",
        reason="The bill of <October> is open.",
    )
    assert "The bill of &lt;October&gt; is open." in text(browser(alice).get(LIMITS))


@pytest.mark.usefixtures("usage")
def test_it_shows_the_day_on_the_first_page(alice: Person, bob: Person) -> None:
    found = numbers(browser(alice), HOME)
    assert (found["Requests"], found["Input tokens"], found["Cost"]) == ("1", "1,001", "$2.00")
    assert numbers(browser(bob), HOME)["Requests"] == "1"


def test_it_ticks_off_what_is_done(alice: Person, bob: Person) -> None:
    def done() -> list[str]:
        shown = text(browser(alice).get(HOME))
        return re.findall(r"<h2>([^<]+) <span class=\"pill well\">done</span>", shown)

    bob.key()
    machines.machine(bob)
    assert done() == []
    key, _ = alice.key()
    assert done() == ["Get a key"]
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=timezone.now())
    assert done() == ["Get a key", "Connect Claude Code"]
    machines.machine(alice)
    assert done() == ["Get a key", "Connect Claude Code", "Connect a machine"]


def test_it_says_how_many_calls_wait(alice: Person, bob: Person) -> None:
    waiting(alice)
    assert "1 call of a tool waits for your word" in text(browser(alice).get(HOME))
    waiting(alice)
    assert "2 calls of a tool wait for your word" in text(browser(alice).get(HOME))
    assert "for your word" not in text(browser(bob).get(HOME))


def test_it_counts_the_chosen_organization_alone(alice: Person, charlie: Person) -> None:
    keep([row(alice, timezone.now(), organization=charlie.organization)])
    assert Organization.objects.count() == 2
    assert "Nothing was used" in text(browser(alice).get(PAGE))
