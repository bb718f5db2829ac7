"""A row opened before the upstream is asked, closed once, never edited again."""

import random
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from billing import alarms, fitting, settling, workers, writer
from billing.allowances import Denied, Granted, Release, Reservation
from billing.models import UsageRecord
from billing.pricing import Charge
from billing.rollups import Use
from billing.tokens import Settled, TokenCounts

State = UsageRecord.State
RecordId = uuid.UUID
_ROUTE_CHARS = 256


class LedgerUnavailableError(Exception):
    """The ledger cannot take the row, so the request must not be sent on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What is known of a request before the upstream is asked."""

    id: uuid.UUID
    organization_id: uuid.UUID
    user_id: int
    api_key_id: str
    requested_model: str
    target_model: str
    upstream: str
    streamed: bool
    admitted_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    route: str = ""
    agent: str = ""
    parent_id: uuid.UUID | None = None
    follows: bool = False  # a further turn of an answer: none of the minute's requests
    own_credential: bool = False
    session_id: str = ""
    agent_id: str = ""
    parent_agent_id: str = ""
    request_bytes: int | None = None
    headers: Mapping[str, str] | None = None  # the few that are kept
    tags: Sequence[str] = ()
    expected_input_tokens: int = 0
    metered: bool = False  # we tell Lago of it, if it uses anything
    reservation: Reservation | None = None

    @property
    def holds(self) -> list[str]:
        """The allowances that it holds something of."""
        return [bound.id for bound in self.reservation.bounds] if self.reservation else []

    @classmethod
    def of(cls, row: UsageRecord) -> Self:
        """The admission of a row that is open in the table."""
        held = Reservation(bounds=(), tokens=row.held_tokens, cost_nano=row.held_cost_nano)
        return cls(
            id=row.id,
            organization_id=row.organization_id,
            user_id=row.user_id,
            api_key_id=row.api_key_id,
            requested_model=row.requested_model,
            target_model=row.target_model,
            upstream=row.upstream,
            streamed=row.streamed,
            admitted_at=row.admitted_at,
            route=row.route,
            agent=row.agent,
            own_credential=row.own_credential,
            session_id=row.session_id,
            tags=row.tags or (),
            expected_input_tokens=row.expected_input_tokens,
            metered=row.metered,
            reservation=held,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """How a request ended. Times are milliseconds since it was admitted."""

    state: State
    duration_ms: int
    upstream: str  # which one answered in the end, and
    target_model: str  # under which name it was asked
    route: str = ""
    own_credential: bool = False
    moved_from: str = ""
    attempts: int = 1
    first_byte_ms: int | None = None
    longest_silence_ms: int | None = None  # of the upstream, inside its stream
    answer_bytes: int | None = None
    status: int | None = None
    stop_reason: str = ""
    error_type: str = ""
    message_id: str = ""
    served_model: str = ""
    upstream_request_id: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)  # as the upstream reported it
    settled: Settled = field(default_factory=lambda: Settled(counts=TokenCounts()))
    tool_calls: int = 0
    charge: Charge | None = None  # None: it costs nothing here
    metered: bool = False  # we tell Lago of it


def new_id() -> uuid.UUID:
    """A UUIDv7 (RFC 9562, 5.7): ordered by time, so that new rows lie together.

    Of one clock they are in order to a quarter of a microsecond (6.2, method 3).
    """
    # Unique is enough: a guessed id opens nothing, and the system's randomness costs a call.
    ms, ns = divmod(time.time_ns(), 1_000_000)
    of_ms = (ns << 12) // 1_000_000
    return uuid.UUID(int=ms << 80 | 0x7 << 76 | of_ms << 64 | 0x2 << 62 | random.getrandbits(62))


async def admit(admission: Admission) -> Granted | Denied:
    """Return when the row is committed, or refused for want of room in an allowance.

    Raises LedgerUnavailableError when it cannot be written.
    """
    opening = _opening(admission)
    try:
        outcome: Granted | Denied = await writer.current().write(settling.ADMIT, opening)
    except writer.WriterUnavailableError as error:
        raise LedgerUnavailableError("the ledger is not available") from error
    return outcome


def _opening(admission: Admission) -> settling.Opening:
    held = admission.reservation
    columns = {
        "id": admission.id,
        "organization_id": admission.organization_id,
        "user_id": admission.user_id,
        "api_key_id": admission.api_key_id,
        "requested_model": admission.requested_model,
        "target_model": admission.target_model,
        "upstream": admission.upstream,
        "route": fitting.short(admission.route, _ROUTE_CHARS),
        "agent": admission.agent,
        "parent_id": admission.parent_id,
        "streamed": admission.streamed,
        "own_credential": admission.own_credential,
        "session_id": fitting.short(admission.session_id),
        "agent_id": fitting.short(admission.agent_id),
        "parent_agent_id": fitting.short(admission.parent_agent_id),
        "tags": fitting.as_json(admission.tags),
        "request_bytes": admission.request_bytes,
        "kept_headers": fitting.as_json(fitting.headers(admission.headers)),
        "worker_id": workers.OWN_ID,
        "expected_input_tokens": admission.expected_input_tokens,
        "metered": admission.metered,
        "holds": fitting.as_json(admission.holds),
        "held_tokens": held.tokens if held else 0,
        "held_cost_nano": held.cost_nano if held else 0,
        "admitted_at": admission.admitted_at,
    }
    return settling.Opening(id=admission.id, columns=columns, reservation=held)


