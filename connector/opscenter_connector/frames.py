"""What the tunnel says, as plain data. The wire is described in docs/tunnel.md.

Members are written in the order of the fields here; one that has its default is left out. Members
that this version does not know are ignored, so that a newer gateway may say more.
"""

import json
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from opscenter_connector import members

VERSION = 1
MAX_HELD = 64  # calls named in one frame

Held = tuple[tuple[str, int], ...]  # id and fence of each


class FrameError(Exception):
    """This is no frame of the tunnel. The text says why."""


class UnknownFrameError(FrameError):
    """A type that this version does not know; a newer gateway may send one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    v: int
    instance: str
    name: str
    agent: str = ""
    platform: str = ""
    max_in_flight: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """A local MCP server as the gateway is told of it."""

    name: str
    transport: str  # stdio, http
    state: str  # ready, starting, failed
    title: str = ""
    version: str = ""
    era: str = ""
    error: str = ""
    tools: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    server: Announced


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    id: str
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    id: str
    fence: int
    progress: float
    total: float | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    id: str
    fence: int
    outcome: str  # done, error, cancelled, interrupted
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    id: str
    fence: int
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A person must approve this exact call. It goes back, not begun, until somebody has."""

    id: str
    fence: int
    digest: str
    reason: str = ""
    here_only: bool = False  # only this machine's terminal may approve


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """What a person said in this machine's terminal."""

    id: str
    digest: str
    approve: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    calls: Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    reason: str = ""
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    v: int
    connector: str
    epoch: int
    lease_ms: int
    renew_ms: int
    max_in_flight: int
    max_frame_bytes: int
    max_result_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """A person approved the exact call that has this digest; so the gateway says."""

    digest: str
    source: str  # terminal, web, api


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    id: str
    fence: int
    server: str
    method: str
    params: dict[str, Any] = field(repr=False)  # whatever the model wrote; not for a log
    has_effects: bool
    remaining_ms: int
    begun: bool = False  # `started` has been said with it
    approval: Approved | None = None

    @property
    def tool(self) -> str:
        """The name of the tool, or of the method when it is none."""
        return str(self.params.get("name", self.method))


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    id: str
    fence: int
    remaining_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    id: str
    fence: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    id: str
    fence: int
    verdict: str  # accepted, duplicate, conflict, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """It waits for a person, for so long, and is not ours any more."""

    id: str
    fence: int
    remaining_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What was asked is not open (any more): a prompt for it goes away."""

    id: str
    digest: str
    state: str  # approved, refused, expired, withdrawn, unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    held: Held
    lost: Held
    cancel: Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    id: str
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    what: str
    name: str
    field: str
    reason: str


FromConnector = (
    Hello | Server | Ready | Start | Progress | Result | Release | Ask | Decide | Renew | Bye
)
FromGateway = (
    Welcome | Call | Started | Denied | Ack | Asked | Settled | Renewed | Cancel | Refused | Bye
)
Frame = FromConnector | FromGateway

FROM_CONNECTOR: dict[str, type[FromConnector]] = {
    kind.__name__.lower(): kind for kind in get_args(FromConnector)
}
FROM_GATEWAY: dict[str, type[FromGateway]] = {
    kind.__name__.lower(): kind for kind in get_args(FromGateway)
}


_NESTED = (Announced, Approved)  # objects within a frame


def to_wire(frame: Frame) -> dict[str, Any]:
    """The frame as a JSON object."""
    return {"type": type(frame).__name__.lower(), **_members(frame)}


def encode(frame: Frame) -> str:
    """One JSON text without spaces. Raises ValueError for what JSON or UTF-8 cannot say."""
    return json.dumps(to_wire(frame), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def from_gateway(said: Any) -> FromGateway:
    """The frame that the gateway sent, from its text or its object. Raises FrameError."""
    frame: FromGateway = _read(said, FROM_GATEWAY)
    return frame


def from_connector(said: Any) -> FromConnector:
    """The frame that a connector sent. Raises FrameError."""
    frame: FromConnector = _read(said, FROM_CONNECTOR)
    return frame


def _members(said: Any) -> dict[str, Any]:
    told = {}
    for member in fields(said):
        value = getattr(said, member.name)
        if value == member.default and type(value) is type(member.default):
            continue
        told[member.name] = _members(value) if isinstance(value, _NESTED) else value
    return told


def _read(said: Any, kinds: dict[str, Any]) -> Any:
    if isinstance(said, str | bytes):
        try:
            said = json.loads(said)
        except (ValueError, RecursionError) as error:
            raise FrameError(f"not JSON: {error}") from error
    if not isinstance(said, dict) or not isinstance(said.get("type"), str):
        raise FrameError("not an object with a type")
    kind = kinds.get(said["type"])
    if kind is None:
        raise UnknownFrameError(f"frames of type {said['type'][:40]!r} are not known")
    try:
        return members.made(kind, said, _VALUE)
    except ValueError as error:
        raise FrameError(str(error)) from error


_VALUE: members.Values = {
    **members.VALUES,
    Held: members.held,
    Announced: lambda said: members.made(Announced, said, _VALUE),
    Approved | None: lambda said: None if said is None else members.made(Approved, said, _VALUE),
}
