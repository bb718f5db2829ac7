"""A month as ten million requests would leave it, made inside the database by its own SQL."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection

from accounts.models import ApiKey, Organization
from billing.rollups import NO_ORGANIZATION

MONTH = datetime(2026, 10, 1, tzinfo=UTC)
HOURS = 30 * 24
ORGANIZATIONS, USERS, KEYS, MODELS, TAGS = 200, 1_000, 2_000, 8, 50
REQUESTS_IN_A_SESSION = 20

Say = Callable[[str], None]

# One row for each request. The same arithmetic on both databases: a number is spread by a
# multiplication, and its upper half is what looks random. Few keys have most of the sessions.
_MIXED = """
    SELECT n, n / {per} AS s,
           (n * 2654435761) % 4294967296 AS h,
           ((n / {per}) * 2654435761) % 4294967296 AS hs,
           ((n / {per}) * 1597334677) % 4294967296 / 65536 * {hours} / 65536 AS start
    FROM numbers
"""
_KEYED = """
    SELECT n, s, h, hs, (hs / 65536) * (hs / 65536) / 65536 * {keys} / 65536 AS key_i,
           CASE WHEN start + n % {per} / 12 >= {hours} THEN {hours} - 1
                ELSE start + n % {per} / 12 END AS hour_i
    FROM mixed
"""
_REQUESTS = """
    SELECT key_i, key_i / 2 AS user_i, (key_i / 2) * (key_i / 2) * {organizations}
               / ({users} * {users}) AS organization_i,
           CASE WHEN n % 10 < 3 THEN 0
                ELSE (key_i + CASE WHEN s % 3 = 0 THEN 3 ELSE 0 END) % {models} END AS model_i,
           hour_i, hour_i * 3600 + n % 3600 AS first_at, 1 AS requests,
           CAST(hs + 4294967296 AS varchar(20)) || '-41d2-883f-'
               || CAST(100000000000 + s AS varchar(20)) AS session,
           CASE WHEN s % 10 < 6 THEN 'tag-' || CAST((key_i * 7 + s % 4) % {tags} AS varchar(3))
                ELSE '' END AS tag,
           CASE WHEN h % 100 = 0 THEN 1 ELSE 0 END AS failed,
           50 + h % 2000 AS input_tokens, h / 7 % 1500 AS output_tokens,
           h / 65536 % 60000 AS cache_read_tokens, h % 3000 AS cache_write_5m_tokens,
           1000 + h % 30000 AS duration_ms
    FROM keyed
"""
_SERIES = {
    "postgresql": "SELECT n FROM generate_series(0::bigint, {rows} - 1) AS series(n)",
    "sqlite": "SELECT 0 AS n UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {rows}",
}
# What the writer does row by row: each request counted in its hour, its session and its tag, and
# these in the days, the months and the organizations that they are part of.
_SUMS = """
    SELECT '{kind}' AS kind, {hour} AS hour_i, {organization} AS organization_i,
           {user} AS user_i, {key} AS key_i, {model} AS model_i, {label} AS label,
           sum(requests) AS requests, sum(failed) AS failed,
           sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
           sum(cache_read_tokens) AS cache_read_tokens,
           sum(cache_write_5m_tokens) AS cache_write_5m_tokens,
           sum(duration_ms) AS duration_ms, min(first_at) AS first_at
    FROM {source}
    GROUP BY 2, 3, 4, 5, 6, 7
"""
_DAY, _MONTH = "hour_i / 24 * 24", "0"
_FULL = {
    "organization": "organization_i",
    "user": "user_i",
    "key": "key_i",
    "model": "model_i",
    "label": "''",
}
_ALONE = {"organization": "organization_i", "user": "-1", "key": "-1", "model": "-1", "label": "''"}
_LABELLED = _ALONE | {"user": "user_i"}
_FIRST = (
    _FULL | {"kind": "hour", "hour": "hour_i", "source": "seed_requests"},
    _LABELLED | {"kind": "session", "hour": _DAY, "label": "session", "source": "seed_requests"},
    _LABELLED
    | {"kind": "tag", "hour": _DAY, "label": "tag", "source": "seed_requests WHERE tag <> ''"},
)
_THEN = (
    _FULL | {"kind": "day", "hour": _DAY, "source": "seed_sums WHERE kind = 'hour'"},
    _FULL | {"kind": "month", "hour": _MONTH, "source": "seed_sums WHERE kind = 'day'"},
    _ALONE | {"kind": "orghour", "hour": "hour_i", "source": "seed_sums WHERE kind = 'hour'"},
    _ALONE | {"kind": "orgday", "hour": _DAY, "source": "seed_sums WHERE kind = 'orghour'"},
    _ALONE
    | {
        "kind": "total",
        "hour": "hour_i",
        "organization": "-1",
        "source": "seed_sums WHERE kind = 'orghour'",
    },
    _LABELLED
    | {
        "kind": "sesmon",
        "hour": _MONTH,
        "label": "label",
        "source": "seed_sums WHERE kind = 'session'",
    },
    _LABELLED
    | {
        "kind": "tagmon",
        "hour": _MONTH,
        "label": "label",
        "source": "seed_sums WHERE kind = 'tag'",
    },
)
# In the order in which the writer would have met them: rows of one kind do not lie together.
_AMOUNTS = """requests, failed, estimated, input_tokens, output_tokens, cache_read_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, server_tool_uses, tool_calls, cost_nano,
    duration_ms"""
_SUMMED = """requests, failed, 0, input_tokens, output_tokens, cache_read_tokens,
    cache_write_5m_tokens, 0, 0, 0,
    input_tokens * 3000 + output_tokens * 15000 + cache_read_tokens * 300
        + cache_write_5m_tokens * 3750, duration_ms
    FROM seed_sums
    JOIN seed_hours ON seed_hours.i = hour_i
    JOIN seed_organizations ON seed_organizations.i = organization_i"""
_ROLLUPS = f"""
    INSERT INTO billing_usagerollup (kind, starts_at, organization_id, user_id, api_key_id, model,
        agent, label, {_AMOUNTS})
    SELECT kind, seed_hours.at, seed_organizations.id, user_i + 1,
           CASE WHEN key_i < 0 THEN '' ELSE 'key' || CAST(100000000 + key_i AS varchar(9)) END,
           CASE WHEN model_i < 0 THEN '' ELSE 'claude-' || CAST(model_i AS varchar(3)) END,
           '', label, {_SUMMED}
    WHERE kind <> 'sesmon'
    ORDER BY first_at, label
