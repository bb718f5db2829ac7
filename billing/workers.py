"""This process among those that have requests under way, and which of the others are dead."""

import os
import socket
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from billing import writer
from billing.models import Worker

BEAT_S = 5.0  # between two beats
DEAD_S = 30.0  # without a beat; a process that stalls for longer is better taken for dead
LOOKS_S = 15.0  # between two looks at most: who did not look cannot say that nothing happened

OWN_ID = uuid.uuid4()
_TABLE = Worker._meta.db_table
Beats = Mapping[uuid.UUID | None, int | None]


def beat() -> None:
    """Say that this process is alive; it is written soon."""
    writer.current().put(_BEAT, OWN_ID)


def _write(ids: Sequence[Any]) -> None:
    own_id = OWN_ID if connection.features.has_native_uuid_field else OWN_ID.hex
    name = f"{socket.gethostname()[:80]} {os.getpid()}"
    now = connection.ops.adapt_datetimefield_value(datetime.now(UTC))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {_TABLE} (id, beat, name, started_at) VALUES (%s, 1, %s, %s)"  # noqa: S608  (names of ours)
            f" ON CONFLICT (id) DO UPDATE SET beat = {_TABLE}.beat + 1",
            (own_id, name, now),
        )


_BEAT = writer.Statement(0, _write)


class Watch:
    """Which processes have stopped beating, by the looks and the clock of this one alone."""

    def __init__(self) -> None:
        self._seen: dict[uuid.UUID | None, tuple[int | None, float]] = {}
        self._looked_at: float | None = None

    def dead(self, beats: Beats, now_s: float) -> list[uuid.UUID | None]:
        """Those whose beat has stood still for DEAD_S of our own looking.

        A database that was away stops every beat: after such a pause the watch begins anew.
        `now_s` is a monotonic time.
        """
        if self._looked_at is None or now_s - self._looked_at > LOOKS_S:
            self._seen.clear()
        self._looked_at = now_s
        self._seen = {worker: self._kept(worker, beat, now_s) for worker, beat in beats.items()}
        own = self._seen.get(OWN_ID)
        if own is not None and now_s - own[1] >= LOOKS_S:
            self._seen.clear()  # our own heart beats, but nobody can write it down
            return []
        return [worker for worker, (_, since) in self._seen.items() if now_s - since >= DEAD_S]

    def _kept(
        self, worker: uuid.UUID | None, beat: int | None, now_s: float
    ) -> tuple[int | None, float]:
        known = self._seen.get(worker)
        return known if known is not None and known[0] == beat else (beat, now_s)


def beats(of: Iterable[uuid.UUID | None]) -> Beats:
    """The beats of all processes, and of those named that have none."""
    found: dict[uuid.UUID | None, int | None] = dict.fromkeys(of)
    found.update(Worker.objects.values_list("id", "beat"))
    return found


def forget(worker: uuid.UUID) -> None:
    """Take a process off the list: it has ended, and nothing of it is open."""
    Worker.objects.filter(id=worker).delete()
