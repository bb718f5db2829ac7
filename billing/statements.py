"""The ledger as a file: closed rows, a page at a time, as CSV or as lines of JSON.

Nothing is held between two pages: no cursor, no transaction, no connection. A client that reads
slowly costs one page of memory, and one that leaves ends the reading with the page under way.
"""

import csv
import json
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from uuid import UUID

from django.db import Error
from django.db.models import Q

from accounts.reads import DatabaseAwayError, off_loop
from billing.models import UsageRecord

log = logging.getLogger(__name__)

PAGE_ROWS = 2_000  # about a megabyte, and a twentieth of a second of the database
BROKE_OFF = "The gateway's database does not answer. What came before this is not all."

# Apart from the reads that requests to /v1 wait for: an export is in no hurry.
_pages = ThreadPoolExecutor(1, thread_name_prefix="export")

TEXTS = (
    "requested_model",
    "target_model",
    "served_model",
    "upstream",
    "route",
    "moved_from",
    "agent",
    "session_id",
    "agent_id",
    "parent_agent_id",
    "stop_reason",
    "error_type",
    "message_id",
    "upstream_request_id",
    "flags",
)
NUMBERS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "server_tool_uses",
    "tool_calls",
    "cost_nano",
    "attempts",
    "status",
    "first_byte_ms",
    "longest_silence_ms",
    "request_bytes",
    "answer_bytes",
    "duration_ms",
)
TRUTHS = ("estimated", "unpriced", "own_credential", "streamed")
TIMES = ("admitted_at", "closed_at")
IDS = ("id", "state", "organization_id", "user_id", "api_key_id", "parent_id", "corrects_id")
COLUMNS = (*IDS, *TIMES, *TEXTS, *NUMBERS, *TRUTHS, "price_id", "tags")
# A spreadsheet takes a cell that begins with one of these for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")

Row = dict[str, Any]
Encode = Callable[[Sequence[Row]], bytes]


class BrokenOffError(Exception):
    """The rest cannot be read. The connection must end without the answer's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Whose rows, of which requests. None: of all."""

    starts_at: datetime
    ends_at: datetime
    organization_id: UUID | None = None
    user_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How rows are written. `last_words` tells of an end that came too early, where it can."""

    content_type: str
    head: bytes
    encode: Encode
    last_words: bytes


@dataclass(frozen=True, slots=True)
class _Page:
    body: bytes
    after: tuple[datetime, UUID] | None  # where the next one begins; None: this is the last


async def written(wanted: Wanted, form: Format) -> AsyncGenerator[bytes, None]:
    """The whole file. Raises BrokenOffError where it breaks off and the format cannot say so."""
    if form.head:
        yield form.head
    page = _Page(b"", (wanted.starts_at, UUID(int=0)))
    while page.after is not None:
        try:
            page = await _read(wanted, form, page.after)
        except (DatabaseAwayError, Error) as error:
            log.error("an export broke off: %r", error.__cause__ or error)
            if not form.last_words:
                raise BrokenOffError from None
            yield form.last_words
            return
        if page.body:
            yield page.body


def _page(wanted: Wanted, form: Format, after: tuple[datetime, UUID]) -> _Page:
    at, last = after
    rows = UsageRecord.objects.filter(
        # The first condition bounds the range of the index, the second one the page.
        Q(admitted_at__gt=at) | Q(id__gt=last),
        admitted_at__gte=at,
        admitted_at__lt=wanted.ends_at,
        closed_at__isnull=False,
    )
    if wanted.organization_id is not None:
        rows = rows.filter(organization_id=wanted.organization_id)
    if wanted.user_id is not None:
        rows = rows.filter(user_id=wanted.user_id)
    found: list[Row] = list(rows.order_by("admitted_at", "id").values(*COLUMNS)[:PAGE_ROWS])
    is_last = len(found) < PAGE_ROWS
    body = form.encode([_shown(row) for row in found]) if found else b""
    return _Page(body, None if is_last else (found[-1]["admitted_at"], found[-1]["id"]))


_read = off_loop(_page, on=_pages, wait_s=None)


def _shown(row: Row) -> Row:
    shown = {
        "request_id": f"req_{row['id'].hex}",
        "state": row["state"],
        "organization": str(row["organization_id"]),
        "user": row["user_id"],
        "key": row["api_key_id"],
        "parent": _request(row["parent_id"]),
        "corrects": _request(row["corrects_id"]),
    }
    for name in TIMES:
        shown[name] = row[name].astimezone(UTC).isoformat().replace("+00:00", "Z")
    shown |= {name: row[name] for name in (*TEXTS, *NUMBERS, *TRUTHS)}
    shown["cost"] = dollars(row["cost_nano"])
    shown["price_version"] = row["price_id"]
    shown["tags"] = row["tags"] or []
    return shown


def _request(record_id: UUID | None) -> str | None:
    return f"req_{record_id.hex}" if record_id else None


def dollars(nano: int) -> str:
    """Nano-dollars as dollars, exactly."""
    sign, size = ("-", -nano) if nano < 0 else ("", nano)
    return f"{sign}{size // 10**9}.{size % 10**9:09d}"


HEADINGS = (
    *("request_id", "state", "organization", "user", "key", "parent", "corrects"),
    *(*TIMES, *TEXTS, *NUMBERS, *TRUTHS),
    *("cost", "price_version", "tags"),
)


def _as_csv(rows: Sequence[Row]) -> bytes:
    return _lines([_cell(name, row[name]) for name in HEADINGS] for row in rows)


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    text = StringIO()
    csv.writer(text).writerows(rows)  # RFC 4180: CRLF, and quotes where they are needed
    return text.getvalue().encode()


def _cell(name: str, value: Any) -> Any:
    if name == "tags":
        return json.dumps(value, ensure_ascii=False) if value else ""
    if isinstance(value, bool):
        return str(value).lower()
    # Only what others have written: a correction's amounts begin with - and stay numbers.
    if name in TEXTS and value.startswith(FORMULA):
        return f"'{value}"
    return value


def _as_json_lines(rows: Sequence[Row]) -> bytes:
    # In ASCII: many readers of lines end one at U+2028 too, which a session's name may contain.
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


FORMATS = {
    "csv": Format(
        content_type="text/csv; charset=utf-8; header=present",
        head=_lines([HEADINGS]),
        encode=_as_csv,
        last_words=b"",  # a table has no place for them
    ),
    "jsonl": Format(
        content_type="application/x-ndjson",
        head=b"",
        encode=_as_json_lines,
        last_words=json.dumps({"error": {"type": "api_error", "message": BROKE_OFF}}).encode()
        + b"\n",
    ),
}
