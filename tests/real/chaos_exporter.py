"""The exporter of the chaos: killed in the middle of its batches, in front of a Lago that sulks."""

import threading
from collections.abc import Callable, Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Any

import psycopg

from tests import gateway, lago
from tests.real.chaos_processes import LagoProcess, Program

BATCH_S = 60.0  # until it has a batch in its hands: its back-off may have come to half a minute
TIMEOUT_S = 40.0  # it waits 20 s for an answer
PAUSE_S = 2.0  # between two misfortunes
RESTART_S = 1.0
DEEDS = (*lago.MISDEEDS, lago.REFUSE)
HOLDS = 5  # in a row: a batch of which Lago has some is refused before it can be held

_IN_HANDS = """
    SELECT count(*) FROM billing_outboxevent WHERE state = 'pending' AND leased_until >= %s
"""


class Misfortune(Enum):
    """What befalls the exporter."""

    KILLED_IN_DOUBT = auto()  # when Lago has its batch and has not said so
    KILLED = auto()  # when it has a batch
    TIMEOUT = auto()  # Lago has its batch and never says so


MISFORTUNES = (
    Misfortune.KILLED_IN_DOUBT,
    Misfortune.KILLED,
    Misfortune.KILLED_IN_DOUBT,
    Misfortune.TIMEOUT,
    Misfortune.KILLED,
)


class Exporter:
    """`manage.py exportusage`, and what happens to it."""

    def __init__(
        self, seed: int, to: LagoProcess, database: str, settings: Mapping[str, str], folder: Path
    ) -> None:
        self.kills = 0
        self._seed = seed
        self._lago = to
        self._database = database
        self.program = Program(
            "manage.py", "exportusage", settings=settings, log=folder / "exporter.log"
        )

    def suffer(self, stop: threading.Event) -> None:
        """All misfortunes, one after the other, as long as there is something to send."""
        self._misbehave()
        for misfortune in MISFORTUNES:
            if stop.wait(PAUSE_S) or not self._reached(misfortune, stop):
                return
            if misfortune is not Misfortune.TIMEOUT:
                self.program.kill()
                self.kills += 1
                stop.wait(RESTART_S)
                self.program.start()
                self._misbehave(lago.REFUSE)

    def _reached(self, misfortune: Misfortune, stop: threading.Event) -> bool:
        """Wait for the worst moment; whether it came."""
        if misfortune is Misfortune.KILLED:
            return self._has_claimed(stop)
        self._misbehave(*[lago.HOLD] * HOLDS)
        was_held = _until(lambda: self._lago.state()["held"], BATCH_S, stop)
        if misfortune is Misfortune.TIMEOUT and was_held:
            self._misbehave(lago.REFUSE)
            told = self.program.said().count("timed out")
            return _until(lambda: self.program.said().count("timed out") > told, TIMEOUT_S, stop)
        return was_held

    def _misbehave(self, *script: str) -> None:
        """By chance, and at first as the script says."""
        behaviour: dict[str, Any] = {"seed": self._seed + self.kills, "deeds": DEEDS}
        self._lago.behave(**behaviour, script=script)

    def _has_claimed(self, stop: threading.Event) -> bool:
        """Return when it has claimed a batch after now."""
        with psycopg.connect(self._database, autocommit=True) as connection:
            (since,) = connection.execute("SELECT now() + interval '60 s'").fetchone() or (None,)

            def claimed() -> bool:
                (count,) = connection.execute(_IN_HANDS, [since]).fetchone() or (0,)
                return bool(count)

            return _until(claimed, BATCH_S, stop)


def _until(happened: Callable[[], bool], within_s: float, stop: threading.Event) -> bool:
    """Whether it happened before everything stopped. It must, or within that time."""
    gateway.eventually(lambda: happened() or stop.is_set(), within_s)
    return not stop.is_set()
