"""The books after the chaos, added up anew by nothing but their rows."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from tests import gateway
from tests.real.chaos_callers import Bound, Caller
from tests.real.chaos_upstream import Served

Row = Mapping[str, Any]
CLASSES = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
)
ADDED = (*CLASSES, "server_tool_uses", "tool_calls", "cost_nano", "duration_ms")
SUMS = ("requests", "failed", "estimated", *ADDED)
WHOSE = ("organization_id", "starts_at", "user_id", "api_key_id", "model", "agent", "label")
OPEN = "SELECT count(*) AS n FROM billing_usagerecord WHERE state = 'admitted'"
QUEUED = "SELECT count(*) AS n FROM billing_outboxevent"
WORKERS = "SELECT count(*) AS n FROM billing_worker"
# What an operator does in the admin once the reason of a refusal is gone.
RETRY = """
    UPDATE billing_outboxevent SET state = 'pending', leased_until = NULL, attempts = 0, reason = ''
    WHERE state = 'parked'
"""


class Books:
    """All that the gateway has written, read over a connection of our own."""

    def __init__(self, database: str) -> None:
        self._connection = psycopg.connect(database, autocommit=True, row_factory=dict_row)

    def close(self) -> None:
        self._connection.close()

    def count(self, question: str) -> int:
        return int(self._all(question)[0]["n"])

    def retry_parked(self) -> int:
        """How many events Lago had refused."""
        return self._connection.execute(RETRY).rowcount

    def wait_for_quiet(self, workers: int, within_s: float) -> None:
        """Until no row is open, nothing is queued for Lago, and only those who live are listed."""

        def state() -> tuple[int, int, int]:
            return self.count(OPEN), self.count(QUEUED), self.count(WORKERS)

        try:
            gateway.eventually(lambda: state() == (0, 0, workers), within_s)
        except AssertionError:
            raise AssertionError(f"open, queued, workers: {state()} after {within_s} s") from None

    def rows(self) -> list[Row]:
        """The ledger."""
        return self._all("SELECT * FROM billing_usagerecord ORDER BY id")

    def allowances(self) -> dict[str, Row]:
        return {row["id"]: row for row in self._all("SELECT * FROM billing_allowance")}

    def rollups(self) -> dict[tuple[Any, ...], tuple[int, ...]]:
        found = self._all("SELECT * FROM billing_usagerollup")
        sums = {_of(row, ("kind", *WHOSE)): _of(row, SUMS) for row in found}
        sessions = self._all("SELECT * FROM billing_usagesession")
        whose = ("organization_id", "starts_at", "user_id", "session")
        return sums | {("sessions", *_of(row, whose)): _of(row, SUMS) for row in sessions}

    def alarms(self) -> Counter[str]:
        """How often each kind was sounded."""
        question = "SELECT code, sum(count) AS n FROM billing_alarm GROUP BY code"
        return Counter({row["code"]: int(row["n"]) for row in self._all(question)})

    def _all(self, question: str) -> list[Row]:
        return list(self._connection.execute(question))


def check_rows(rows: Iterable[Row], served: Mapping[str, Served]) -> None:
    """Every request that the upstream served has one row, which is closed and says what it said."""
    by_name = Counter(row["agent_id"] for row in rows)
    assert max(by_name.values()) == 1, "a request has two rows"
    assert not served.keys() - by_name.keys(), "a request was served and has no row"
    for row in rows:
        assert row["closed_at"] is not None
        said = served.get(row["agent_id"])
        if row["state"] == "completed":
            assert said is not None, f"{row['agent_id']} was never served"
            assert row["message_id"] == said.message_id
            assert _of(row, CLASSES) == _classes(said.usage), row["agent_id"]
            assert not row["estimated"]
        elif row["flags"] == "swept":
            used = (row["state"], row["estimated"], *_of(row, CLASSES))
            assert used == ("interrupted", True, row["expected_input_tokens"], 0, 0, 0, 0)
        assert row["metered"] == any(_of(row, CLASSES)), row["agent_id"]


def check_allowances(
    rows: Iterable[Row], allowances: Mapping[str, Row], callers: Iterable[Caller]
) -> None:
    """Nothing is held any more, what was used is what the rows say, and no hard limit is passed."""
    by_key = {caller.api_key_id: caller for caller in callers}
    counted: dict[str, list[Row]] = defaultdict(list)
    bounds: dict[str, Bound] = {}
    for row in rows:
        for bound in by_key[row["api_key_id"]].bounds:
            name = _name(row["organization_id"], bound, row["admitted_at"])
            counted[name].append(row)
            bounds[name] = bound
    assert {name for name, one in allowances.items() if one["requests"]} == counted.keys()
    for name, its_rows in counted.items():
        _check_one(allowances[name], bounds[name], its_rows)


def _check_one(allowance: Row, bound: Bound, rows: list[Row]) -> None:
    told = _of(allowance, ("requests", "tokens", "tokens_held", "cost_nano", "cost_held_nano"))
    tokens, cost = sum(map(_counted, rows)), sum(row["cost_nano"] for row in rows)
    wanted = (len(rows), tokens, 0, cost, 0)
    assert told == wanted, f"{allowance['id']}: {told}, not {wanted}"
    if not bound.is_hard:
        return
    # At most by what a single request has used beyond what was held for it.
    error = max(0, *(_counted(row) - row["held_tokens"] for row in rows))
    cost_error = max(0, *(row["cost_nano"] - row["held_cost_nano"] for row in rows))
    assert bound.requests is None or len(rows) <= bound.requests, allowance["id"]
    assert bound.tokens is None or tokens <= bound.tokens + error, allowance["id"]
    assert bound.cost_nano is None or cost <= bound.cost_nano + cost_error, allowance["id"]


def sums(rows: Iterable[Row]) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """What the roll-ups must be."""
    totals: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        added = (1, int(row["state"] == "failed"), int(row["estimated"]), *_of(row, ADDED))
        for key in _keys(row):
            total = totals.setdefault(key, [0] * len(SUMS))
            totals[key] = [one + more for one, more in zip(total, added, strict=True)]
    return {key: tuple(total) for key, total in totals.items()}


def _keys(row: Row) -> list[tuple[Any, ...]]:
    hour = row["admitted_at"].astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    month = day.replace(day=1)
    organization, user = row["organization_id"], row["user_id"]
    whole = (user, row["api_key_id"], row["requested_model"], row["agent"], "")
    nobody = (0, "", "", "", "")
    by_label = [("session", day, row["session_id"])]
    for tag in row["tags"]:
        by_label += [("tag", day, tag), ("tagmon", month, tag)]
    return [
        *(
            (kind, organization, at, *whole)
            for kind, at in zip(("hour", "day", "month"), (hour, day, month), strict=True)
        ),
        *((kind, organization, at, user, "", "", "", label) for kind, at, label in by_label),
        ("orghour", organization, hour, *nobody),
        ("orgday", organization, day, *nobody),
        ("total", UUID(int=0), hour, *nobody),
        ("sessions", organization, month, user, row["session_id"]),
    ]


def _name(organization: UUID, bound: Bound, at: datetime) -> str:
    period = at.astimezone(UTC).strftime("%Y-%m-%d" if bound.period == "day" else "%Y-%m")
    return f"{organization.hex}/{bound.subject}/{period}"


def _counted(row: Row) -> int:
    """What limits count: all but what is read from a cache."""
    return sum(int(row[name]) for name in CLASSES if name != "cache_read_tokens")


def _classes(usage: Mapping[str, Any]) -> tuple[int, ...]:
    written = usage["cache_creation"]
    return (
        usage["input_tokens"],
        usage["output_tokens"],
        usage["cache_read_input_tokens"],
        written["ephemeral_5m_input_tokens"],
        written["ephemeral_1h_input_tokens"],
    )


def _of(row: Row, names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)
