"""Reads what belongs to a request: its rows of the ledger and its tool calls, in a few queries."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, F, Max, Min, Q, QuerySet, Sum, Value, When, Window
from django.db.models.functions import RowNumber, Substr

from billing.models import UsageRecord
from billing.tokens import TokenCounts
from mcp import calls as queue
from mcp.models import Approval, ToolCall
from mcp.states import FINAL, State
from opscenter import request_words
from opscenter.request_tree import Call, Found, Step, Sums, Tally

# A tree of 200 steps with 100 calls each would be a page of 20,000 lines, which nobody reads.
STEPS_SHOWN = 100
CALLS_SHOWN = 20  # of each step
RESULT_CHARS = 4_000  # of what a failed call says: a result may have a MiB

_COUNTS = tuple(TokenCounts.__dataclass_fields__)
_FAILED = sorted(state.value for state in FINAL - {State.SUCCEEDED})
_COLUMNS = (
    "id", "step", "server", "tool", "state", "asked_by", "created_at", "started_at", "finished_at",
)  # fmt: skip


def found(row: UsageRecord, *, sees_calls: bool) -> Found | None:
    """All that belongs to the request that this row of the ledger is part of.

    None for a correction of what is no longer there. Whoever may not see calls is only told how
    many there are.
    """
    root_id, marked = _place_of(row)
    rows = UsageRecord.objects.filter(Q(pk=root_id) | Q(parent_id=root_id))
    sums = _sums(rows)
    if sums is None:
        return None
    some = rows.defer("usage", "holds", "tags")  # the large columns
    steps = [_step(one) for one in some.order_by("admitted_at", "pk")[:STEPS_SHOWN]]
    is_there = sums.steps <= len(steps) or any(step.id == marked for step in steps)
    beyond = None if is_there else some.filter(pk=marked).first()
    asked = ToolCall.objects.filter(
        organization_id=row.organization_id,
        user_id=row.user_id,
        request_id=f"req_{root_id.hex}",
    )
    tallies = _tallies(asked)
    return Found(
        root_id=root_id,
        marked=marked,
        sums=sums,
        steps=steps,
        beyond=_step(beyond) if beyond else None,
        tallies=tallies,
        calls=_calls(asked, _shown(steps, sums, marked, tallies)) if sees_calls and tallies else (),
        sees_calls=sees_calls,
    )


def _place_of(row: UsageRecord) -> tuple[UUID, UUID]:
    """The first row of the request, and the row of its steps that is meant."""
    if row.corrects_id is None:
        return row.parent_id or row.pk, row.pk
    corrected = UsageRecord.objects.filter(pk=row.corrects_id).values_list("parent_id", flat=True)
    return corrected.first() or row.corrects_id, row.corrects_id


def _sums(rows: QuerySet[UsageRecord]) -> Sums | None:
    """Of all rows, with those that correct them; None where there is none."""
    of_rows = rows.aggregate(
        **_added(),
        failed=Count("pk", filter=Q(state=UsageRecord.State.FAILED)),
        running=Count("pk", filter=Q(state=UsageRecord.State.ADMITTED)),
        began=Min("admitted_at"),
        ended=Max("closed_at"),
    )
    if of_rows["began"] is None:
        return None
    corrections = UsageRecord.objects.filter(corrects__in=rows.values("pk")).aggregate(**_added())
    return Sums(
        steps=of_rows["rows"],
        failed=of_rows["failed"],
        running=of_rows["running"],
        began=of_rows["began"],
        ended=of_rows["ended"],
        counts=TokenCounts(**{name: of_rows[name] + corrections[name] for name in _COUNTS}),
        cost_nano=of_rows["cost_nano"] + corrections["cost_nano"],
        corrections=corrections["rows"],
        corrected_nano=corrections["cost_nano"],
    )


def _added() -> dict[str, Any]:
    added = {name: Sum(name, default=0) for name in (*_COUNTS, "cost_nano")}
    return {"rows": Count("pk"), **added}


def _step(row: UsageRecord) -> Step:
    return Step(
        id=row.pk,
        agent=row.agent,
        requested_model=row.requested_model,
        target_model=row.target_model,
        served_model=row.served_model,
        upstream=row.upstream,
        moved_from=row.moved_from,
        attempts=row.attempts,
        state=row.state,
        status=row.status,
        error_type=row.error_type,
        stop_reason=row.stop_reason,
        flags=row.flags,
        counts=TokenCounts(**{name: getattr(row, name) for name in _COUNTS}),
        cost_nano=row.cost_nano,
        called=row.tool_calls,
        began=row.admitted_at,
        ended=row.closed_at,
        first_byte_ms=row.first_byte_ms,
        longest_silence_ms=row.longest_silence_ms,
    )


def _tallies(asked: QuerySet[ToolCall]) -> dict[UUID | None, Tally]:
    """Of all calls, by their step."""
    by_step = (
        asked.order_by()
        .values_list("step")
        .annotate(
            calls=Count("pk"),
            failed=Count("pk", filter=Q(state__in=_FAILED)),
            running=Count("pk", filter=Q(finished_at=None)),
            first=Min("created_at"),
            last=Max("finished_at"),
        )
    )
    return {
        step: Tally(calls=calls, failed=failed, running=running, first=first, last=last)
        for step, calls, failed, running, first, last in by_step
    }


def _shown(
    steps: Sequence[Step], sums: Sums, marked: UUID, tallies: Mapping[UUID | None, Tally]
) -> list[UUID | None]:
    """The steps whose calls are shown: those that are, and those whose rows are gone."""
    if sums.steps <= len(steps):
        return list(tallies)
    known = {marked, None, *(step.id for step in steps)}
    return [step for step in tallies if step in known]


def _calls(asked: QuerySet[ToolCall], steps: Sequence[UUID | None]) -> list[Call]:
    """The first calls of each of these steps."""
    of_steps = Q(step__in=[step for step in steps if step is not None])
    if None in steps:
        of_steps |= Q(step=None)
    place = Window(RowNumber(), partition_by=F("step"), order_by=["created_at", "pk"])
    first = asked.filter(of_steps).annotate(place=place).filter(place__lte=CALLS_SHOWN)
    failed = When(state=State.FAILED, then=Substr("result", 1, RESULT_CHARS))
    rows = list(
        ToolCall.objects.filter(pk__in=first.values("pk"))
        .select_related("connector")
        .only(*_COLUMNS, "connector__name")
        .annotate(said=Case(failed, default=Value("")))
        .order_by("created_at", "pk")
    )
    answers = _answers([row.pk for row in rows if row.asked_by])
    return [_call(row, answers) for row in rows]


def _answers(calls: Sequence[UUID]) -> dict[UUID, str]:
    """What became of the last question about each of these calls."""
    if not calls:
        return {}
    asked = Approval.objects.filter(call_id__in=calls).order_by("created_at", "pk")
    told = asked.values_list("call_id", "state", "decider", "source")
    return {call: request_words.answer(*answer) for call, *answer in told}


def _call(row: Any, answers: Mapping[UUID, str]) -> Call:
    return Call(
        id=row.pk,
        step=row.step,
        server=row.server,
        tool=row.tool,
        machine=row.connector.name,
        state=row.state,
        made=row.created_at,
        started=row.started_at,
        finished=row.finished_at,
        approval=answers.get(row.pk, ""),
        why=request_words.said(row.said or queue.result_of(row.state, None) or ""),
    )
