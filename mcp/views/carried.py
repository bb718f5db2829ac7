"""The body of a poll and of a submit: frames of one session, as plain data."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from mcp import frames
from mcp.frames import FromConnector, Hello
from mcp.views.refusals import BodyError

MAX_BYTES = 2 * 1024 * 1024  # the largest frame, or many small ones
MAX_FRAMES = 64  # a machine has not more to say at once: its calls are fewer
WAIT_MOST_MS = 30_000  # proxies on the way cut silence at 60 s, some at less

WANTED = (
    'Send {"instance": …, "epoch": …, "frames": […]}, and `wait_ms` to poll; to begin a session'
    " leave the epoch out and send `hello` first. See docs/tunnel.md, Polling."
)
EARLIER = (
    "This is the body of an earlier Ops-Center, which had no sessions and lost calls. Run"
    " `ops-connector --transport polling` instead of your client, or teach it the present body. "
)


class Carried(Struct, frozen=True, kw_only=True):
    """What one request carries."""

    instance: UUID
    epoch: Annotated[int, Meta(ge=1, le=2**62)] | UnsetType = UNSET
    frames: Annotated[list[Raw], Meta(max_length=MAX_FRAMES)] = []
    wait_ms: Annotated[int, Meta(ge=0, le=WAIT_MOST_MS)] = 0


class _Earlier(Struct):
    """What the polling clients of the earlier Ops-Center send."""

    user_id: Any = UNSET
    call_id: Any = UNSET


_decode = msgspec.json.Decoder(Carried).decode
_decode_earlier = msgspec.json.Decoder(_Earlier).decode


def read(body: bytes) -> Carried:
    """Raises BodyError, whose text names what is wrong."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        before = EARLIER if _is_of_earlier(body) else f"{error}. "
        raise BodyError(before + WANTED) from error


def frames_of(carried: Carried) -> list[FromConnector]:
    """All frames, or none: one that is none stops the others before the first is handled.

    Raises BodyError for a hello where none belongs or none where one does, and for no frame.
    """
    found: list[FromConnector] = []
    for number, raw in enumerate(carried.frames):
        try:
            found.append(frames.from_connector(bytes(raw)))
        except frames.FrameError as error:
            raise BodyError(f"frames[{number}]: {error}.") from error
    hello = found[0] if found and isinstance(found[0], Hello) else None
    if (hello is None) == (carried.epoch is UNSET):
        why = "without `epoch` the first frame is a hello" if hello is None else "with `epoch` none"
        raise BodyError(f"frames[0]: {why}. {WANTED}")
    if hello is not None and hello.instance != carried.instance:
        raise BodyError("frames[0].instance: it is not the `instance` of the body.")
    return found


def _is_of_earlier(body: bytes) -> bool:
    try:
        found = _decode_earlier(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return found.user_id is not UNSET or found.call_id is not UNSET
