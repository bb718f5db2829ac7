"""Takes what happens from the event loop to the terminal or the log, on a thread of its own.

A terminal can stop taking text, after a Ctrl-S for hours. On the event loop that would end
the renewals of running calls; here it only fills a queue.
"""

import dataclasses
import queue
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Protocol

from opscenter_connector import happenings, secrets, wording
from opscenter_connector.happenings import Happening
from opscenter_connector.plain import clean

WAITING_MOST = 2000  # a few minutes of a busy connector; more is dropped and counted
TICK_S = 0.25  # how often the status line moves by itself
HIDDEN = "(the key)"
CLOSE_S = 2.0  # a terminal that takes nothing does not keep the program alive


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line and what it is made from."""

    at: datetime
    line: wording.Line
    event: str
    fields: dict[str, Any]


class Sink(Protocol):
    """Where entries go. Called by one thread only."""

    def see(self, happening: Happening) -> None:
        """Take in what is so now, whether or not it is shown."""

    def show(self, entry: Entry) -> None:
        """Show or write one line."""

    def tick(self) -> None:
        """A moment has passed."""

    def close(self) -> None:
        """Nothing more comes."""


class Teller:
    """`tell` returns at once; the sink does the rest when it can."""

    def __init__(self, sink: Sink, level: str, *, secret: str = "") -> None:
        self._sink = sink
        self._secret = secret  # stands in no line, even where a gateway sends it back
        self._least = wording.LEVELS.index(level)
        self._queue: queue.Queue[tuple[datetime, _Told] | None]
        self._queue = queue.Queue(WAITING_MOST)
        self._repeats = Repeats()
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="telling", daemon=True)
        self._thread.start()

    def tell(self, happening: Happening) -> None:
        """Never waits."""
        self._put(happening)

    def note(self, level: str, text: str, **fields: Any) -> None:
        """A line that stands for no happening."""
        # Not cut: where a file lies must be said whole. Whoever passes on others' words has.
        mark = "!" if level in {"warning", "error"} else " "
        line = wording.Line(level=level, text=clean(text, len(text) + 1), mark=mark)
        self._put(Entry(at=_now(), line=line, event="note", fields=fields))

    def do(self, action: Callable[[], None]) -> None:
        """On the sink's thread, in its turn, and then draw what has come of it. Never waits."""
        self._put(action)

    def close(self) -> None:
        """Give what is left a moment to be shown."""
        try:
            self._queue.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)

    def _put(self, told: "_Told") -> None:
        try:
            self._queue.put_nowait((_now(), told))
        except queue.Full:
            self._dropped += 1

    def _run(self) -> None:
        try:
            self._show_all()
        except (OSError, ValueError):
            return  # the terminal or the pipe has gone; the work goes on without it
        self._sink.close()

    def _show_all(self) -> None:
        ticked = time.monotonic()
        while True:
            try:
                item = self._queue.get(timeout=TICK_S)
            except queue.Empty:
                self._sink.tick()
                continue
            if item is None:
                return
            self._show(*item)
            if time.monotonic() - ticked > TICK_S:
                ticked = time.monotonic()
                self._sink.tick()

    def _show(self, at: datetime, told: "_Told") -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._write(_entry_of_dropped(dropped))
        if isinstance(told, Entry):
            self._write(told)
            return
        if not isinstance(told, Happening):
            told()
            self._sink.tick()
            return
        self._sink.see(told)
        line = wording.line(told)
        if self._repeats.says_nothing_new(told):
            line = dataclasses.replace(line, level="debug")
        fields = {field.name: getattr(told, field.name) for field in dataclasses.fields(told)}
        self._write(Entry(at=at, line=line, event=wording.event(told), fields=fields))

    def _write(self, entry: Entry) -> None:
        if wording.LEVELS.index(entry.line.level) >= self._least:
            self._sink.show(_without(self._secret, entry))


_Told = Happening | Entry | Callable[[], None]


class Repeats:
    """Recognizes an attempt that failed as the one before did: a night offline is a few lines.

    By transport, for both are tried in turn, and by server, for one may be broken for days.
    """

    def __init__(self) -> None:
        self._lost: dict[str, tuple[int | None, str]] = {}
        self._failed: dict[str, str] = {}
        self._is_repeat = False

    def says_nothing_new(self, it: Happening) -> bool:
        """Whether a person already knows."""
        if isinstance(it, happenings.ServerChanged):
            return self._of_server(it)
        if isinstance(it, happenings.Connected):
            self._lost.clear()
        elif isinstance(it, happenings.Lost):
            this = (it.code, it.reason)
            self._is_repeat = self._lost.get(it.transport) == this
            self._lost[it.transport] = this
            return self._is_repeat
        return self._is_repeat and isinstance(it, happenings.Waiting)

    def _of_server(self, it: happenings.ServerChanged) -> bool:
        if it.state == "ready":
            self._failed.pop(it.server, None)
        if it.state != "failed":
            return it.state == "starting" and it.server in self._failed
        is_repeat = self._failed.get(it.server) == it.error
        self._failed[it.server] = it.error
        return is_repeat


def _without(secret: str, entry: Entry) -> Entry:
    """Nor with what looks like one: a tool's refusal quotes what it was asked."""

    def clear(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return secrets.hidden(value.replace(secret, HIDDEN) if secret else value)

    line = dataclasses.replace(entry.line, text=clear(entry.line.text))
    fields = {name: clear(value) for name, value in entry.fields.items()}
    return dataclasses.replace(entry, line=line, fields=fields)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _entry_of_dropped(dropped: int) -> Entry:
    text = f"{wording.counted(dropped, 'line')} not shown: nobody took them"
    line = wording.Line(level="warning", text=text, mark="!")
    return Entry(at=_now(), line=line, event="dropped", fields={"lines": dropped})
