"""The ledger: opened first, closed once, never edited."""

import asyncio
import uuid
from dataclasses import replace
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from billing import ledger, tokens, writer
from billing.ledger import Admission, Closing, LedgerUnavailableError, State
from billing.models import UsageRecord

USAGE = {
    "input_tokens": 7,
    "output_tokens": 9,
    "cache_read_input_tokens": 5,
    "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
    "server_tool_use": {"web_search_requests": 2},
    "service_tier": "standard",
}


def closing(state: State, **more: Any) -> Closing:
    fields: dict[str, Any] = {"duration_ms": 1, "upstream": "scripted", "target_model": "qwen"}
    fields["settled"] = tokens.settled(
        more.get("usage", {}), expected_input=0, seen_output=0, is_whole=True
    )
    return Closing(state=state, **(fields | more))


async def test_it_has_committed_the_row_when_admit_returns(
    writing: writer.Writer, admission: Admission
) -> None:
    await ledger.admit(admission)
    row = await UsageRecord.objects.aget(id=admission.id)
    assert row.state == State.ADMITTED
    assert row.organization_id == admission.organization_id
    assert (row.requested_model, row.target_model) == ("claude-opus-5-5", "qwen")
    assert row.session_id == "s" * 100
    assert row.agent_id == "withnul"
    assert row.closed_at is None
    assert row.input_tokens == 0
    assert row.usage is None


async def test_it_closes_with_every_token_class_and_the_raw_usage(
    writing: writer.Writer, admission: Admission
) -> None:
    await ledger.admit(admission)
    ledger.close(
        admission,
        closing(
            State.COMPLETED,
            duration_ms=1200,
            first_byte_ms=30,
            status=200,
            usage=USAGE,
            upstream="other",
            target_model="gpt",
            moved_from="scripted",
            attempts=2,
            own_credential=True,
        ),
    )
    await writing.drain()
    row = await UsageRecord.objects.aget(id=admission.id)
    assert row.state == State.COMPLETED
    assert row.closed_at is not None
    assert (row.duration_ms, row.first_byte_ms, row.status) == (1200, 30, 200)
    assert (row.input_tokens, row.output_tokens, row.cache_read_tokens) == (7, 9, 5)
    assert (row.cache_write_5m_tokens, row.cache_write_1h_tokens, row.server_tool_uses) == (3, 4, 2)
    assert row.usage == USAGE
    assert (row.upstream, row.target_model, row.moved_from) == ("other", "gpt", "scripted")
    assert (row.attempts, row.own_credential) == (2, True)


async def test_it_is_closed_by_the_first_end_only(
    writing: writer.Writer, admission: Admission
) -> None:
    await ledger.admit(admission)
    ledger.close(admission, closing(State.INTERRUPTED, duration_ms=1))
    await writing.drain()
    ledger.close(admission, closing(State.COMPLETED, duration_ms=2, usage=USAGE))
    await writing.drain()
    row = await UsageRecord.objects.aget(id=admission.id)
    assert (row.state, row.duration_ms, row.output_tokens) == (State.INTERRUPTED, 1, 0)


async def test_it_refuses_a_request_whose_row_it_cannot_take(
    writing: writer.Writer, admission: Admission
) -> None:
    await ledger.admit(admission)
    with pytest.raises(LedgerUnavailableError):
        await ledger.admit(admission)  # the same id: the database says no


async def test_it_keeps_the_good_rows_of_a_batch_with_a_bad_one(
    writing: writer.Writer, admission: Admission
) -> None:
    await ledger.admit(admission)
    good = [replace(admission, id=ledger.new_id()) for _ in range(5)]
    results = await asyncio.gather(
        *(ledger.admit(each) for each in [*good[:2], admission, *good[2:]]), return_exceptions=True
    )
    assert [type(result) for result in results].count(LedgerUnavailableError) == 1
    assert await UsageRecord.objects.acount() == 6


@pytest.mark.django_db
@pytest.mark.parametrize(("state", "closed"), [("admitted", True), ("completed", False)])
def test_it_lets_the_database_refuse_a_row_that_contradicts_itself(
    admission: Admission, state: str, closed: bool
) -> None:
    row = UsageRecord(
        id=ledger.new_id(),
        organization_id=admission.organization_id,
        user_id=admission.user_id,
        api_key_id="k",
        streamed=False,
        admitted_at="2026-01-01T00:00:00Z",
    )
    row.save()
    rows = UsageRecord.objects.filter(id=row.id)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.update(state=state, closed_at=row.admitted_at if closed else None)


def test_it_makes_ids_that_are_uuid7_and_sort_by_time() -> None:
    ids = [ledger.new_id() for _ in range(1000)]
    assert {each.version for each in ids} == {7}
    assert {each.variant for each in ids} == {uuid.RFC_4122}
    assert len(set(ids)) == 1000
    assert ids == sorted(ids), "also within a millisecond: the queue of tool calls is in this order"


async def test_it_still_writes_what_a_cancelled_request_closed(
    writing: writer.Writer, admission: Admission
) -> None:
    opened = asyncio.Event()

    async def request() -> None:
        await ledger.admit(admission)
        try:
            opened.set()
            await asyncio.Event().wait()
        finally:
            ledger.close(admission, closing(State.INTERRUPTED, duration_ms=5))

    task = asyncio.create_task(request())
    await asyncio.wait_for(opened.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await writing.drain()
    assert (await UsageRecord.objects.aget(id=admission.id)).state == State.INTERRUPTED


@pytest.mark.parametrize(
    ("usage", "stored"),
    [
        ({"input_tokens": -5, "note": "a\0b"}, {"input_tokens": -5, "note": "ab"}),
        ({"note": "\\u0000", "more": "\\\0\0"}, {"note": "\\u0000", "more": "\\"}),
        ({"input_tokens": float("inf")}, {"input_tokens": None}),
        ({"note": "x" * 20_000}, None),
        ({"input_tokens": {"a": [{}]}, "output_tokens": "7"}, ...),
    ],
)
async def test_it_closes_whatever_an_upstream_calls_usage(
    writing: writer.Writer, admission: Admission, usage: dict[str, object], stored: object
) -> None:
    await ledger.admit(admission)
    ledger.close(admission, closing(State.COMPLETED, duration_ms=1, usage=usage))
    await writing.drain()
    row = await UsageRecord.objects.aget(id=admission.id)
    assert row.state == State.COMPLETED
    assert row.input_tokens == row.output_tokens == 0
    assert row.usage == (usage if stored is ... else stored)
