"""What runs each second finds its rows by an index, however many calls have ended."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from accounts.tests import people
from accounts.tests.people import Person
from mcp import conditions
from mcp.models import Connector, ToolCall
from mcp.states import HELD, State
from mcp.tests.queues import connector_of

alice = people.alice
ENDED = 3000
Question = Callable[[Connector], QuerySet[ToolCall]]


@pytest.fixture
def laptop(alice: Person) -> Connector:
    """A connector with many calls that have ended."""
    connector, now = connector_of(alice), timezone.now()
    ToolCall.objects.bulk_create(
        ToolCall(
            organization=alice.organization,
            user=alice.user,
            connector=connector,
            server="files",
            tool="read",
            params="{}",
            has_effects=False,
            request_id=str(uuid.uuid4()),
            tool_use_id="t",
            state=State.EXPIRED,
            deadline=now - timedelta(seconds=number),
            finished_at=now,
        )
        for number in range(ENDED)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE mcp_toolcall")
    return connector


def calls_of(connector: Connector) -> QuerySet[ToolCall]:
    return ToolCall.objects.filter(connector=connector)


QUESTIONS: dict[str, Question] = {
    "claim": lambda of: (
        calls_of(of).filter(conditions.claimable()).order_by("created_at", "id")[:4]
    ),
    "in flight": lambda of: calls_of(of).filter(conditions.is_open(), state__in=HELD),
    "expired": lambda _: ToolCall.objects.filter(conditions.expired()),
    "stopped": lambda _: ToolCall.objects.filter(conditions.stopped()),
    "requeued": lambda _: ToolCall.objects.filter(conditions.requeued()),
    "orphaned": lambda _: ToolCall.objects.filter(conditions.orphaned()),
    "lost": lambda _: ToolCall.objects.filter(conditions.lost()),
    "waiters": lambda _: ToolCall.objects.filter(conditions.is_open(), waiter__isnull=False),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_it_reads_no_calls_that_have_ended(laptop: Connector, question: str) -> None:
    plan = QUESTIONS[question](laptop).explain()
    assert re.search(r"calls_(queued|open_of_\w+|leased|due)", plan), plan
    assert not re.search(r"Seq Scan on mcp_toolcall|SCAN mcp_toolcall(?! USING INDEX)", plan), plan
