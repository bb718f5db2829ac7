"""The audit of calls: a row for each that ended, in a chain for each organization.

Calls are put down by the reaper, so that a call itself waits for nothing. Each row's hash covers
the row and the hash before it: what is changed, taken out or put in between is found.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from accounts.keyed import keyed
from billing import ledger, locking
from mcp import denied, ending, preview
from mcp.models import Approval, AuditedCall, Connector, ToolCall
from mcp.states import Asker, Outcome

AT_ONCE = 100  # with arguments and results of a MiB each, 200 MiB at most
MAX_ROUNDS = 10  # of AT_ONCE in one look for each organization; the rest comes in the next
LOCAL = "local"  # the connector's own server: what others say of a sandbox is only their word
SANDBOX, EXIT = "opscenter/sandbox", "opscenter/exit"
DECISION = "opscenter/decision"  # in an error's data: the machine's own policy said so
NOT_LET = frozenset({"deny", "ask"})  # its words for a call that did not begin by it
PURPOSE = "audit 1"


@dataclass(frozen=True, slots=True)
class Broken:
    """The first row of a chain that does not fit, and why."""

    number: int
    row: UUID | None
    why: str


def write() -> int:
    """Put down every call that has ended and is not there yet; how many."""
    due = ToolCall.objects.filter(finished_at__isnull=False, audited=False)
    organizations = due.order_by().values_list("organization_id", flat=True).distinct()
    return sum(_write_of(organization) for organization in list(organizations))


def _write_of(organization_id: UUID) -> int:
    written = 0
    for _ in range(MAX_ROUNDS):
        count = _batch(organization_id)
        written += count
        if count < AT_ONCE:
            break
    return written


def _batch(organization_id: UUID) -> int:
    with transaction.atomic():
        # One at a time: two would both put their rows after the same one.
        locking.take_turns([f"tool-audit:{organization_id}"])
        due = ToolCall.objects.filter(
            organization_id=organization_id, finished_at__isnull=False, audited=False
        )
        due = due.select_related("user", "connector").prefetch_related("approvals")
        rows = list(due.order_by("finished_at", "id")[:AT_ONCE])
        last = _chain(organization_id).last()
        number, previous = (last.number, last.hash) if last else (0, "")
        made = []
        for call in rows:
            number += 1
            row = AuditedCall(
                id=ledger.new_id(),
                organization_id=organization_id,
                number=number,
                previous=previous,
                call=call.id,
                told=json.dumps(_told(call), sort_keys=True),
            )
            row.hash = previous = hash_of(row)
            made.append(row)
        AuditedCall.objects.bulk_create(made)
        ToolCall.objects.filter(id__in=[call.id for call in rows]).update(audited=True)
    return len(rows)


def _chain(organization_id: UUID) -> QuerySet[AuditedCall]:
    return AuditedCall.objects.filter(organization_id=organization_id).order_by("number")


def hash_of(row: AuditedCall) -> str:
    """What the row's hash must be."""
    covered = [row.previous, str(row.organization_id), row.number, str(row.call), row.told]
    return keyed(PURPOSE, json.dumps(covered))


def first_broken(organization_id: UUID) -> Broken | None:
    """The first row that is not as it was written, or not where."""
    number, previous = 0, ""
    for row in _chain(organization_id).iterator(AT_ONCE):
        number += 1
        if row.number != number:
            return Broken(number, None, f"it is missing; the next that is there is {row.number}")
        if row.previous != previous:
            return Broken(number, row.id, "it does not follow the row before it")
        if row.hash != hash_of(row):
            return Broken(number, row.id, "it is not as it was written")
        previous = row.hash
    for call in _missing(organization_id):
        return Broken(
            number + 1, None, f"it is missing: the call {call} was put down after the last"
        )
    return None


def _missing(organization_id: UUID) -> Iterator[UUID]:
    """Calls that were put down and are not in the chain: its end was cut off."""
    there = AuditedCall.objects.filter(call=OuterRef("id"))
    put_down = ToolCall.objects.filter(organization_id=organization_id, audited=True)
    missing = put_down.filter(~Exists(there)).order_by("finished_at")
    yield from missing.values_list("id", flat=True)[:1]


def _told(call: ToolCall) -> dict[str, Any]:
    result = ending.result_of(call.state, call.result)
    meta = _meta(result) if call.server == LOCAL else {}
    return {
        "user": {"id": call.user_id, "name": call.user.get_username()},
        "machine": {"id": str(call.connector_id), "name": call.connector.name},
        "server": call.server,
        "tool": call.tool,
        "method": call.method,
        "request_id": call.request_id,
        "tool_use_id": call.tool_use_id,
        "state": call.state,
        "outcome": call.outcome,
        "params_sha256": denied.digest(_json(call.params), call.params),
        "result_sha256": _digest(result),
        "definition": call.definition,
        "preview": preview.of_arguments(_arguments(call.params)),
        "organization_decision": call.decision,
        "policy_version": call.policy_version,
        "machine_decision": _machine_decision(call, result),
        "approvals": [_answer(each) for each in call.approvals.all()],
        "sandbox": meta.get(SANDBOX) if isinstance(meta.get(SANDBOX), str) else None,
        "exit": meta.get(EXIT) if isinstance(meta.get(EXIT), int) else None,
        "has_effects": call.has_effects,
        "hand_outs": call.deliveries,
        "created_at": _at(call.created_at),
        "started_at": _at(call.started_at),
        "finished_at": _at(call.finished_at),
        "duration_ms": _ms(call.started_at, call.finished_at),
    }


def _machine_decision(call: ToolCall, result: str | None) -> str | None:
    """What the machine's own policy said, as far as that shows; None where it does not.

    Of a server that the gateway reaches itself it shows nothing: there is no machine between.
    """
    if call.connector.kind == Connector.Kind.GATEWAY:
        return None
    data = _json(result or "").get("data") if call.outcome == Outcome.ERROR else None
    said = data.get(DECISION) if isinstance(data, dict) else None
    if isinstance(said, str) and said in NOT_LET:
        return said
    asked = any(each.asked_by == Asker.MACHINE for each in call.approvals.all())
    return "ask" if asked else None


def _answer(approval: Approval) -> dict[str, Any]:
    return {
        "asked_by": approval.asked_by,
        "digest": approval.digest,
        "state": approval.state,
        "by": approval.decided_by,
        "name": approval.decider,
        "source": approval.source,
        "place": approval.place,
        "at": _at(approval.decided_at),
    }


def _arguments(params: str) -> Mapping[str, Any]:
    found = _json(params).get("arguments")
    return found if isinstance(found, dict) else {}


def _meta(result: str | None) -> Mapping[str, Any]:
    found = _json(result or "").get("_meta")
    return found if isinstance(found, dict) else {}


def _json(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(text: str | None) -> str:
    return "" if text is None else denied.digest_of_text(text)


def _at(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _ms(start: datetime | None, end: datetime | None) -> int | None:
    return None if start is None or end is None else int((end - start).total_seconds() * 1000)
