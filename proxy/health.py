"""Is everything there that a request would need? Asked by people, probes and monitors."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
from django.conf import settings

from accounts import trust
from accounts.memory import Memory
from accounts.reads import DatabaseAwayError, off_loop
from billing import writer
from proxy import connections, table
from proxy.models import Route
from proxy.routing import UpstreamConfig

PROBE_S = 2.0  # a neighbour that needs longer to say a word is not well
HEALTH = "/health"  # of a Brigade
AGE_S = 5.0  # many may ask at once; the neighbours are asked this often


async def state() -> dict[str, Any]:
    """What `GET /v1/health` says, at most AGE_S old."""
    found = await _memory.get(None)
    return found | {"timestamp": datetime.now(UTC).isoformat()}


async def _look(_: None) -> dict[str, Any]:
    database = await _database()
    upstreams, public, brigades = await _upstreams() if database == "ok" else ({}, set(), set())
    promised = await _is_brigade_well() if settings.BRIGADE_URL else False
    well = database == "ok" and all(upstreams.values()) and (promised or not settings.BRIGADE_URL)
    routed = any(upstreams[name] for name in brigades & public)
    return {
        "status": "healthy" if well else "degraded",
        "brigade_connected": promised or routed,
        "database": database,
        # What one organization has for itself is nobody else's business; its state counts.
        "upstreams": {name: _said(there) for name, there in upstreams.items() if name in public},
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
    # It is read from, and no row of ours goes in: a full disk, or a copy that may only be read.
    return "read-only" if writer.current().behind_s() > writer.WAIT_S else "ok"


_any_route = off_loop(Route.objects.exists)


async def _upstreams() -> tuple[dict[str, bool], set[str], set[str]]:
    """Every upstream that a route leads to, and whether it answers; those that all may know; and
    those that are Brigades."""
    rules = [rule for rule in await table.rules() if rule.is_open]
    configs = {rule.upstream.name: rule.upstream for rule in rules}
    found = await asyncio.gather(*map(_is_there, configs.values()))
    public = {rule.upstream.name for rule in rules if rule.organization_id is None}
    brigades = {name for name, config in configs.items() if config.kind == "brigade"}
    return dict(zip(configs, found, strict=True)), public, brigades


def _said(is_there: bool) -> str:
    return "ok" if is_there else "unreachable"


async def _is_there(upstream: UpstreamConfig) -> bool:
    try:
        async with asyncio.timeout(PROBE_S):
            if upstream.kind == "brigade":
                return await _is_brigade_there(upstream)
            return await connections.answers(upstream)
    except TimeoutError:
        return False


async def _is_brigade_there(upstream: UpstreamConfig) -> bool:
    """Whether a Brigade says that it is well; builds without /health say it by answering at all."""
    found = await connections.look(upstream, HEALTH)
    if found is not None and found.status == 404:
        found = await connections.look(upstream, "/")
    return found is not None and 200 <= found.status < 300


async def _is_brigade_well() -> bool:
    """The same of the one that the settings name."""
    status = await _status_of(f"{settings.BRIGADE_URL}{HEALTH}")
    if status == 404:
        status = await _status_of(f"{settings.BRIGADE_URL}/")
    return 200 <= status < 300


async def _status_of(address: str) -> int:
    """With which status something answers at `address`; 0 where nothing does."""
    try:
        # The status is enough: a body may have no end, and httpx's time is for each read.
        async with (
            asyncio.timeout(PROBE_S),
            httpx.AsyncClient(timeout=PROBE_S, verify=trust.context(), trust_env=False) as client,
            client.stream("GET", address) as response,
        ):
            return response.status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError):
        return 0
