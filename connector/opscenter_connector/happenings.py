"""What the running connector tells: the screen shows it, the log writes it down.

Nothing here carries arguments, results or credentials.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Connecting:
    """An attempt to open a session begins."""

    transport: str  # websocket, polling
    attempt: int  # from 1; starts anew after a session


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A session is open; the gateway has welcomed it."""

    transport: str
    connector: str  # the gateway's id of this machine
    epoch: int
    max_in_flight: int  # as the gateway allows it


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A session, or an attempt at one, is over."""

    transport: str
    code: int | None  # close code or HTTP status, if there was one
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Pausing before the next attempt."""

    transport: str  # the one tried next
    delay_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FellBack:
    """The WebSocket does not work here; polling takes over. Calls keep running."""

    reason: str
    again_s: float  # until the WebSocket is tried again


@dataclass(frozen=True, slots=True, kw_only=True)
class ClimbedBack:
    """The WebSocket works again and has taken over from polling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChanged:
    """A local MCP server has another state or other tools."""

    server: str
    transport: str  # stdio, http
    state: str  # starting, ready, failed
    title: str = ""
    version: str = ""
    era: str = ""
    tools: int = 0
    error: str = ""
    retry_s: float | None = None  # when failed: until it is started again


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSaid:
    """A line that a local server wrote to its standard error."""

    server: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBabbled:
    """A local server writes what is no MCP to its standard output. Told at 1, 10, 100, ..."""

    server: str
    lines: int  # since it was started. What they hold may be a secret.


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxFound:
    """What holds the commands of the built-in shell, as the self-test found it."""

    layer: str  # bubblewrap, landlock, seatbelt, none; nothing if there is no shell
    held: int  # attempts to get out that failed
    why: str  # why no better layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A command left something that programs of the person's obey."""

    path: str
    place: str  # where it is now; its own path where it is as it was; "": still there
    more: int = 0  # of which nothing is told here; the result of the call names them


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The gateway does not take something that was announced, and says why."""

    what: str  # server, tool, ...
    name: str
    field: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted:
    """The gateway said begin, and it was begun."""

    id: str
    server: str
    tool: str
    has_effects: bool
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProgress:
    """A running call says how far it is."""

    id: str
    progress: float
    total: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """A call has run. Its result goes to the gateway until it is acknowledged."""

    id: str
    server: str
    tool: str
    outcome: str  # done, error, cancelled, interrupted
    is_error: bool  # done, but the tool says that it failed
    took_s: float
    note: str = ""  # the error's message; what was cut


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDelivered:
    """The gateway has acknowledged a result."""

    id: str
    verdict: str  # accepted, duplicate, conflict, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDenied:
    """The gateway said do not begin."""

    id: str
    server: str
    tool: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReleased:
    """Given back without having begun."""

    id: str
    server: str
    tool: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRefused:
    """This machine's policy does not allow it."""

    id: str
    server: str
    tool: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAsked:
    """It is given back until a person has approved it."""

    id: str
    server: str
    tool: str
    reason: str
    digest: str  # of the exact call
    here: bool  # a person is asked in this terminal
    elsewhere: bool  # the gateway's page and API may approve it


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDecided:
    """A person has answered in this terminal."""

    id: str
    approve: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettled:
    """What a person was asked is open no more."""

    id: str
    state: str  # approved, refused, expired, withdrawn, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """Found in the journal at the start and now reported. It is not run again."""

    id: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something a person should know of; the connector goes on."""

    what: str  # journal, gateway
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """Asked to stop; the running calls have a moment to end."""

    running: int
    within_s: float


Happening = (
    Connecting
    | Connected
    | Lost
    | Waiting
    | FellBack
    | ClimbedBack
    | ServerChanged
    | ServerSaid
    | ServerBabbled
    | SandboxFound
    | Quarantined
    | Refused
    | CallStarted
    | CallProgress
    | CallEnded
    | CallDelivered
    | CallDenied
    | CallReleased
    | CallRefused
    | CallAsked
    | CallDecided
    | CallSettled
    | Recovered
    | Trouble
    | Stopping
)
