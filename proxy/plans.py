"""What a request needs besides one upstream's answer: tools that the gateway runs, an agent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from accounts.principal import Principal
from proxy import toolbox, toolsets
from proxy.toolbox import Toolbox
from proxy.wire import rewind
from proxy.wire.body import BodyError, JSONObject, MessagesRequest
from proxy.wire.weave import Manner

RawHeaders = Iterable[tuple[bytes, bytes]]
_BETA = b"anthropic-beta"
_MCP_BETA = "mcp-client-"
_LISTING_BETA = "mcp-client-2026-09-15"  # from then on a server's tools are listed in the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much one answer may take. Whichever is reached first ends it."""

    turns: int = 20  # questions to the upstream
    calls: int = 100  # of tools
    wall_s: float = 600.0  # as long as the SDKs wait for an answer
    cost_nano: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a request is answered that needs more than to be relayed."""

    request: MessagesRequest  # as the first turn's upstream is asked, streamed
    model: str  # as the client asked for it
    toolbox: Toolbox
    manner: Manner
    headers: RawHeaders
    bounds: Bounds = field(default_factory=Bounds)
    agent: str = ""
    lists: bool = False  # the answer begins with what the servers have

    def opening(self) -> list[dict[str, Any]]:
        """The blocks that come before the upstream's first."""
        listed = [
            {"type": rewind.LISTING, "mcp_server_name": server, "tools": list(tools)}
            for server, tools in self.toolbox.listings.items()
        ]
        told = [{"type": "text", "text": f"({why})"} for why in self.toolbox.missing]
        return [*(listed if self.lists else []), *told]


async def planned(request: MessagesRequest, caller: Principal, headers: RawHeaders) -> Plan | None:
    """The plan of a request; None for one that is only relayed, as nearly all are.

    Raises BodyError, accounts.reads.DatabaseAwayError.
    """
    has_servers = "mcp_servers" in request.body.spans
    if not has_servers and not rewind.holds_own(request.body):
        return None
    wanted = toolsets.wanted(request.body) if has_servers else []
    if wanted and not any(one.server.is_tunnel for one in wanted):
        return None  # the upstream's own connector reaches them
    others = toolsets.without_toolsets(request.body)
    box = await toolbox.opened(caller, wanted, _names(others))
    betas = _betas(headers)
    negotiated = any(one.startswith(_MCP_BETA) for one in betas)
    streams = negotiated and not _is_claude_code(headers)
    return Plan(
        request=_asked(request, box, others),
        model=request.model,
        toolbox=box,
        manner=Manner(streams_uses=streams, says_lines=not negotiated, pauses=streams),
        headers=_without_betas(headers),
        lists=_LISTING_BETA in betas and streams,
    )


def _asked(request: MessagesRequest, box: Toolbox, others: list[msgspec.Raw]) -> MessagesRequest:
    """The request in words that every upstream knows."""
    body = rewind.rewound(request.body, box.name_of)
    if "mcp_servers" in body.spans:
        body = JSONObject.parse(body.without("mcp_servers"))
        tools = toolbox.entries(box, others)
        changed = body.replaced("tools", msgspec.json.encode(tools)) if tools else None
        body = JSONObject.parse(changed or body.without("tools"))
    return replace(request, body=body).streaming()


def _names(others: Iterable[msgspec.Raw]) -> list[str]:
    """The names of the client's own tools."""
    decoded: list[Any] = [msgspec.json.decode(raw) for raw in others]
    return [str(one.get("name")) for one in decoded if isinstance(one, Mapping)]


def _betas(headers: RawHeaders) -> list[str]:
    lines = [value.decode("latin-1") for name, value in headers if name == _BETA]
    return [one.strip() for line in lines for one in line.split(",") if one.strip()]


def _without_betas(headers: RawHeaders) -> RawHeaders:
    """The headers without the beta that we serve ourselves."""
    others = [one for one in _betas(headers) if not one.startswith(_MCP_BETA)]
    kept = [(name, value) for name, value in headers if name != _BETA]
    return [*kept, (_BETA, ",".join(others).encode("latin-1"))] if others else kept


def _is_claude_code(headers: RawHeaders) -> bool:
    return any(
        name == b"user-agent" and value.startswith(b"claude-cli/") for name, value in headers
    )


def followed(request: MessagesRequest, messages: list[Any]) -> MessagesRequest:
    """The request for the next turn. A call that was demanded has been made: none is any more."""
    body = JSONObject.parse(request.body.replaced("messages", msgspec.json.encode(messages)))
    choice = body.value("tool_choice")
    if isinstance(choice, Mapping) and choice.get("type") in {"any", "tool"}:
        kept = {key: value for key, value in choice.items() if key == "disable_parallel_tool_use"}
        free = msgspec.json.encode({"type": "auto", **kept})
        body = JSONObject.parse(body.replaced("tool_choice", free))
    return replace(request, body=body)


def messages_of(request: MessagesRequest) -> list[msgspec.Raw]:
    """The messages of a request, each the bytes it is. Raises BodyError."""
    try:
        return msgspec.json.decode(request.body.part("messages"), type=list[msgspec.Raw])
    except (ValueError, RecursionError) as error:
        raise BodyError("messages: Input should be a valid list") from error
