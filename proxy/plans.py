"""What a request needs besides one upstream's answer: tools that the gateway runs, an agent."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from accounts.principal import Principal
from billing.ledger import RecordId
from proxy import agents, opinion, receipts, routing, table, toolbox, toolsets, wishes
from proxy.agents import AgentConfig, Bounds, Kind, Toolset
from proxy.routing import Asking, RouteRule
from proxy.toolbox import Toolbox
from proxy.toolsets import Setting, Wanted
from proxy.wire import rewind
from proxy.wire.body import BodyError, JSONObject, MessagesRequest
from proxy.wire.turn import Manner

RawHeaders = Iterable[tuple[bytes, bytes]]
MOST_SUBJECTS = 10_000  # sessions, a hundred bytes each
_BETA = b"anthropic-beta"
_MCP_BETA = "mcp-client-"
_LISTING_BETA = "mcp-client-2026-09-15"  # from then on a server's tools are listed in the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one agent, or the model alone, is asked."""

    request: MessagesRequest  # of its first turn
    toolbox: Toolbox
    bounds: Bounds = field(default_factory=Bounds)
    agent: str = ""  # its slug
    name: str = ""  # for people
    has_client_tools: bool = True  # it may call them: the answer ends, and the client goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a request is answered that needs more than to be relayed."""

    parts: Sequence[Part]
    model: str  # as the client asked for it
    manner: Manner
    headers: RawHeaders
    kind: Kind = "single"
    rounds: int = 1
    synthesizer: Part | None = None
    lists: bool = False  # the answer begins with what the servers have

    def opening(self) -> list[dict[str, Any]]:
        """The blocks that come before the upstream's first."""
        boxes = [part.toolbox for part in self.parts]
        listed = [
            {"type": rewind.LISTING, "mcp_server_name": server, "tools": list(tools)}
            for server, tools in boxes[0].listings.items()
            if self.lists
        ]
        missing = dict.fromkeys(why for box in boxes for why in box.missing)
        return [*listed, *({"type": "text", "text": f"({why})"} for why in missing)]


# What each session was about when an agent was last chosen for it; of one process, for a guess.
_subjects: OrderedDict[tuple[UUID, str], str] = OrderedDict()


def _note(subject: tuple[UUID, str], task_type: str) -> None:
    _subjects[subject] = task_type
    _subjects.move_to_end(subject)
    if len(_subjects) > MOST_SUBJECTS:
        _subjects.popitem(last=False)


def is_needed(
    request: MessagesRequest, caller: Principal, headers: RawHeaders, snapshot: table.Snapshot
) -> bool:
    """Whether a request is more than relayed. Nearly none is, and they pay for this look alone.

    Raises BodyError.
    """
    return bool(
        agents.wished(request, headers, snapshot, caller.organization_id)
        or _declared(request, snapshot, caller)
        or _of_route(request, snapshot, caller)
        or rewind.holds_own(request.body)
    )


async def planned(
    request_id: RecordId | None,
    request: MessagesRequest,
    caller: Principal,
    headers: RawHeaders,
) -> Plan | None:
    """The plan of a request; None for one that is only relayed, as nearly all are.

    Without a `request_id` it is only counted, and nobody is asked for an opinion. Raises BodyError,
    agents.NoAgentError, accounts.reads.DatabaseAwayError.
    """
    snapshot = await table.current()
    session = receipts.session_of(headers)
    subject = (caller.organization_id, session)
    sticky = _subjects.get(subject, "") if session else ""
    chosen = agents.chosen(request, headers, snapshot, caller.organization_id, sticky)
    if request_id and opinion.is_wanted(chosen, sticky):
        inference = await opinion.given(request_id, request, caller, headers)
        if inference is not None:
            chosen = agents.suiting(inference, request, snapshot, caller.organization_id)
    if session and chosen is not None and chosen.task_type:
        _note(subject, chosen.task_type)
    declared = _declared(request, snapshot, caller)
    wanted = declared if chosen else declared + _of_route(request, snapshot, caller)
    if chosen is None and not wanted and not rewind.holds_own(request.body):
        return None
    betas = _betas(headers)
    negotiated = any(one.startswith(_MCP_BETA) for one in betas)
    streams = negotiated and not _is_claude_code(headers)
    if chosen is None:
        parts = [await _part(request, None, wanted, caller)]
    else:
        asked = [_part(request, agent, declared, caller) for agent in chosen.agents]
        parts = [await one for one in asked]
    crew = chosen.crew if chosen else None
    last = crew.synthesizer if crew else None
    return Plan(
        parts=[parts[0], *(replace(part, has_client_tools=False) for part in parts[1:])],
        model=request.model,
        manner=Manner(streams_uses=streams, says_lines=not negotiated, pauses=streams),
        headers=_without_betas(headers),
        kind=chosen.kind if chosen else "single",
        rounds=crew.rounds if crew else 1,
        synthesizer=await _part(request, last, declared, caller) if last else None,
        lists=_LISTING_BETA in betas and streams,
    )


