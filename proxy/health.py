"""Is everything there that a request would need? Asked by people, probes and monitors."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
from django.conf import settings

from accounts.memory import Memory
from accounts.reads import DatabaseAwayError, off_loop
from proxy import table
from proxy.models import Route

PROBE_S = 2.0  # a neighbour that needs longer to say a word is not well
AGE_S = 5.0  # many may ask at once; the neighbours are asked this often


async def state() -> dict[str, Any]:
    """What `GET /v1/health` says, at most AGE_S old."""
    found = await _memory.get(None)
    return found | {"timestamp": datetime.now(UTC).isoformat()}


async def _look(_: None) -> dict[str, Any]:
    database = await _database()
    addresses = await _upstream_addresses() if database == "ok" else {}
    async with httpx.AsyncClient(timeout=PROBE_S, trust_env=False) as client:
        names = list(addresses)
        found = await asyncio.gather(
            _reachable(
                client, settings.BRIGADE_URL and f"{settings.BRIGADE_URL}/health", healthy=True
            ),
            *(_reachable(client, addresses[name]) for name in names),
        )
    brigade, upstreams = found[0], dict(zip(names, found[1:], strict=True))
    well = database == "ok" and all(upstreams.values()) and (brigade or not settings.BRIGADE_URL)
    return {
        "status": "healthy" if well else "degraded",
        "brigade_connected": brigade,
        "database": database,
        "upstreams": {name: "ok" if there else "unreachable" for name, there in upstreams.items()},
    }


_memory: Memory[None, dict[str, Any]] = Memory(_look, ttl_s=AGE_S, most=1)


async def _database() -> str:
    try:
        async with asyncio.timeout(PROBE_S):
            await _any_route()
    except TimeoutError:
        return "slow"
    except DatabaseAwayError:
        return "unreachable"
    return "ok"


_any_route = off_loop(Route.objects.exists)


async def _upstream_addresses() -> dict[str, str]:
    """Every upstream that a route leads to, with its address; the demo has none."""
    return {
        rule.upstream.name: rule.upstream.base_url for rule in await table.rules() if rule.is_open
    }


async def _reachable(client: httpx.AsyncClient, address: str, *, healthy: bool = False) -> bool:
    """Whether something answers at `address`; `healthy` asks for a good answer too."""
    if not address:
        return not healthy  # the demo is always there; a Brigade that is not configured is not
    try:
        # The status is enough: a body may have no end, and httpx's time is for each read.
        async with asyncio.timeout(PROBE_S), client.stream("GET", address) as response:
            return response.is_success or not healthy
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError):
        return False
