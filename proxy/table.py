"""Routes and upstreams in memory, reread when they are older than a few seconds."""

from collections.abc import Sequence

from django.conf import settings

from accounts.memory import Memory
from accounts.reads import off_loop
from proxy import routing
from proxy.models import Route

Rules = Sequence[routing.RouteRule]


@off_loop
def _read(_: None) -> Rules:
    """Enabled routes to enabled upstreams, in the order they are tried: one query."""
    rows = Route.objects.filter(enabled=True, upstream__enabled=True).select_related("upstream")
    return [
        routing.RouteRule(
            pattern=row.pattern,
            upstream=routing.UpstreamConfig(
                name=row.upstream.name,
                kind=row.upstream.kind,
                base_url=row.upstream.base_url.rstrip("/"),
                credential_header=row.upstream.credential_header,
                credential_variable=row.upstream.credential_variable,
                credential=settings.READ_CREDENTIAL(row.upstream.credential_variable),
            ),
            target_model=row.target_model,
            display_name=row.display_name,
        )
        for row in rows
    ]


_memory: Memory[None, Rules] = Memory(_read, ttl_s=settings.MEMORY_TTL_S, most=1)


async def rules() -> Rules:
    """The table as it was at most settings.MEMORY_TTL_S ago."""
    return await _memory.get(None)


async def choose(model: str) -> routing.Target:
    """The target of `model`. Raises routing.NoRouteError."""
    return routing.choose(await rules(), model)