async def _part(
    request: MessagesRequest,
    agent: AgentConfig | None,
    declared: Sequence[Wanted],
    caller: Principal,
) -> Part:
    named = {one.server.url for one in declared}  # by the request itself, which says how
    promised = agent.toolsets if agent else ()
    own = [_wanted(one) for one in promised if one.url not in named]
    others = toolsets.without_toolsets(request.body)
    box = await toolbox.opened(caller, [*declared, *own], _names(others))
    asked = _asked(request, agent, box, others)
    if agent is None:
        return Part(request=asked, toolbox=box)
    return Part(request=asked, toolbox=box, bounds=agent.bounds, agent=agent.slug, name=agent.name)


def _declared(
    request: MessagesRequest, snapshot: table.Snapshot, caller: Principal
) -> list[Wanted]:
    """What the request names; nothing where it is all the upstream's affair, to judge as well."""
    if "mcp_servers" not in request.body.spans:
        return []
    if b'"tunnel:' not in request.body.part("mcp_servers"):
        kinds = {rule.upstream.kind for rule in _rules(request, snapshot, caller)}
        if kinds == {"anthropic"} or not settings.MCP_HTTP:
            return []
    return toolsets.wanted(request.body)


def _rules(
    request: MessagesRequest, snapshot: table.Snapshot, caller: Principal
) -> list[RouteRule]:
    """The routes that may answer for the model."""
    asking = Asking(model=request.model, organization_id=caller.organization_id, session="")
    return routing.chain_of(snapshot.rules, asking, lambda _: ())


def _of_route(
    request: MessagesRequest, snapshot: table.Snapshot, caller: Principal
) -> list[Wanted]:
    """What the operator has given those who ask the model's route."""
    if not snapshot.has_toolsets:
        return []
    rules = _rules(request, snapshot, caller)
    return [_wanted(one) for one in next((rule.toolsets for rule in rules if rule.toolsets), ())]


def _wanted(toolset: Toolset) -> Wanted:
    named = {name: Setting() for name in toolset.allow}
    denied = {name: Setting(enabled=False) for name in toolset.deny}
    return Wanted(
        server=toolsets.server_of(toolset.name, toolset.url),
        default=Setting(enabled=not toolset.allow),
        settings=named | denied,
    )


def _asked(
    request: MessagesRequest,
    agent: AgentConfig | None,
    box: Toolbox,
    others: list[msgspec.Raw],
) -> MessagesRequest:
    """The request in words that every upstream knows."""
    body = rewind.rewound(request.body, box.name_of)
    changes: dict[str, Any] = {"mcp_servers": None, wishes.FIELD: None}
    tools = toolbox.entries(box, others)
    if len(tools) != len(others) or "mcp_servers" in body.spans:
        changes["tools"] = tools or None
    if agent is not None:
        changes["model"] = agent.model
        changes["system"] = _instructed(body.value("system"), agent.instructions)
    for name, value in changes.items():
        if value is not None:
            body = JSONObject.parse(body.replaced(name, msgspec.json.encode(value)))
        elif name in body.spans:
            body = JSONObject.parse(body.without(name))
    return replace(request, body=body, model=agent.model if agent else request.model)


def _instructed(system: Any, instructions: str) -> Any:
    """The system prompt with an agent's instructions after the client's: its cache still fits."""
    if not instructions:
        return system
    said = [{"type": "text", "text": system}] if isinstance(system, str) and system else system
    told = said if isinstance(said, list) else []
    return [*told, {"type": "text", "text": instructions}]


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


def shape_of(headers: RawHeaders) -> str:
    """All that the headers say of how an answer is told: two that differ in it are not the same."""
    ours = sorted(one for one in _betas(headers) if one.startswith(_MCP_BETA))
    return ",".join(["claude-code", *ours] if _is_claude_code(headers) else ours)


def may_act(request: MessagesRequest, snapshot: table.Snapshot, caller: Principal) -> bool:
    """Whether an upstream that may be asked does things by itself, with our tools or its own."""
    return any(rule.upstream.kind == "brigade" for rule in _rules(request, snapshot, caller))


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
        found = msgspec.json.decode(request.body.part("messages"), type=list[msgspec.Raw])
    except (ValueError, RecursionError) as error:
        raise BodyError("messages: Input should be a valid list") from error
    for at, message in enumerate(found):
        if not bytes(message).startswith(b"{"):
            raise BodyError(f"messages.{at}: Input should be an object")
    return found
