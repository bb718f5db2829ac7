"""The page of a request: who sees what of it, how much is shown, and by how many queries."""

import re
from typing import Any
from uuid import UUID

from django.db import connection
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.tests import people
from accounts.tests.people import Person
from billing import ledger, money
from billing.models import UsageRecord
from billing.tests.admin import operator, staff
from mcp.models import Connector, ToolCall
from mcp.states import State
from mcp.tests import machines
from opscenter import request_rows
from opscenter.request_rows import CALLS_SHOWN, STEPS_SHOWN
from opscenter.tests import request_page
from opscenter.tests.request_page import at, call, page_of, row, steps_in, text_of, tree_of

__all__ = ["operator"]

alice, bob, laptop = people.alice, people.bob, request_page.laptop


def test_it_counts_the_calls_for_who_may_not_see_them(alice: Person, laptop: Connector) -> None:
    root = row(alice, 0, 10)
    call(laptop, root, root.id, State.FAILED, tool="secret_tool")
    call(laptop, root, root.id, tool="secret_tool")
    tree = tree_of(staff("view_usagerecord"), root)
    assert "Tool calls 2 Cost" in text_of(tree)
    assert "123 in · 0 out 2 tool calls" in text_of(tree)
    for hidden in ("secret_tool", "laptop", "hello", "toolcall/", "failed"):
        assert hidden not in tree
    found = request_rows.found(root, sees_calls=False)
    assert found is not None
    assert found.calls == ()  # they are not even read


def test_it_shows_the_calls_to_staff_who_may_see_them(alice: Person, laptop: Connector) -> None:
    root = row(alice, 0, 10)
    call(laptop, root, root.id)
    tree = tree_of(staff("view_usagerecord", "view_toolcall"), root)
    assert "files/read succeeded on laptop" in text_of(tree)


def test_it_shows_no_calls_of_others(
    operator: Client, alice: Person, bob: Person, laptop: Connector
) -> None:
    root = row(alice, 0, 10)
    call(machines.machine(bob, "bobs"), root, root.id)  # who says that it is of this request
    assert "bobs" not in page_of(operator, root)
    call(laptop, root, None, tool="of_a_program")
    assert "Of no step" in text_of(tree_of(operator, root))


def test_it_bounds_what_it_shows_and_counts_the_rest(
    operator: Client,
    alice: Person,
    laptop: Connector,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    root = row(alice, 0, 1, cost_nano=1)
    page_of(operator, root)  # Django looks content types up once per process
    steps = [root]
    seen = []
    for count in (1, STEPS_SHOWN + 20):
        while len(steps) < count:
            began = len(steps)
            steps.append(row(alice, began, began + 1, parent_id=root.id, cost_nano=1))
        ToolCall.objects.bulk_create(
            ended(laptop, root, one.id, number)
            for one in (steps[0], steps[-1])
            for number in range(count, count + CALLS_SHOWN + 5)
        )
        with django_assert_num_queries(11):
            seen.append(tree_of(operator, root))
    assert len(steps_in(seen[0])) == 1
    assert "50 tool calls" in text_of(seen[0])
    tree = text_of(seen[1])
    assert len(steps_in(seen[1])) == STEPS_SHOWN + 1
    assert "and 20 more steps" in tree
    assert f"Steps {STEPS_SHOWN + 20} Tool calls 100 Cost {money.exact(len(steps))}" in tree
    assert tree.count("files/read") == CALLS_SHOWN
    assert f"and {75 - CALLS_SHOWN} more: all calls of the request" in tree
    with django_assert_num_queries(12):
        last = tree_of(operator, steps[-1])
    shown = steps_in(last)
    assert "and 19 more steps" in shown[-2]
    assert shown[-1].startswith("… qwen3:8b completed this row")
    assert last.count("files/read") == 2 * CALLS_SHOWN * 2  # once in the title of its bar


def ended(laptop: Connector, root: UsageRecord, step: UUID, number: int) -> ToolCall:
    """A call that is not yet in the table."""
    return ToolCall(
        id=ledger.new_id(),
        organization_id=laptop.organization_id,
        user_id=laptop.user_id,
        connector=laptop,
        server="files",
        tool="read",
        params="{}",
        has_effects=False,
        request_id=f"req_{root.id.hex}",
        tool_use_id=ledger.new_id().hex,
        step=step,
        state=State.SUCCEEDED,
        result="{}",
        deadline=at(0),
        created_at=at(number),
        started_at=at(number),
        finished_at=at(number + 1),
    )


def test_it_finds_all_by_indexes(alice: Person, laptop: Connector) -> None:
    root = row(alice, 0, 10)
    call(laptop, root, root.id)
    asked: list[tuple[str, Any]] = []

    def kept(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        asked.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(kept):
        assert request_rows.found(root, sees_calls=True) is not None
    assert len(asked) == 5
    for sql, params in asked:
        plan = _plan(sql, params)
        assert not re.search(r"SCAN (billing_|mcp_)|Seq Scan on (billing_|mcp_)", plan), plan


def _plan(sql: str, params: Any) -> str:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # tables of a row are always scanned
            cursor.execute(f"EXPLAIN {sql}", params)
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        return "\n".join(str(line[-1]) for line in cursor.fetchall())
