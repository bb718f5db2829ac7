"""Tell operators of what is wrong: one row for each thing, with a count."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connection

from billing import writer
from billing.models import Alarm

Code = Alarm.Code
_TABLE = Alarm._meta.db_table
_SUBJECT_CHARS = 300
_DETAIL_CHARS = 2000


class _Sound(NamedTuple):
    code: str
    subject: str
    detail: str


def put(code: Alarm.Code, subject: str, detail: str = "") -> None:
    """Sound an alarm from the event loop; it is written soon."""
    writer.current().put(_SOUND, _sound(code, subject, detail))


def sound(code: Alarm.Code, subject: str, detail: str = "") -> None:
    """Sound an alarm from a command or a page, in its own transaction."""
    _write([_sound(code, subject, detail)])


def resolve(code: Alarm.Code, subject: str) -> None:
    """Take an alarm away whose reason is gone, from a command or a page."""
    wanted = _sound(code, subject, "")
    Alarm.objects.filter(code=wanted.code, subject=wanted.subject).delete()


def unpriced(target_model: str, upstream: str) -> str:
    """The subject of an alarm of a model without a price."""
    return f"{target_model} at {upstream}"


def _sound(code: Alarm.Code, subject: str, detail: str) -> _Sound:
    return _Sound(code.value, _plain(subject)[:_SUBJECT_CHARS], _plain(detail)[:_DETAIL_CHARS])


def _plain(text: str) -> str:
    return text.replace("\0", "").encode(errors="replace").decode()


def _write(sounds: Sequence[Any]) -> None:
    counts: dict[tuple[str, str], tuple[int, str]] = {}
    for code, subject, detail in sounds:
        counts[code, subject] = (counts.get((code, subject), (0, ""))[0] + 1, detail)
    now = connection.ops.adapt_datetimefield_value(datetime.now(UTC))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {_TABLE} (code, subject, detail, count, first_at, last_at)"  # noqa: S608  (names of ours)
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (code, subject) DO UPDATE SET"
            f" count = {_TABLE}.count + excluded.count, detail = excluded.detail,"
            " last_at = excluded.last_at",
            [(*key, detail, count, now, now) for key, (count, detail) in sorted(counts.items())],
        )


_SOUND = writer.Statement(9, _write)  # after all that others may wait for
