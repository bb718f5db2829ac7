"""What every upstream language can do: put a request into its words, and its answer into ours."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from accounts.principal import Principal
from proxy.answer import Decoder
from proxy.routing import NoRouteError, Target
from proxy.wire.body import MessagesRequest

RawHeaders = Iterable[tuple[bytes, bytes]]

# Two gateways that lead to each other would ask for ever: each says how many came before it.
HOPS = "x-opscenter-hops"
MOST_HOPS = 4
NO_REQUEST = UUID(int=0)  # where tokens are only counted


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineTool:
    """A tool of a request that is not its client's: the gateway runs it on the user's machine."""

    name: str  # in the request's `tools`
    server: str  # as the request calls it
    tool: str  # on the machine, where its server has this name and the machine that one, if any
    served: str
    machine: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """The way back to the user's machine: where to ask, and what to show there."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as it came in."""

    path: str
    query: str
    headers: RawHeaders
    request: MessagesRequest
    organization_id: UUID
    caller: Principal | None = None
    request_id: UUID = NO_REQUEST  # of version 7 (RFC 9562), which tells when it came
    root_id: UUID | None = None  # of the client's own request, where this is a further turn of it
    counting: bool = False
    hops: int = 0  # gateways like this one that it has come through
    machine: tuple[MachineTool, ...] = ()
    handed: Handed | None = None


def hops_of(headers: RawHeaders) -> int:
    """How many gateways a request has come through. Raises NoRouteError when they are too many."""
    said = next((value for name, value in headers if name == HOPS.encode()), b"0")
    hops = int(said) if said.isdigit() and len(said) < 4 else 0
    if hops >= MOST_HOPS:
        raise NoRouteError(
            f"This request has come through {hops} gateways already: their routes lead in a circle."
        )
    return hops


def same(body: bytes) -> bytes:
    """A body that needs no translation."""
    return body


def same_refusal(status: int, body: bytes) -> tuple[int, bytes]:
    """A refusal that needs no translation."""
    return status, body


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A call in an upstream's language, and how to read what comes back."""

    path: str
    query: str = ""
    headers: Mapping[str, str]
    body: bytes
    stream: bool
    renamed: str = ""  # the model name to show in events that are passed on as they are
    # Whole answers and refusals in the words of the Messages API. Both may raise UpstreamError.
    message: Callable[[bytes], bytes] = same
    refusal: Callable[[int, bytes], tuple[int, bytes]] = same_refusal
    decoder: Decoder | None = field(default=None)  # None: events are the Messages API's already


class Language(Protocol):
    """One language. Pure."""

    @property
    def lasting(self) -> frozenset[str]:
        """The concessions that are the upstream's own, and not made for one request's content."""

    @property
    def rebuilds(self) -> bool:
        """Whether it takes the whole body apart, which for a large one takes a while."""

    def asked(self, call: Call, target: Target, conceded: frozenset[str]) -> Asked:
        """The call for this target, without what it has refused before.

        Raises BodyError for what cannot be said in this language.
        """

    def concession(self, said: str, conceded: frozenset[str]) -> str:
        """What may cure a refusal with this text; empty for nothing."""
