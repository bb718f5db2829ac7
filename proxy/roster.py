"""Agents and crews as the tables have them, as plain data."""

import logging
from collections.abc import Sequence

from proxy.agents import AgentConfig, Bounds, CrewConfig, Toolset
from proxy.declared import BadToolsetError, toolsets
from proxy.models import Agent, Crew, CrewMember, Route

log = logging.getLogger(__name__)


def read() -> tuple[Sequence[AgentConfig], Sequence[CrewConfig]]:
    """All of them, in the order of preference: three queries."""
    agents = {row.pk: agent_of(row) for row in Agent.objects.all()}
    members: dict[int, list[AgentConfig]] = {}
    for crew_id, agent_id in CrewMember.objects.values_list("crew_id", "agent_id"):
        if agent_id in agents:  # one that came between the two queries: next time
            members.setdefault(crew_id, []).append(agents[agent_id])
    crews = [
        _crew_of(row, members.get(row.pk, []), agents.get(row.synthesizer_id or 0))
        for row in Crew.objects.all()
    ]
    return list(agents.values()), crews


def agent_of(row: Agent) -> AgentConfig:
    """An agent's row as plain data."""
    found = toolsets_of(row)
    return AgentConfig(
        slug=row.slug,
        name=row.name,
        description=row.description,
        instructions=row.instructions,
        model=row.model,
        toolsets=found or (),
        bounds=Bounds(
            turns=row.most_turns,
            calls=row.most_calls,
            wall_s=row.most_s,
            cost_nano=row.most_cost_nano,
        ),
        task_types=tuple(row.task_types),
        organization_id=row.organization_id,
        enabled=row.enabled and found is not None,
    )


def toolsets_of(row: Agent | Route) -> tuple[Toolset, ...] | None:
    """What it says of tools; None where that cannot be read, so that it must not be used.

    The admin stores nothing of the kind, but one bad row must not keep all others from being read.
    """
    try:
        return toolsets(row.toolsets)
    except BadToolsetError as error:
        log.error("%s %s is taken as switched off: %s", row._meta.verbose_name, row, error)
        return None


def _crew_of(row: Crew, agents: Sequence[AgentConfig], last: AgentConfig | None) -> CrewConfig:
    return CrewConfig(
        slug=row.slug,
        name=row.name,
        description=row.description,
        kind=row.kind,  # type: ignore[arg-type]  # the table's own check keeps it to these
        agents=tuple(agents),
        rounds=row.rounds,
        synthesizer=last,
        task_types=tuple(row.task_types),
        organization_id=row.organization_id,
        enabled=row.enabled,
    )
