"""Routes, upstreams and requests as plain data, for tests that know no table."""

from typing import Any
from uuid import UUID

from proxy.routing import Asking, Home, Move, RouteRule, Target, UpstreamConfig

ACME, OTHER = UUID(int=1), UUID(int=2)


def upstream(name: str = "a", **more: Any) -> UpstreamConfig:
    fields: dict[str, Any] = {"kind": "anthropic", "base_url": f"http://{name}"}
    return UpstreamConfig(name=name, **(fields | more))


def rule(pattern: str = "*", to: str | UpstreamConfig = "a", **more: Any) -> RouteRule:
    config = to if isinstance(to, UpstreamConfig) else upstream(to)
    return RouteRule(pattern=pattern, upstream=config, **more)


def target(name: str = "a", *, model: str = "m", credential: str = "", **more: Any) -> Target:
    return Target(upstream=upstream(name, **more), model=model, credential=credential)


def asking(model: str = "m", *, organization: UUID = ACME, session: str = "s") -> Asking:
    return Asking(model=model, organization_id=organization, session=session)


def nowhere(_: Home) -> tuple[Move, ...]:
    """No outage has moved any session."""
    return ()
