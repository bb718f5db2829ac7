"""Agents and crews as plain data, and which of them a request means (pure)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar
from uuid import UUID

from proxy import cues, intent, wishes
from proxy.intent import Inference
from proxy.wire.body import MessagesRequest
from proxy.wishes import Wish

Kind = Literal["single", "chain", "fan_out"]

MOST_IN_CREW = 8  # each is an upstream request at least, and in a fan-out all run at once
MOST_ROUNDS = 5  # a review that has not ended by then goes round in circles
_MOST_NAMED = 20  # in the text of an error


class NoAgentError(Exception):
    """Nobody of this name can be asked. The text goes to the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolset:
    """A server whose tools are given to the model: all, or those in `allow`, less `deny`."""

    url: str  # tunnel://<connector>/<server>, tunnel://<server> or https://…
    name: str  # as `mcp_servers[].name` has it
    allow: tuple[str, ...] = ()  # empty: all
    deny: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much one request may take of an agent."""

    turns: int = 20
    calls: int = 100
    wall_s: float = 600.0
    cost_nano: int | None = None  # None: what the caller's own limits leave


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """Instructions, a model and tools under a name."""

    slug: str
    name: str
    description: str = ""
    instructions: str = ""
    model: str = ""  # whose route is asked; empty in the table: `chosen` fills it in
    toolsets: tuple[Toolset, ...] = ()
    bounds: Bounds = Bounds()
    task_types: tuple[str, ...] = ()
    organization_id: UUID | None = None  # None: for all
    enabled: bool = True

    @property
    def public_name(self) -> str:
        """The model name under which it is asked for."""
        return wishes.AGENT_PREFIX + self.slug

    @property
    def absent(self) -> str:
        """Why it cannot be asked; empty where it can."""
        return "" if self.enabled else "it is switched off"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewConfig:
    """Several agents on one request, in their order."""

    slug: str
    name: str
    kind: Kind
    agents: tuple[AgentConfig, ...]
    description: str = ""
    rounds: int = 1  # of a chain: how often its last agent may send the work back
    synthesizer: AgentConfig | None = None  # of a fan-out; None: the first of its agents
    task_types: tuple[str, ...] = ()
    organization_id: UUID | None = None
    enabled: bool = True

    @property
    def public_name(self) -> str:
        """The model name under which it is asked for."""
        return wishes.CREW_PREFIX + self.slug

    @property
    def absent(self) -> str:
        """Why it cannot be asked; empty where it can."""
        if not self.enabled:
            return "it is switched off"
        if not self.agents:
            return "it has no agents"
        last = (self.synthesizer,) if self.synthesizer else ()
        off = [agent.slug for agent in (*self.agents, *last) if agent.absent]
        return f"its agent {off[0]} is switched off" if off else ""


Member = TypeVar("Member", AgentConfig, CrewConfig)


class Rule(Protocol):
    """The part of a route that a choice depends on."""

    @property
    def pattern(self) -> str: ...
    @property
    def organization_id(self) -> UUID | None: ...
    @property
    def is_open(self) -> bool: ...


class Roster(Protocol):
    """The part of a table's snapshot that a choice depends on; in the order of preference."""

    @property
    def rules(self) -> Sequence[Rule]: ...
    @property
    def agents(self) -> Sequence[AgentConfig]: ...
    @property
    def crews(self) -> Sequence[CrewConfig]: ...
    @property
    def agent_model(self) -> str: ...  # of agents that name none, where the request names none


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Who answers, and why."""

    agents: tuple[AgentConfig, ...]  # each with the model whose route is asked
    kind: Kind
    why: str
    task_type: str = ""  # empty: nobody asked what it is about
    confidence: float = 1.0
    words: tuple[str, ...] = ()  # of the human, that spoke for the type
    crew: CrewConfig | None = None


def open_to(members: Iterable[Member], organization_id: UUID) -> list[Member]:
    """What an organization may use, each slug once: its own before what is for all."""
    mine = [m for m in members if m.organization_id in (None, organization_id) and not m.absent]
    mine.sort(key=lambda member: member.organization_id is None)
    return list({member.slug: member for member in reversed(mine)}.values())[::-1]


def published(roster: Roster, organization_id: UUID) -> dict[str, AgentConfig | CrewConfig | None]:
    """The model names to list for an organization. None: whoever suits what is asked."""
    found: dict[str, AgentConfig | CrewConfig | None] = {}
    for agent in open_to(roster.agents, organization_id):
        found[agent.public_name] = agent
    for crew in open_to(roster.crews, organization_id):
        found[crew.public_name] = crew
    return {wishes.AUTO: None, **found} if found else {}


def chosen(
    request: MessagesRequest,
    headers: Iterable[tuple[bytes, bytes]],
    snapshot: Roster,
    organization_id: UUID,
    sticky: str = "",
) -> Chosen | None:
    """Who answers; None where the request means a model, as nearly all do.

    `sticky` is the type of task that the session had before. Raises BodyError for a wish that says
    nothing, and NoAgentError for one that nobody fulfils.
    """
    wish = wished(request, headers, snapshot, organization_id)
    if wish is None:
        return None
    if wish.agent:
        agent = _of_name(wish.agent, snapshot.agents, organization_id, wish, "agent")
        found = _alone(agent, f"{wish.said_by} names it.")
    elif wish.crew:
        crew = _of_name(wish.crew, snapshot.crews, organization_id, wish, "crew")
        found = _together(crew, f"{wish.said_by} names it.")
    else:
        found = _suiting(wish, request, snapshot, organization_id, sticky)
    if wish.task_type:
        found = replace(found, task_type=wish.task_type)
    return _modelled(found, request, snapshot)


def meant(model: str, snapshot: Roster, organization_id: UUID) -> tuple[str, str]:
    """Whom a model's name means, in words, and the model whose route is asked then.

    No words where it is a model itself. Raises NoAgentError.
    """
    if not wishes.is_reserved(model) or _has_route(model, snapshot, organization_id):
        return "", model
    wish = wishes.named(model, wishes.MODEL)
    if wish.crew:
        crew = _of_name(wish.crew, snapshot.crews, organization_id, wish, "crew")
        members, what = crew.agents, f"It is a crew ({crew.kind})"
    elif wish.agent:
        agent = _of_name(wish.agent, snapshot.agents, organization_id, wish, "agent")
        members, what = (agent,), "It is an agent"
    else:
        return "The agent that suits what is asked answers.", snapshot.agent_model
    asked = [(agent.slug, agent.model or snapshot.agent_model) for agent in members]
    return f"{what}: {', '.join(f'{slug} asks {asks}' for slug, asks in asked)}.", asked[0][1]


def suiting(
    inference: Inference, request: MessagesRequest, snapshot: Roster, organization_id: UUID
) -> Chosen:
    """Who answers a request that is of this type of task. Raises NoAgentError where nobody does."""
    return _modelled(for_task(inference, snapshot, organization_id), request, snapshot)


def _modelled(found: Chosen, request: MessagesRequest, snapshot: Roster) -> Chosen:
    """The same with a model for each agent that names none."""
    model = request.model if not wishes.is_reserved(request.model) else snapshot.agent_model
    asked = tuple(replace(agent, model=agent.model or model) for agent in found.agents)
    return replace(found, agents=asked)


def wished(
    request: MessagesRequest,
    headers: Iterable[tuple[bytes, bytes]],
    snapshot: Roster,
    organization_id: UUID,
) -> Wish | None:
    """Whom the request asks for; None where it means a model. Raises BodyError."""
    wish = wishes.wish_of(request, headers)
    if wish is None or wish.said_by != wishes.MODEL:
        return wish
    return None if _has_route(request.model, snapshot, organization_id) else wish


def _has_route(model: str, snapshot: Roster, organization_id: UUID) -> bool:
    """Whether an operator leads exactly this name elsewhere, whatever else it means."""
    return any(
        rule.pattern == model and rule.is_open and rule.organization_id in (None, organization_id)
        for rule in snapshot.rules
    )


def _of_name(
    slug: str, members: Sequence[Member], organization_id: UUID, wish: Wish, what: str
) -> Member:
    """The one of this name. Raises NoAgentError."""
    there = open_to(members, organization_id)
    for member in there:
        if member.slug == slug:
            return member
    mine = [m for m in members if m.organization_id in (None, organization_id) and m.slug == slug]
    if mine:
        raise NoAgentError(
            f"{wish.said_by}: the {what} {slug} cannot be asked at present: {mine[0].absent}."
        )
    if wish.said_by == wishes.MODEL:
        name = f"claude-{what}-{slug[:100]}"
        raise NoAgentError(f"model: {name} is not served here. GET /v1/models lists what is.")
    names = ", ".join(member.slug for member in there[:_MOST_NAMED]) or "none"
    raise NoAgentError(f"{wish.said_by}: there is no {what} {slug[:100]!r}; there are: {names}.")


def _suiting(
    wish: Wish, request: MessagesRequest, snapshot: Roster, organization_id: UUID, sticky: str
) -> Chosen:
    """Whoever suits what is asked. Raises NoAgentError where nobody does."""
    if wish.task_type:
        said = f"{wish.said_by}.task_type says so."
        inference = intent.Inference(task_type=wish.task_type, confidence=1.0, why=said)
    else:
        inference = intent.inferred(request.body.value("messages"), sticky)
    return for_task(inference, snapshot, organization_id)


def for_task(inference: Inference, snapshot: Roster, organization_id: UUID) -> Chosen:
    """The first crew or agent for a type of task; where there is none, for anything."""
    agents = open_to(snapshot.agents, organization_id)
    crews = open_to(snapshot.crews, organization_id)
    for task_type in (inference.task_type, cues.GENERAL):
        crew = next((crew for crew in crews if task_type in crew.task_types), None)
        agent = next((agent for agent in agents if task_type in agent.task_types), None)
        found = _together(crew, inference.why) if crew else None
        found = found or (_alone(agent, inference.why) if agent else None)
        if found is not None:
            return replace(
                found,
                task_type=inference.task_type,
                confidence=inference.confidence,
                words=inference.words,
            )
    raise NoAgentError(
        f"No agent is for {inference.task_type}; an operator can say in the admin which one is."
    )


def _alone(agent: AgentConfig, why: str) -> Chosen:
    return Chosen(agents=(agent,), kind="single", why=why)


def _together(crew: CrewConfig, why: str) -> Chosen:
    return Chosen(agents=crew.agents, kind=crew.kind, why=why, crew=crew)
