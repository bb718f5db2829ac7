"""What is to be done next about a call. `work` decides it, `runner` does it."""

from dataclasses import dataclass

from opscenter_connector import frames, happenings
from opscenter_connector.journal import End


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Find out whether this machine allows it, then say `judged`."""

    call: frames.Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Write `s`, then say `written`."""

    call: frames.Call
    by: str  # what let it begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Ask the local server, then say `ended`."""

    call: frames.Call
    number: int  # of the run; the same call may come again
    remaining_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Cancel the run of this number; it still says `ended`."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Write `d`, then say `kept`."""

    id: str
    fence: int
    end: End


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Write `a`; nobody waits for it. `ran` is false for what may come again."""

    id: str
    fence: int
    ran: bool


Action = Judge | Begin | Run | Stop | Keep | Forget | frames.FromConnector | happenings.Happening
