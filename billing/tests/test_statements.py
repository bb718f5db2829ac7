"""The ledger as a file: every closed row once, in order, and nothing for a spreadsheet to run."""

import csv
import json
import uuid
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from accounts.reads import off_loop
from accounts.tests.people import Person
from billing import statements
from billing.models import UsageRecord
from billing.statements import FORMATS, BrokenOffError, Format, Wanted
from billing.tests.usage_rows import NOON, State, keep, row

pytestmark = pytest.mark.django_db(transaction=True)
WANTED = Wanted(starts_at=NOON, ends_at=NOON + timedelta(hours=1))


async def text(form: str, wanted: Wanted = WANTED) -> str:
    parts = [part async for part in statements.written(wanted, FORMATS[form])]
    return b"".join(parts).decode()


async def lines(wanted: Wanted = WANTED) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await text("jsonl", wanted)).splitlines()]


async def table() -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(await text("csv"), newline="")))


async def put(*rows: UsageRecord) -> None:
    await sync_to_async(keep)(rows)
    await sync_to_async(lambda: connection.close())()


async def test_it_writes_each_closed_row_once_in_order_of_time(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "PAGE_ROWS", 3)
    # Five at one moment, so that pages end between rows of the same time.
    made = [row(alice, NOON + timedelta(seconds=n // 5), cost_nano=n) for n in range(12)]
    still_open = row(alice, state=State.ADMITTED, closed_at=None)
    await put(
        *made, still_open, row(alice, NOON - timedelta(seconds=1)), row(alice, WANTED.ends_at)
    )
    expected = sorted(made, key=lambda each: (each.admitted_at, each.id))
    found = await lines()
    assert [each["request_id"] for each in found] == [str(each) for each in expected]
    assert [each["request_id"] for each in await table()] == [str(each) for each in expected]


async def test_it_ends_with_a_full_last_page(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "PAGE_ROWS", 2)
    await put(row(alice), row(alice))
    assert len(await lines()) == 2


async def test_it_writes_only_whose_rows_are_wanted(
    alice: Person, bob: Person, charlie: Person
) -> None:
    await put(*(row(person) for person in (alice, bob, charlie)))

    async def users(**whose: Any) -> set[int]:
        wanted = Wanted(starts_at=WANTED.starts_at, ends_at=WANTED.ends_at, **whose)
        return {each["user"] for each in await lines(wanted)}

    own = alice.organization.pk
    assert await users(organization_id=own) == {alice.user.pk, bob.user.pk}
    assert await users(organization_id=own, user_id=bob.user.pk) == {bob.user.pk}
    assert await users(organization_id=charlie.organization.pk) == {charlie.user.pk}
    assert len(await users()) == 3


async def test_it_defuses_formulas_and_leaves_numbers_alone(alice: Person) -> None:
    evil = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"]
    first = row(alice)
    fix = row(alice, state=State.CORRECTION, corrects_id=first.id, cost_nano=-1_500_000_000)
    await put(*(row(alice, session_id=each) for each in evil), first, fix)
    found = await table()
    assert {each["session_id"] for each in found} == {f"'{each}" for each in evil} | {""}
    corrections = [each for each in found if each["state"] == "correction"]
    assert [(each["cost_nano"], each["cost"]) for each in corrections] == [
        ("-1500000000", "-1.500000000")
    ]
    assert corrections[0]["corrects"] == str(first)


async def test_it_quotes_as_rfc_4180_says(alice: Person) -> None:
    odd = 'a "b", c\r\nd'
    await put(row(alice, session_id=odd, tags=["x,y", 'z"']))
    found = await table()
    assert found[0]["session_id"] == odd
    assert json.loads(found[0]["tags"]) == ["x,y", 'z"']
    head = (await text("csv")).split("\r\n")[0]
    assert head.split(",") == list(statements.HEADINGS)


async def test_it_writes_lines_of_json_with_the_same_fields(alice: Person) -> None:
    await put(row(alice, session_id="=é\u2028", tags=["a"], cost_nano=5, input_tokens=3))
    found = (await lines())[0]
    assert set(found) == set(statements.HEADINGS)
    assert (found["session_id"], found["tags"], found["cost"]) == ("=é\u2028", ["a"], "0.000000005")
    assert (found["admitted_at"], found["estimated"]) == ("2026-11-25T12:00:00Z", False)


async def test_it_reads_a_page_with_one_query_on_an_index(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[dict[str, str]] = []

    def watched(wanted: Wanted, form: Format, after: Any) -> Any:
        with CaptureQueriesContext(connection) as captured:
            page = statements._page(wanted, form, after)
        queries.extend(captured.captured_queries)
        return page

    monkeypatch.setattr(statements, "PAGE_ROWS", 2)
    monkeypatch.setattr(statements, "_read", off_loop(watched))
    await put(*(row(alice) for _ in range(5)))
    assert len(await lines()) == 5
    assert len(queries) == 3
    assert not any("OFFSET" in each["sql"] for each in queries)


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database answers for one page, and then no more."""

    def page(wanted: Wanted, form: Format, after: Any) -> statements._Page:
        if after[1].int:
            raise OperationalError("the database is away")
        return statements._Page(b"first\n", (NOON, uuid.UUID(int=1)))

    monkeypatch.setattr(statements, "_read", off_loop(page))


@pytest.mark.usefixtures("breaking")
async def test_it_says_in_the_last_line_of_json_that_it_broke_off() -> None:
    said = (await text("jsonl")).splitlines()
    assert said[0] == "first"
    assert json.loads(said[1])["error"]["message"] == statements.BROKE_OFF


@pytest.mark.usefixtures("breaking")
async def test_it_breaks_off_a_table_that_cannot_say_so() -> None:
    with pytest.raises(BrokenOffError):
        await text("csv")
