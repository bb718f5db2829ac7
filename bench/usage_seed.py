"""A month as ten million requests would leave it, made inside the database by its own SQL."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.contrib.auth.models import User
from django.db import connection

from accounts.models import ApiKey, Organization

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
           hour_i, hour_i * 3600 + n % 3600 AS at,
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
# What the writer does row by row: each request counted in its hour, day, month, session and tag.
_SUMS = """
    SELECT '{kind}' AS kind, {hour} AS hour_i, organization_i, user_i, {key} AS key_i,
           {model} AS model_i, {label} AS label, count(*) AS requests, sum(failed) AS failed,
           sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
           sum(cache_read_tokens) AS cache_read_tokens,
           sum(cache_write_5m_tokens) AS cache_write_5m_tokens,
           sum(duration_ms) AS duration_ms, min(at) AS first_at
    FROM seed_requests {where}
    GROUP BY 2, 3, 4, 5, 6, 7
"""
_DAY = "hour_i / 24 * 24"
_ALL = {"key": "-1", "model": "-1", "where": ""}
_KINDS = (
    _ALL | {"kind": "hour", "hour": "hour_i", "key": "key_i", "model": "model_i", "label": "''"},
    _ALL | {"kind": "day", "hour": _DAY, "key": "key_i", "model": "model_i", "label": "''"},
    _ALL | {"kind": "month", "hour": "0", "key": "key_i", "model": "model_i", "label": "''"},
    _ALL | {"kind": "session", "hour": _DAY, "label": "session"},
    _ALL | {"kind": "tag", "hour": _DAY, "label": "tag", "where": "WHERE tag <> ''"},
    _ALL | {"kind": "tagmon", "hour": "0", "label": "tag", "where": "WHERE tag <> ''"},
)
# In the order in which the writer would have met them: rows of one kind do not lie together.
_INSERT = """
    INSERT INTO billing_usagerollup (kind, starts_at, organization_id, user_id, api_key_id, model,
        agent, label, requests, failed, estimated, input_tokens, output_tokens, cache_read_tokens,
        cache_write_5m_tokens, cache_write_1h_tokens, server_tool_uses, tool_calls, cost_nano,
        duration_ms)
    SELECT kind, seed_hours.at, seed_organizations.id, user_i + 1,
           CASE WHEN key_i < 0 THEN '' ELSE 'key' || CAST(100000000 + key_i AS varchar(9)) END,
           CASE WHEN model_i < 0 THEN '' ELSE 'claude-' || CAST(model_i AS varchar(3)) END,
           '', label, requests, failed, 0, input_tokens, output_tokens, cache_read_tokens,
           cache_write_5m_tokens, 0, 0, 0,
           input_tokens * 3000 + output_tokens * 15000 + cache_read_tokens * 300
               + cache_write_5m_tokens * 3750,
           duration_ms
    FROM seed_sums
    JOIN seed_hours ON seed_hours.i = hour_i
    JOIN seed_organizations ON seed_organizations.i = organization_i
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
    _lookup("seed_organizations", "id", [one.pk for one in organizations])
    _lookup("seed_hours", "at", [MONTH + timedelta(hours=hour) for hour in range(HOURS)])
    chain = f"numbers AS ({_SERIES[connection.vendor]}), mixed AS ({_MIXED}), keyed AS ({_KEYED})"
    recursive = "RECURSIVE" if connection.vendor == "sqlite" else ""
    _timed(
        "requests",
        f"CREATE TABLE seed_requests AS WITH {recursive} {chain} {_REQUESTS}".format(**numbers),
        say,
    )
    sums = " UNION ALL ".join(f"SELECT * FROM ({_SUMS.format(**kind)}) AS q" for kind in _KINDS)  # noqa: S608  (of our own making)
    _timed("sums", f"CREATE TABLE seed_sums AS {sums}", say)
    _timed("rollups", _INSERT, say)
    for table in ("seed_requests", "seed_sums", "seed_hours", "seed_organizations"):
        _timed(f"drop {table}", f"DROP TABLE {table}", say)
    _timed("analyze", "ANALYZE", say)


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


def _lookup(table: str, column: str, values: Sequence[object]) -> None:
    """A table from numbers to what the database keeps, in its own form."""
    kind = {"id": "uuid", "at": "timestamp with time zone"}[column]
    if connection.vendor == "sqlite":
        kind = "text"
        values = [v.hex if isinstance(v, UUID) else str(v)[:19] for v in values]
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (i integer PRIMARY KEY, {column} {kind})")
        rows = [(i, str(value)) for i, value in enumerate(values)]
        cursor.executemany(f"INSERT INTO {table} VALUES (%s, %s)", rows)  # noqa: S608  (names of our own)


def _timed(what: str, sql: str, say: Say) -> None:
    began = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(sql)
    say(f"  {what}: {time.monotonic() - began:.0f} s")
