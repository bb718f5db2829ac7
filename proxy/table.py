"""Routes, upstreams, agents and tenants' credentials in memory, reread every few seconds."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from accounts import redaction, sealed
from accounts.memory import Memory
from accounts.reads import off_loop
from billing import moves as recorded
from proxy import explain as explaining
from proxy import roster, routing, stickiness
from proxy.agents import AgentConfig, CrewConfig, NoAgentError, meant
from proxy.breaker import Breakers
from proxy.models import OwnCredential, Route, Upstream
from proxy.routing import Asking, Home, RouteRule, Target, UpstreamConfig

MOVED_FOR = timedelta(days=1)  # a session that has been away so long has no cache left anywhere

breakers = Breakers(connections=settings.UPSTREAM_CONNECTIONS)  # this process's
moves = stickiness.Moves()
_SECRET = re.compile(r"(?i)auth|key|token|secret|cookie")  # in the name of a header that holds one


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The whole table at one moment."""

    rules: Sequence[RouteRule]
    own: Mapping[Home, tuple[str, str]]
    agents: Sequence[AgentConfig] = ()
    crews: Sequence[CrewConfig] = ()
    agent_model: str = ""  # of agents that name none

    @property
    def has_toolsets(self) -> bool:
        """Whether a route gives tools to those who ask it."""
        return any(rule.toolsets for rule in self.rules)


@off_loop
def _read(_: None) -> Snapshot:
    """All routes, in the order they are tried, and all that a choice depends on: seven queries."""
    configs = {row.pk: config_of(row) for row in Upstream.objects.all()}
    own = OwnCredential.objects.values_list(
        "organization_id", "upstream__name", "credential_sealed"
    )
    agents, crews = roster.read()
    snapshot = Snapshot(
        rules=[
            RouteRule(
                pattern=row.pattern,
                upstream=configs[row.upstream_id],
                position=row.position,
                weight=row.weight,
                target_model=row.target_model,
                organization_id=row.organization_id,
                display_name=row.display_name,
                description=row.description,
                lifecycle=row.lifecycle,
                toolsets=roster.toolsets_of(row) or (),
                enabled=row.enabled and roster.toolsets_of(row) is not None,
            )
            for row in Route.objects.all()
            if row.upstream_id in configs  # one that came between the two queries: next time
        ],
        own={(organization, name): _opened(token) for organization, name, token in own},
        agents=agents,
        crews=crews,
        agent_model=settings.AGENT_MODEL,
    )
    _know(snapshot, configs.values())
    since = datetime.now(UTC) - MOVED_FOR
    moves.learn(recorded.moves(since, stickiness.MOST))
    return snapshot


def _know(snapshot: Snapshot, configs: Iterable[UpstreamConfig]) -> None:
    """Let no log and no error show a credential that is held here."""
    secrets = [credential for credential, _ in snapshot.own.values()]
    for config in configs:
        secrets.append(config.credential)
        for name, value in config.headers.items():
            if _SECRET.search(name):
                secrets += value.split()[-1:]  # after a `Bearer`, if there is one
    redaction.know("upstreams", secrets)


def config_of(row: Upstream) -> UpstreamConfig:
    """An upstream's row as plain data, with its credential in the clear."""
    credential, problem = settings.READ_CREDENTIAL(row.credential_variable), ""
    if row.credential_sealed:
        credential, problem = _opened(row.credential_sealed)
    return UpstreamConfig(
        name=row.name,
        kind=row.kind,
        base_url=row.base_url.rstrip("/"),
        credential_header=row.credential_header,
        credential_variable=row.credential_variable,
        credential=credential,
        problem=problem,
        headers=row.headers,
        connect_s=row.connect_s,
        answer_s=row.answer_s,
        idle_s=row.idle_s,
        concurrency=row.concurrency,
        context_window=row.context_window,
        max_output_tokens=row.max_output_tokens,
        tls_verify=row.tls_verify,
        tls_ca=row.tls_ca,
        private_networks=row.private_networks,
        meters_itself=row.meters_itself,
        dialect=row.dialect,
        aliases=row.aliases,
        enabled=row.enabled,
    )


def _opened(token: str) -> tuple[str, str]:
    try:
        return sealed.opened(token), ""
    except sealed.SealedError as error:
        return "", str(error)


_memory: Memory[None, Snapshot] = Memory(_read, ttl_s=settings.MEMORY_TTL_S, most=1)


async def rules() -> Sequence[RouteRule]:
    """All routes as they were at most settings.MEMORY_TTL_S ago."""
    return (await _memory.get(None)).rules


async def current() -> Snapshot:
    """All of it as it was at most settings.MEMORY_TTL_S ago."""
    return await _memory.get(None)


async def choose(asking: Asking) -> tuple[Target, ...]:
    """Who may answer, best first. Raises routing.NoRouteError."""
    snapshot = await _memory.get(None)
    return routing.choose(snapshot.rules, asking, snapshot.own, moves.of)


async def explain(model: str, organization_id: UUID, session: str) -> dict[str, Any]:
    """What would be chosen and why, as plain values. Of an agent: for the model that it asks."""
    snapshot = await _memory.get(None)
    try:
        words, asked = meant(model, snapshot, organization_id)
    except NoAgentError as error:
        return {"model": model, "chosen": None, "reason": str(error), "candidates": []}
    now = time.monotonic()
    asking = Asking(model=asked, organization_id=organization_id, session=session)
    told = explaining.explained(
        snapshot.rules,
        asking,
        snapshot.own,
        moves.of,
        lambda rule: breakers.unwell(rule.upstream, now),
    )
    return told | {"model": model, "reason": f"{words} {told['reason']}".lstrip()}
