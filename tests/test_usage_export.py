"""GET /api/v1/usage/export over real sockets: it streams, and a broken end can be told."""

import csv
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO
from pathlib import Path

import httpx
import pytest
from django.db import connection

from accounts.tests.people import Person
from billing.models import UsageRecord
from billing.tests.usage_rows import NOON, row
from tests import gateway as gateways
from tests.gateway import Gateway

PATH = "/api/v1/usage/export?from=2026-11-01&to=2026-12-01"
TABLE = UsageRecord._meta.db_table
# More than what the sockets and the server hold for a client that does not read.
MANY = 12_000
RECEIVE_BYTES = 4096


def fill(person: Person, count: int) -> None:
    """So many rows of the ledger, of about a kilobyte each."""
    UsageRecord.objects.bulk_create(
        [
            row(person, NOON + timedelta(milliseconds=n), session_id="s" * 100, agent_id="a" * 100)
            for n in range(count)
        ],
        batch_size=500,
    )


@contextmanager
def reading_slowly(url: str, key: str, form: str) -> Iterator[socket.socket]:
    """An export whose client has read the first bytes and then reads no more, until it does."""
    port = int(url.rpartition(":")[2])
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        client.settimeout(30)
        client.connect(("127.0.0.1", port))
        client.sendall(
            f"GET {PATH}&format={form} HTTP/1.1\r\nhost: localhost\r\n"
            f"authorization: Bearer {key}\r\nconnection: close\r\n\r\n".encode()
        )
        assert client.recv(1024).startswith(b"HTTP/1.1 200 ")
        yield client


@contextmanager
def ledger_away() -> Iterator[None]:
    """For the time of the block the database has no ledger."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {TABLE} RENAME TO elsewhere")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {TABLE}")


def rest_of(client: socket.socket) -> bytes:
    """What still comes, until the server closes."""
    parts = []
    while part := client.recv(64 * 1024):
        parts.append(part)
    return b"".join(parts)


def test_it_exports_the_same_rows_in_both_formats(
    gateway: Gateway, client: httpx.Client, alice: Person, charlie: Person
) -> None:
    fill(alice, 2_500)  # a page and a half
    fill(charlie, 10)
    table = client.get(PATH, params={"format": "csv"})
    assert table.headers["content-type"].startswith("text/csv")
    assert table.headers["content-disposition"].endswith('-20261201T0000.csv"')
    rows = list(csv.DictReader(StringIO(table.text, newline="")))
    lines = [json.loads(line) for line in client.get(PATH + "&format=jsonl").text.splitlines()]
    ids = [str(each) for each in UsageRecord.objects.filter(user_id=alice.user.pk)]
    assert [each["request_id"] for each in rows] == [each["request_id"] for each in lines]
    assert sorted(ids) == sorted(each["request_id"] for each in rows)


def test_it_stops_reading_when_the_client_leaves(gateway: Gateway, alice: Person) -> None:
    fill(alice, MANY)
    with reading_slowly(gateway.url, gateway.key, "csv"):
        pass
    # The server goes on, and its log has no traceback: the fixture looks at the end.
    assert httpx.get(f"{gateway.url}/v1/health", trust_env=False).status_code == 200


def test_it_ends_with_an_error_line_when_the_database_goes_away(
    gateway: Gateway, alice: Person
) -> None:
    fill(alice, MANY)
    with reading_slowly(gateway.url, gateway.key, "jsonl") as client, ledger_away():
        body = rest_of(client)
    assert b'{"error": {"type": "api_error"' in body
    assert body.endswith(b"0\r\n\r\n")


def test_it_breaks_off_a_table_when_the_database_goes_away(
    key: str, alice: Person, tmp_path: Path
) -> None:
    fill(alice, MANY)
    # A gateway of its own: what breaks off leaves a traceback in the log.
    with gateways.running(tmp_path / "log") as (url, _):
        with reading_slowly(url, key, "csv") as client, ledger_away():
            body = rest_of(client)
        assert not body.endswith(b"0\r\n\r\n"), "the end of a whole answer"
        with (
            pytest.raises(httpx.RemoteProtocolError),
            ledger_away(),
        ):
            headers = {"authorization": f"Bearer {key}"}
            httpx.get(url + PATH, headers=headers, trust_env=False)
