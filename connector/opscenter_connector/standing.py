"""How things stand now, put together from what has happened: the status line in words."""

from dataclasses import dataclass, field

from opscenter_connector import happenings as h
from opscenter_connector.plain import clean
from opscenter_connector.wording import counted, seconds

REASON_CHARS = 60  # the lines above have the whole of it


@dataclass(slots=True, kw_only=True)
class Running:
    """A call that runs now."""

    name: str
    since_s: float
    progress: str = ""


@dataclass(slots=True, kw_only=True)
class Standing:
    """The present. `now_s` is a clock that never goes back."""

    host: str
    transport: str = ""  # empty while not connected
    reason: str = ""
    again_at_s: float | None = None
    stopping: bool = False
    tools: dict[str, int] = field(default_factory=dict)  # of servers that are ready
    down: set[str] = field(default_factory=set)
    running: dict[str, Running] = field(default_factory=dict)
    done: int = 0
    failed: int = 0

    def see(self, it: h.Happening, *, now_s: float) -> None:
        """Take in what has happened."""
        if isinstance(it, h.ServerChanged):
            self._see_server(it)
        elif isinstance(it, (h.CallStarted, h.CallProgress, h.CallEnded)):
            self._see_call(it, now_s)
        else:
            self._see_link(it, now_s)

    def _see_link(self, it: h.Happening, now_s: float) -> None:
        if isinstance(it, h.Connected):
            self.transport, self.reason, self.again_at_s = it.transport, "", None
        elif isinstance(it, h.Lost):
            self.transport, self.reason = "", clean(it.reason, REASON_CHARS)
        elif isinstance(it, h.Waiting):
            self.again_at_s = now_s + it.delay_s
        elif isinstance(it, h.Connecting):
            self.again_at_s = None
        elif isinstance(it, h.Stopping):
            self.stopping = True

    def _see_server(self, it: h.ServerChanged) -> None:
        self.tools.pop(it.server, None)
        self.down.discard(it.server)
        if it.state == "ready":
            self.tools[it.server] = it.tools
        elif it.state == "failed":
            self.down.add(it.server)

    def _see_call(self, it: h.CallStarted | h.CallProgress | h.CallEnded, now_s: float) -> None:
        if isinstance(it, h.CallStarted):
            name = clean(f"{it.server}.{it.tool}", REASON_CHARS)
            self.running[it.id] = Running(name=name, since_s=now_s)
        elif isinstance(it, h.CallProgress):
            if it.id in self.running and it.total:
                self.running[it.id].progress = f" {min(it.progress / it.total, 1):.0%}"
        else:
            self.running.pop(it.id, None)
            good = it.outcome == "done" and not it.is_error
            self.done, self.failed = self.done + good, self.failed + (not good)

    @property
    def is_connected(self) -> bool:
        return bool(self.transport)

    def parts(self, *, now_s: float, short: int = 0) -> list[tuple[str, int]]:
        """The status line in pieces, each with its rank: 0 is never left out.

        `short` is 0 to 2: with everything, without the host, and without the number of servers.
        """
        found = [(self._link(now_s, short), 0), (self._fronted(short), 3)]
        if self.down:
            found.append((f"{len(self.down)} down", 2))
        found += [(f"{len(self.running)} running", 1), (f"{self.done} done", 5)]
        if self.failed:
            found.append((f"{self.failed} failed", 4))
        return found

    def _link(self, now_s: float, short: int) -> str:
        if self.stopping:
            return "stopping"
        where = "" if short else f" to {self.host}"
        if self.transport:
            return self.transport if short else f"connected by {self.transport}{where}"
        if self.again_at_s is None:
            return f"connecting{where}"
        left = seconds(max(self.again_at_s - now_s, 1))
        return f"offline, again in {left}" if short else f"not connected{where}, again in {left}"

    def _fronted(self, short: int) -> str:
        tools = counted(sum(self.tools.values()), "tool")
        return tools if short > 1 else f"{counted(len(self.tools), 'server')}, {tools}"

    def longest(self, *, now_s: float) -> str:
        """The call that has run longest, if any."""
        if not self.running:
            return ""
        one = min(self.running.values(), key=lambda running: running.since_s)
        return f"{one.name}{one.progress} {seconds(now_s - one.since_s)}"
