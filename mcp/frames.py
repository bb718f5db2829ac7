"""What the tunnel says, as plain data. The wire is described in docs/tunnel.md.

The same frames travel in a WebSocket, one JSON text each, and in the bodies of `POST /api/mcp/poll`
and `/submit`. Fields that a newer version adds are ignored; unknown types are refused.
"""

import re
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from mcp import rawjson

VERSION = 1
MAX_FRAME_BYTES = 2 * 1024 * 1024  # a result of the largest size and what is around it
MAX_RESULT_BYTES = 1024 * 1024  # it goes through a model in the end
MAX_HELD = 64  # calls named in one frame; a connector never holds so many

Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+\Z")]
Line = Annotated[str, Meta(max_length=500)]
Fence = Annotated[int, Meta(ge=1, le=2**62)]
Held = Annotated[list[tuple[UUID, Fence]], Meta(max_length=MAX_HELD)]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]  # SHA-256 of an exact call
# JSON has longer integers, but the channel layer (MessagePack) has not: one would lose a batch of
# rings, everybody's.
Amount = float | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class FrameError(Exception):
    """This is no frame of the tunnel. The text names the field and what is wrong with it."""


class Frame(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """Any frame; its class name in lower case is its type."""


# From the connector.


class Hello(Frame, frozen=True, kw_only=True, tag="hello"):
    v: int
    instance: UUID
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    agent: Annotated[str, Meta(max_length=100)] = ""
    platform: Annotated[str, Meta(max_length=100)] = ""
    max_in_flight: Annotated[int, Meta(ge=1, le=16)] = 4


class Announced(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A local MCP server. Its tools are checked one by one in `mcp.definitions`."""

    name: Name
    transport: Literal["stdio", "http"]
    state: Literal["ready", "starting", "failed"]
    title: Annotated[str, Meta(max_length=200)] = ""
    version: Annotated[str, Meta(max_length=100)] = ""
    era: Annotated[str, Meta(max_length=20)] = ""
    error: Line = ""
    tools: Annotated[list[dict[str, Any]], Meta(max_length=512)] = []


class Server(Frame, frozen=True, kw_only=True, tag="server"):
    """A server is there, or has changed; it replaces what was known of this name."""

    server: Announced


class Ready(Frame, frozen=True, kw_only=True, tag="ready"):
    """These and no others are the connector's servers."""

    servers: Annotated[list[Name], Meta(max_length=64)]


class Start(Frame, frozen=True, kw_only=True, tag="start"):
    id: UUID
    fence: Fence


class Progress(Frame, frozen=True, kw_only=True, tag="progress"):
    id: UUID
    fence: Fence
    progress: Amount
    total: Amount | UnsetType = UNSET
    message: Line | UnsetType = UNSET


class Result(Frame, frozen=True, kw_only=True, tag="result"):
    """`result` with outcome done, `error` with outcome error, neither with the others."""

    id: UUID
    fence: Fence
    outcome: Literal["done", "error", "cancelled", "interrupted"]
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


class Release(Frame, frozen=True, kw_only=True, tag="release"):
    """Back into the queue: not begun, or without effects."""

    id: UUID
    fence: Fence
    reason: Line = ""


class Ask(Frame, frozen=True, kw_only=True, tag="ask"):
    """A person must approve this exact call. It goes back, not begun, until somebody has."""

    id: UUID
    fence: Fence
    digest: Digest
    reason: Line = ""
    here_only: bool = False  # only the machine's own terminal may approve


class Decide(Frame, frozen=True, kw_only=True, tag="decide"):
    """What a person said in the machine's terminal."""

    id: UUID
    digest: Digest
    approve: bool


class Renew(Frame, frozen=True, kw_only=True, tag="renew"):
    calls: Held


class Bye(Frame, frozen=True, kw_only=True, tag="bye"):
    """The last frame of a side that ends on purpose. From the gateway with a close code."""

    reason: Line = ""
    code: int | UnsetType = UNSET


# From the gateway.


class Welcome(Frame, frozen=True, kw_only=True, tag="welcome"):
    v: int
    connector: UUID
    epoch: int
    lease_ms: int
    renew_ms: int
    max_in_flight: int
    max_frame_bytes: int
    max_result_bytes: int


class Approved(Struct, frozen=True, kw_only=True):
    """A person approved the exact call that has this digest."""

    digest: Digest
    source: Literal["terminal", "web", "api"]


class Call(Frame, frozen=True, kw_only=True, tag="call"):
    """Handed out. Unless it has `begun`, `start` asks whether it may."""

    id: UUID
    fence: Fence
    server: str
    method: str
    params: Raw
    has_effects: bool
    remaining_ms: int
    begun: bool = False
    approval: Approved | UnsetType = UNSET


class Started(Frame, frozen=True, kw_only=True, tag="started"):
    id: UUID
    fence: Fence
    remaining_ms: int


class Denied(Frame, frozen=True, kw_only=True, tag="denied"):
    """It must not begin: it is not the connector's any more."""

    id: UUID
    fence: Fence
    reason: str


class Ack(Frame, frozen=True, kw_only=True, tag="ack"):
    id: UUID
    fence: Fence
    verdict: Literal["accepted", "duplicate", "conflict", "unknown"]


class Asked(Frame, frozen=True, kw_only=True, tag="asked"):
    """It waits for a person, for so long, and is not the connector's any more."""

    id: UUID
    fence: Fence
    remaining_ms: int


class Settled(Frame, frozen=True, kw_only=True, tag="settled"):
    """What was asked is not open (any more): a prompt for it goes away."""

    id: UUID
    digest: Digest
    state: Literal["approved", "refused", "expired", "withdrawn", "unknown"]


class Renewed(Frame, frozen=True, kw_only=True, tag="renewed"):
    held: Held
    lost: Held
    cancel: Held


class Cancel(Frame, frozen=True, kw_only=True, tag="cancel"):
    id: UUID
    fence: Fence


class Refused(Frame, frozen=True, kw_only=True, tag="refused"):
    """What was announced is not taken. The session goes on without it."""

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

_from_connector = msgspec.json.Decoder(FromConnector)
_from_gateway = msgspec.json.Decoder(FromGateway)
_encode = msgspec.json.Encoder().encode
_QUOTED = re.compile(r"'[^']*'")


def from_connector(text: bytes | str) -> FromConnector:
    """The frame that a connector sent. Raises FrameError."""
    return _checked(_decoded(_from_connector, text))


def from_gateway(text: bytes | str) -> FromGateway:
    """The frame that a gateway sent. Raises FrameError."""
    frame: FromGateway = _decoded(_from_gateway, text)
    return frame


def encode(frame: Frame) -> bytes:
    """One JSON text, without spaces, its members in the order of docs/tunnel.md."""
    return _encode(frame)


def _decoded(decoder: msgspec.json.Decoder[Any], text: bytes | str) -> Any:
    if len(text) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame has at most {MAX_FRAME_BYTES} bytes")
    try:
        # What stays raw is not looked at by msgspec, so all of it is decoded as text first.
        return decoder.decode(text if isinstance(text, str) else text.decode())
    except UnicodeError as error:
        raise FrameError("it is not UTF-8") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise FrameError(_without_values(str(error))) from error


def _without_values(text: str) -> str:
    """The reason without what was sent: it may go into a log."""
    return _QUOTED.sub("'…'", text)


def _checked(frame: FromConnector) -> FromConnector:
    """What the types do not say."""
    if isinstance(frame, Result):
        _check_result(frame)
    return frame


def _check_result(frame: Result) -> None:
    wanted = {"done": "result", "error": "error"}.get(frame.outcome)
    for field in ("result", "error"):
        value = getattr(frame, field)
        if (field == wanted) != (value is not UNSET):
            raise FrameError(
                f"outcome {frame.outcome} {'needs' if field == wanted else 'has no'} `{field}`"
            )
        # A larger one is not kept, and looking at it would hold up everybody.
        if value is not UNSET and len(value) <= MAX_RESULT_BYTES:
            _check_raw(bytes(value), field)


def _check_raw(raw: bytes, field: str) -> None:
    try:
        rawjson.check(raw)
    except rawjson.UnreadableError as error:
        raise FrameError(f"`{field}` {_without_values(str(error))}") from error
