"""What the tunnel says, as plain data. The wire is described in docs/tunnel.md.

Members are written in the order of the fields here; one that has its default is left out. Members
that this version does not know are ignored, so that a newer gateway may say more.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

VERSION = 1
MAX_HELD = 64  # calls named in one frame
MAX_NUMBER = 2**63  # longer ones break whoever counts with them

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
class Call:
    id: str
    fence: int
    server: str
    method: str
    params: dict[str, Any] = field(repr=False)  # whatever the model wrote; not for a log
    has_effects: bool
    remaining_ms: int
    begun: bool = False  # `started` has been said with it

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


FromConnector = Hello | Server | Ready | Start | Progress | Result | Release | Renew | Bye
FromGateway = Welcome | Call | Started | Denied | Ack | Renewed | Cancel | Refused | Bye
Frame = FromConnector | FromGateway

FROM_CONNECTOR: dict[str, type[FromConnector]] = {
    kind.__name__.lower(): kind
    for kind in (Hello, Server, Ready, Start, Progress, Result, Release, Renew, Bye)
}
FROM_GATEWAY: dict[str, type[FromGateway]] = {
    kind.__name__.lower(): kind
    for kind in (Welcome, Call, Started, Denied, Ack, Renewed, Cancel, Refused, Bye)
}


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
        told[member.name] = _members(value) if isinstance(value, Announced) else value
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
    return _made(kind, said)


def _made(kind: Any, said: Any) -> Any:
    """One `kind` from an object; what it lacks and what is of a wrong type is named."""
    if not isinstance(said, dict):
        raise FrameError(f"{kind.__name__.lower()} must be an object")
    known = {member.name: member for member in fields(kind)}
    try:
        return kind(
            **{name: _VALUE[known[name].type](said[name]) for name in known if name in said}
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise FrameError(f"{kind.__name__.lower()}: {error}") from error


def _is(*kinds: type) -> Callable[[Any], Any]:
    def value(said: Any) -> Any:
        if not isinstance(said, kinds) or (isinstance(said, bool) and bool not in kinds):
            raise TypeError(f"{said!r:.40} is not of type {kinds[0].__name__}")
        if isinstance(said, int) and abs(said) >= MAX_NUMBER:
            raise ValueError("a number of more than 64 bits")
        return said

    return value


def _held(said: Any) -> Held:
    return tuple((_text(id_), _number(fence)) for id_, fence in _list(said))


_text, _number, _list = _is(str), _is(int), _is(list)
_VALUE: dict[Any, Callable[[Any], Any]] = {
    str: _text,
    int: _number,
    bool: _is(bool),
    float: _is(float, int),
    str | None: _is(str, type(None)),
    int | None: _is(int, type(None)),
    float | None: _is(float, int, type(None)),
    dict[str, Any]: _is(dict),
    dict[str, Any] | None: _is(dict, type(None)),
    tuple[str, ...]: lambda said: tuple(_text(one) for one in _list(said)),
    tuple[dict[str, Any], ...]: lambda said: tuple(_is(dict)(one) for one in _list(said)),
    Held: _held,
    Announced: lambda said: _made(Announced, said),
}
