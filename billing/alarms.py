"""Tell operators of what is wrong: one row for each thing, with a count."""

from datetime import UTC, datetime

from django.db import connection

from billing.models import Alarm

Code = Alarm.Code
_TABLE = Alarm._meta.db_table
_SUBJECT_CHARS = 300
_DETAIL_CHARS = 2000


def sound(code: Alarm.Code, subject: str, detail: str = "") -> None:
    """Sound an alarm from a command or a page, in its own transaction."""
    now = connection.ops.adapt_datetimefield_value(datetime.now(UTC))
    row = (code.value, _plain(subject)[:_SUBJECT_CHARS], _plain(detail)[:_DETAIL_CHARS])
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {_TABLE} (code, subject, detail, count, first_at, last_at)"  # noqa: S608  (names of ours)
            " VALUES (%s, %s, %s, 1, %s, %s) ON CONFLICT (code, subject) DO UPDATE SET"
            f" count = {_TABLE}.count + 1, detail = excluded.detail, last_at = excluded.last_at",
            [*row, now, now],
        )


def _plain(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()