"""
_SESSIONS = f"""
    INSERT INTO billing_usagesession (starts_at, organization_id, user_id, session, {_AMOUNTS})
    SELECT seed_hours.at, seed_organizations.id, user_i + 1, label, {_SUMMED}
    WHERE kind = 'sesmon'
    ORDER BY first_at, label
"""


def seed(rows: int, say: Say) -> None:
    """Fill a migrated, empty database with the sums of a month of `rows` requests."""
    organizations = _people()
    numbers = {
        "rows": rows,
        "per": REQUESTS_IN_A_SESSION,
        "hours": HOURS,
        "organizations": ORGANIZATIONS,
        "users": USERS,
        "keys": KEYS,
        "models": MODELS,
        "tags": TAGS,
    }
    ids = {i: one.pk for i, one in enumerate(organizations)}
    _lookup("seed_organizations", "id", ids | {-1: NO_ORGANIZATION})
    _lookup("seed_hours", "at", {i: MONTH + timedelta(hours=i) for i in range(HOURS)})
    chain = f"numbers AS ({_SERIES[connection.vendor]}), mixed AS ({_MIXED}), keyed AS ({_KEYED})"
    recursive = "RECURSIVE" if connection.vendor == "sqlite" else ""
    _timed(
        "requests",
        f"CREATE TABLE seed_requests AS WITH {recursive} {chain} {_REQUESTS}".format(**numbers),
        say,
    )
    _timed("hours, sessions and tags", f"CREATE TABLE seed_sums AS {_each(_FIRST)}", say)
    for kind in _THEN:
        _timed(kind["kind"], f"INSERT INTO seed_sums {_each([kind])}", say)
    _timed("rollups", _ROLLUPS, say)
    _timed("sessions", _SESSIONS, say)
    for table in ("seed_requests", "seed_sums", "seed_hours", "seed_organizations"):
        _timed(f"drop {table}", f"DROP TABLE {table}", say)
    _timed("analyze", "ANALYZE", say)


def _each(kinds: Sequence[Mapping[str, str]]) -> str:
    return " UNION ALL ".join(f"SELECT * FROM ({_SUMS.format(**kind)}) AS q" for kind in kinds)  # noqa: S608  (of our own making)


def _people() -> list[Organization]:
    organizations = Organization.objects.bulk_create(
        Organization(name=f"Organization {i}") for i in range(ORGANIZATIONS)
    )
    users = User.objects.bulk_create(User(id=i + 1, username=f"user{i}") for i in range(USERS))
    ApiKey.objects.bulk_create(
        ApiKey(
            id=f"key{100_000_000 + i}",
            name=f"key {i}",
            user=users[i // 2],
            organization=organizations[(i // 2) ** 2 * ORGANIZATIONS // USERS**2],
            digest=b"",
        )
        for i in range(KEYS)
    )
    return organizations


def _lookup(table: str, column: str, values: Mapping[int, object]) -> None:
    """A table from numbers to what the database keeps, in its own form."""
    kind = {"id": "uuid", "at": "timestamp with time zone"}[column]
    if connection.vendor == "sqlite":
        kind = "text"
        values = {
            i: one.hex if isinstance(one, UUID) else str(one)[:19] for i, one in values.items()
        }
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (i integer PRIMARY KEY, {column} {kind})")
        rows = [(i, str(value)) for i, value in values.items()]
        cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s)", rows)  # noqa: S608  (names of our own)


def _timed(what: str, sql: str, say: Say) -> None:
    began = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(sql)
    say(f"  {what}: {time.monotonic() - began:.0f} s")
