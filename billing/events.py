"""What Lago is told of a ledger row: the same words each time, however often it is told."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANO = Decimal(10) ** -9

Event = dict[str, Any]
Value = str | int


class Row(Protocol):
    """A closed row of the ledger, or a correction."""

    id: UUID
    organization_id: UUID
    user_id: int
    api_key_id: str
    admitted_at: datetime
    requested_model: str
    target_model: str
    served_model: str
    upstream: str
    agent: str
    session_id: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    server_tool_uses: int
    tool_calls: int
    duration_ms: int | None
    cost_nano: int
    own_credential: bool
    estimated: bool


def dollars(nano: int) -> str:
    """Nano-dollars as an exact decimal of dollars, without an exponent or idle zeros."""
    exact = format(Decimal(nano) * _NANO, "f")
    return exact.rstrip("0").rstrip(".") if "." in exact else exact


def all_tokens(row: Row) -> int:
    """Every token of the row, of whichever class."""
    return (
        row.input_tokens
        + row.output_tokens
        + row.cache_read_tokens
        + row.cache_write_5m_tokens
        + row.cache_write_1h_tokens
    )


def _all_input(row: Row) -> int:
    return all_tokens(row) - row.output_tokens


# Strings and whole numbers only: Lago takes no booleans, and a fraction of a dollar is no float.
PROPERTIES: Mapping[str, Callable[[Any], Value]] = {
    "model": lambda row: row.served_model or row.target_model,
    "requested_model": lambda row: row.requested_model,
    "served_model": lambda row: row.served_model,
    "upstream": lambda row: row.upstream,
    "input_tokens": lambda row: row.input_tokens,
    "output_tokens": lambda row: row.output_tokens,
    "cache_read_tokens": lambda row: row.cache_read_tokens,
    "cache_write_5m_tokens": lambda row: row.cache_write_5m_tokens,
    "cache_write_1h_tokens": lambda row: row.cache_write_1h_tokens,
    "total_tokens": all_tokens,
    "server_tool_uses": lambda row: row.server_tool_uses,
    "tool_calls": lambda row: row.tool_calls,
    "duration_ms": lambda row: row.duration_ms or 0,
    "cost_nano": lambda row: row.cost_nano,
    "cost_usd": lambda row: dollars(row.cost_nano),
    "user_id": lambda row: str(row.user_id),
    "api_key_id": lambda row: row.api_key_id,
    "agent": lambda row: row.agent,
    "session_id": lambda row: row.session_id,
    "own_credential": lambda row: "true" if row.own_credential else "false",
    "estimated": lambda row: "true" if row.estimated else "false",
    # As the earlier Ops-Center called them.
    "tokens_input": _all_input,
    "tokens_output": lambda row: row.output_tokens,
    "response_cost": lambda row: dollars(row.cost_nano),
}

# What a bill may be made of, the best first, each with the dollars of one unit.
_BILLED_BY = (("cost_usd", Decimal(1)), ("response_cost", Decimal(1)), ("cost_nano", _NANO))

# All but what says who worked on what, and when: a bill needs no session.
DEFAULT = tuple(name for name in PROPERTIES if name not in {"session_id", "duration_ms"})


def of(row: Row, *, subscription: str, code: str, names: Mapping[str, str]) -> Event:
    """The event of a row; `names` are the properties to send, each with its name at Lago."""
    return {
        "transaction_id": row.id.hex,
        "external_subscription_id": subscription,
        "code": code,
        "timestamp": timestamp(row.admitted_at),
        "properties": {theirs: PROPERTIES[ours](row) for ours, theirs in names.items()},
    }


def timestamp(at: datetime) -> str:
    """UNIX seconds with milliseconds, by whole numbers: no rounding may ever change it."""
    ms = (at - _EPOCH) // timedelta(milliseconds=1)
    return f"{ms // 1000}.{ms % 1000:03d}"


class UnbilledError(Exception):
    """No property that is sent says what a request costs."""


def billed_by(names: Mapping[str, str]) -> tuple[str, Decimal]:
    """The name at Lago of the property that bills are made of, and the dollars of one unit.

    Raises UnbilledError.
    """
    for ours, dollars_each in _BILLED_BY:
        if ours in names:
            return names[ours], dollars_each
    wanted = ", ".join(ours for ours, _ in _BILLED_BY)
    raise UnbilledError(f"LAGO_EVENT_PROPERTIES names none of {wanted}: nothing can be billed by.")


def fields(names: Iterable[str]) -> dict[str, str] | str:
    """The properties to send, each with its name at Lago, from `name` or `name=property`.

    A text instead says what is wrong.
    """
    found: dict[str, str] = {}
    for entry in names:
        ours, _, theirs = (part.strip() for part in entry.partition("="))
        if ours not in PROPERTIES:
            return f"{ours!r} is no property; there are {', '.join(PROPERTIES)}"
        if (theirs or ours) in found.values() or ours in found:
            return f"{theirs or ours!r} stands there twice"
        found[ours] = theirs or ours
    return found