def close(admission: Admission, closing: Closing) -> None:
    """Close the row. It is written soon, also when the request that says so is being cancelled."""
    writer.current().put(settling.CLOSE, _ending(admission, closing, admission.holds))
    if "clamped" in closing.settled.flags:
        alarms.put(alarms.Code.BAD_USAGE, f"{closing.upstream}: {closing.target_model}")
    if closing.charge and not closing.charge.is_known and not closing.settled.counts.is_empty:
        alarms.put(
            alarms.Code.UNKNOWN_PRICE,
            alarms.unpriced(closing.target_model, closing.upstream),
            "Import a price for it, then run: manage.py rerateusage",
        )


def close_dead(rows: Iterable[tuple[UsageRecord, Closing]]) -> None:
    """Close rows whose process is gone, in one transaction: for the sweeper's thread."""
    endings = [_ending(Admission.of(row), closing, row.holds or []) for row, closing in rows]
    writer.write_now(settling.CLOSE, [replace(one, is_swept=True) for one in endings])


def _ending(admission: Admission, closing: Closing, holds: Sequence[str]) -> settling.Ending:
    counts, charge = closing.settled.counts, closing.charge
    cost_nano = charge.price.cost(counts) if charge else 0
    held = admission.reservation
    release = Release(
        allowances=holds,
        tokens=counts.counted,
        tokens_held=held.tokens if held else 0,
        cost_nano=cost_nano,
        cost_held_nano=held.cost_nano if held else 0,
    )
    use = Use(
        organization_id=admission.organization_id,
        user_id=admission.user_id,
        api_key_id=admission.api_key_id,
        model=admission.requested_model,
        agent=admission.agent,
        session_id=fitting.short(admission.session_id),
        tags=admission.tags,
        admitted_at=admission.admitted_at,
        counts=counts,
        cost_nano=cost_nano,
        tool_calls=closing.tool_calls,
        duration_ms=fitting.milliseconds(closing.duration_ms),
        failed=closing.state == State.FAILED,
        estimated=closing.settled.estimated,
    )
    has_event = closing.metered and not counts.is_empty
    return settling.Ending(
        id=admission.id,
        columns=_columns(admission, closing, cost_nano, has_event),
        use=use,
        release=release if holds else None,
        has_event=has_event,
    )


def _columns(
    admission: Admission, closing: Closing, cost_nano: int, has_event: bool
) -> settling.Columns:
    counts, charge = closing.settled.counts, closing.charge
    duration_ms = fitting.milliseconds(closing.duration_ms)
    return {
        "state": closing.state.value,
        # Not the clock's word, which may have jumped meanwhile.
        "closed_at": admission.admitted_at + timedelta(milliseconds=duration_ms),
        "duration_ms": duration_ms,
        "upstream": closing.upstream,
        "target_model": closing.target_model,
        "route": fitting.short(closing.route or admission.route, _ROUTE_CHARS),
        "own_credential": closing.own_credential,
        "moved_from": closing.moved_from,
        "attempts": closing.attempts,
        "first_byte_ms": closing.first_byte_ms,
        "longest_silence_ms": closing.longest_silence_ms,
        "answer_bytes": closing.answer_bytes,
        "status": closing.status,
        "stop_reason": fitting.short(closing.stop_reason),
        "error_type": fitting.short(closing.error_type),
        "message_id": fitting.short(closing.message_id),
        "served_model": fitting.short(closing.served_model),
        "upstream_request_id": fitting.short(closing.upstream_request_id),
        "input_tokens": counts.input_tokens,
        "output_tokens": counts.output_tokens,
        "cache_read_tokens": counts.cache_read_tokens,
        "cache_write_5m_tokens": counts.cache_write_5m_tokens,
        "cache_write_1h_tokens": counts.cache_write_1h_tokens,
        "server_tool_uses": counts.server_tool_uses,
        "tool_calls": closing.tool_calls,
        "usage": fitting.usage(closing.usage),
        "estimated": closing.settled.estimated,
        "flags": " ".join(closing.settled.flags),
        "unpriced": bool(charge and not charge.is_known and not counts.is_empty),
        "price_id": charge.price.id if charge else None,
        "cost_nano": cost_nano,
        "metered": has_event,
    }


def move(record_id: uuid.UUID, *, upstream: str, moved_from: str) -> None:
    """Say now that a failure has moved the request: its end may be many minutes away."""
    change = settling.Change(id=record_id, columns={"upstream": upstream, "moved_from": moved_from})
    writer.current().put(settling.CHANGE, change)
