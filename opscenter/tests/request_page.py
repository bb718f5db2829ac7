"""Requests in the tables, as the tests of their page make and read them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import Client

from accounts.tests.people import Person, alice
from billing import ledger
from billing.models import UsageRecord
from billing.tests.admin import record
from mcp.models import Connector, ToolCall
from mcp.states import State
from mcp.tests import machines

__all__ = ["alice"]

LEDGER = "/admin/billing/usagerecord/"
BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
BAR = re.compile(r"--at: ([\d.]+)%; --wide: ([\d.]+)%; --waits: ([\d.]+)%")


@pytest.fixture
def laptop(alice: Person) -> Connector:
    return machines.machine(alice)


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def row(person: Person, began: float, ended: float | None, **fields: Any) -> UsageRecord:
    """A row that lasted from one second to another; None for one that goes on."""
    values: dict[str, Any] = {"admitted_at": at(began), "requested_model": "claude-crew-team"}
    if ended is None:
        values |= {"state": "admitted", "closed_at": None, "status": None}
    else:
        values["closed_at"] = at(ended)
    return record(person, **values | fields)


def call(
    laptop: Connector,
    root: UsageRecord,
    step: UUID | None,
    state: State = State.SUCCEEDED,
    times: Sequence[float | None] = (10, 11, 12),
    **fields: Any,
) -> ToolCall:
    """A call of a step, made, started and finished at these seconds."""
    made, started, finished = (None if one is None else at(one) for one in times)
    values: dict[str, Any] = {
        "id": ledger.new_id(),
        "request_id": f"req_{root.id.hex}",
        "tool_use_id": ledger.new_id().hex,
        "step": step,
        "created_at": made,
        "started_at": started,
        "finished_at": finished,
    }
    return machines.call(laptop, state, **values | fields)


def page_of(client: Client, shown: UsageRecord) -> str:
    answer = client.get(f"{LEDGER}{shown.id}/change/")
    assert answer.status_code == 200
    return str(answer.content.decode())


def tree_of(client: Client, shown: UsageRecord) -> str:
    """The part of its page that holds the tree."""
    found = re.search(r'<section class="tree.*?</section>', page_of(client, shown), re.DOTALL)
    assert found is not None
    return found[0]


def text_of(tree: str) -> str:
    """What people read of it, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", tree).split())


def steps_in(tree: str) -> list[str]:
    """What people read of each of its steps, with the calls below it."""
    return [text_of(one) for one in re.findall(r"<li\b.*?</li>", tree, re.DOTALL)]
