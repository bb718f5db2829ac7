"""How each happening reads: a level, an event's name, and one line for a person."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opscenter_connector import happenings as h
from opscenter_connector.plain import MOST, clean

LEVELS = ("debug", "info", "warning", "error")

TWO_PATHS = 10_000  # characters; half of where something lies is of no use
# What `outcome: interrupted` means to a person, everywhere the same.
UNKNOWN = "outcome unknown: it had begun, and nobody saw how it ended; it is not run again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line. `mark` is a sign in front of it, for the eye."""

    level: str
    text: str
    mark: str = " "


def line(happening: h.Happening) -> Line:
    """The line for `happening`, fit for a terminal."""
    said = _SAY[type(happening)](happening)
    most = TWO_PATHS if isinstance(happening, h.Quarantined) else MOST
    return Line(level=said.level, text=clean(said.text, most), mark=said.mark)


def event(happening: h.Happening) -> str:
    """The happening's name in logs: CallEnded is call_ended."""
    name = type(happening).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def seconds(value: float) -> str:
    """A length of time as people say it."""
    if value < 10:
        return f"{value:.2g} s" if value >= 0.01 else "0.01 s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.0f} h"


def counted(number: int, noun: str) -> str:
    """`1 tool`, `2 tools`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def call(server: str, tool: str, id_: str) -> str:
    """How a call is called: the end of its id tells two of one tool apart."""
    return f"{server}.{tool} #{id_[-4:]}"


def _connecting(it: h.Connecting) -> Line:
    again = f" (attempt {it.attempt})" if it.attempt > 1 else ""
    level = "debug" if it.attempt > 1 else "info"
    return Line(level=level, text=f"connecting by {it.transport}{again}")


def _connected(it: h.Connected) -> Line:
    takes = counted(it.max_in_flight, "call")
    text = f"connected by {it.transport}, session {it.epoch}; takes {takes} at once"
    return Line(level="info", text=text, mark="●")


def _lost(it: h.Lost) -> Line:
    code = f" ({it.code})" if it.code is not None else ""
    return Line(level="warning", text=f"not connected{code}: {it.reason}", mark="○")


def _waiting(it: h.Waiting) -> Line:
    text = f"trying again by {it.transport} in {seconds(it.delay_s)}"
    return Line(level="info", text=text)


def _fell_back(it: h.FellBack) -> Line:
    text = (
        f"polling, because the WebSocket does not work here: {it.reason}; "
        f"it is tried again in {seconds(it.again_s)}"
    )
    return Line(level="warning", text=text, mark="↓")


def _climbed_back(_: h.ClimbedBack) -> Line:
    return Line(level="info", text="back on the WebSocket", mark="↑")


def _server_changed(it: h.ServerChanged) -> Line:
    if it.state == "starting":
        return Line(level="info", text=f"server {it.server} starts")
    if it.state == "ready":
        version = " ".join(part for part in (it.title, it.version) if part)
        more = ", ".join(part for part in (version, it.era and f"MCP {it.era}") if part)
        text = f"server {it.server} is ready: {counted(it.tools, 'tool')}"
        return Line(level="info", text=f"{text} ({more})" if more else text, mark="+")
    again = f"; started again in {seconds(it.retry_s)}" if it.retry_s is not None else ""
    return Line(level="error", text=f"server {it.server} failed: {it.error}{again}", mark="!")


def _server_said(it: h.ServerSaid) -> Line:
    return Line(level="debug", text=f"{it.server} says: {it.line}")


def _server_babbled(it: h.ServerBabbled) -> Line:
    text = (
        f"server {it.server} has written {counted(it.lines, 'line')} to its standard output that "
        "are no MCP; they are passed over (its log belongs on standard error)"
    )
    return Line(level="debug", text=text)


def _sandbox_found(it: h.SandboxFound) -> Line:
    why = f" ({it.why})" if it.why else ""
    if not it.layer:
        return Line(level="error", text=it.why, mark="!")
    if it.layer == "none":
        text = (
            f"no sandbox holds commands here{why}; a person is asked before each of them, and one "
            "that is approved may do all that you may"
        )
        return Line(level="warning", text=text, mark="!")
    text = f"{it.layer} holds commands: {counted(it.held, 'attempt')} to get out failed"
    return Line(level="info", text=f"{text}; no better sandbox{why}" if why else text, mark="+")


def _quarantined(it: h.Quarantined) -> Line:
    more = f"; and {it.more} more, which the result of the call names" if it.more else ""
    if not it.place:
        text = (
            f"{it.path} was left by a command, programs of yours obey it, and it could not be "
            f"moved away: look at it before you work there{more}"
        )
        return Line(level="error", text=text, mark="!")
    if it.place == it.path:
        text = f"a command had changed or moved {it.path}: it is as it was{more}"
        return Line(level="warning", text=text, mark="!")
    text = (
        f"quarantine: a command left {it.path}, which programs of yours obey; "
        f"it is in {it.place} now{more}"
    )
    return Line(level="warning", text=text, mark="!")


def _refused(it: h.Refused) -> Line:
    where = f", {it.field}" if it.field else ""
    text = f"the gateway does not take {it.what} {it.name}{where}: {it.reason}"
    return Line(level="warning", text=text, mark="!")


def _call_started(it: h.CallStarted) -> Line:
    effects = "" if it.has_effects else ", read-only"
    text = f"{call(it.server, it.tool, it.id)} begins (at most {seconds(it.limit_s)}{effects})"
    return Line(level="info", text=text, mark="▶")


def _call_progress(it: h.CallProgress) -> Line:
    total = f" of {it.total:g}" if it.total is not None else ""
    text = f"#{it.id[-4:]} is at {it.progress:g}{total} {it.message}"
    return Line(level="debug", text=text)


def _call_ended(it: h.CallEnded) -> Line:
    what, took = call(it.server, it.tool, it.id), seconds(it.took_s)
    note = f": {it.note}" if it.note else ""
    if it.outcome == "done" and not it.is_error:
        return Line(level="info", text=f"{what} done in {took}{note}", mark="✔")
    if it.outcome == "cancelled":
        return Line(level="info", text=f"{what} cancelled after {took}{note}", mark="✖")
    if it.outcome == "interrupted":
        return Line(level="error", text=f"{what}: {UNKNOWN}{note}", mark="?")
    says = "says that it failed" if it.is_error else "failed"
    return Line(level="warning", text=f"{what} {says} after {took}{note}", mark="✖")


def _call_delivered(it: h.CallDelivered) -> Line:
    if it.verdict in {"accepted", "duplicate"}:
        return Line(level="debug", text=f"the result of #{it.id[-4:]} is delivered ({it.verdict})")
    why = {
        "conflict": "another result is there, or the call was given to somebody else",
        "unknown": "it knows no such call",
    }.get(it.verdict, it.verdict)
    text = f"the gateway did not take the result of #{it.id[-4:]}: {why}"
    return Line(level="warning", text=text, mark="!")


def _call_denied(it: h.CallDenied) -> Line:
    text = f"{call(it.server, it.tool, it.id)} is not begun: {it.reason}"
    return Line(level="info", text=text, mark="✖")


def _call_released(it: h.CallReleased) -> Line:
    text = f"{call(it.server, it.tool, it.id)} is given back, not begun: {it.reason}"
    return Line(level="info", text=text, mark="↩")


def _call_refused(it: h.CallRefused) -> Line:
    text = f"{call(it.server, it.tool, it.id)} is refused here: {it.reason}"
    return Line(level="warning", text=text, mark="✖")


def _call_asked(it: h.CallAsked) -> Line:
    where = ["in this terminal"] * it.here
    if it.elsewhere:
        where.append("on the gateway's page /approvals/ or over its API")
    what = call(it.server, it.tool, it.id)
    text = f"{what} waits for a person ({it.reason}); approve it {', '.join(where)}"
    return Line(level="warning", text=text, mark="?")


def _call_decided(it: h.CallDecided) -> Line:
    text = f"#{it.id[-4:]} is {'approved, once,' if it.approve else 'refused'} in this terminal"
    return Line(level="info", text=text, mark="✔" if it.approve else "✖")


def _call_settled(it: h.CallSettled) -> Line:
    said = {
        "expired": "nobody has approved it in time",
        "withdrawn": "it is not asked any more",
        "unknown": "the gateway does not ask it any more",
    }.get(it.state, f"it is {it.state}")
    return Line(level="info", text=f"#{it.id[-4:]}: {said}", mark=" ")


def _recovered(it: h.Recovered) -> Line:
    if it.outcome == "interrupted":
        return Line(level="warning", text=f"from before: #{it.id[-4:]}: {UNKNOWN}", mark="?")
    text = f"from before: the result of #{it.id[-4:]} ({it.outcome}) is sent again"
    return Line(level="info", text=text)


def _trouble(it: h.Trouble) -> Line:
    return Line(level="error", text=f"{it.what}: {it.reason}", mark="!")


def _stopping(it: h.Stopping) -> Line:
    if not it.running:
        return Line(level="info", text="stopping")
    text = (
        f"stopping: {counted(it.running, 'call')} may end within {seconds(it.within_s)}; "
        "a second Ctrl-C ends at once"
    )
    return Line(level="warning", text=text, mark="■")


_SAY: dict[type[Any], Callable[[Any], Line]] = {
    h.Connecting: _connecting,
    h.Connected: _connected,
    h.Lost: _lost,
    h.Waiting: _waiting,
    h.FellBack: _fell_back,
    h.ClimbedBack: _climbed_back,
    h.ServerChanged: _server_changed,
    h.ServerSaid: _server_said,
    h.ServerBabbled: _server_babbled,
    h.SandboxFound: _sandbox_found,
    h.Quarantined: _quarantined,
    h.Refused: _refused,
    h.CallStarted: _call_started,
    h.CallProgress: _call_progress,
    h.CallEnded: _call_ended,
    h.CallDelivered: _call_delivered,
    h.CallDenied: _call_denied,
    h.CallReleased: _call_released,
    h.CallRefused: _call_refused,
    h.CallAsked: _call_asked,
    h.CallDecided: _call_decided,
    h.CallSettled: _call_settled,
    h.Recovered: _recovered,
    h.Trouble: _trouble,
    h.Stopping: _stopping,
}
